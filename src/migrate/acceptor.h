/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever connects to a destination says what it wants on a thread of its own, "_helloN", so that
 * one which says nothing, or half of it, keeps nobody else waiting.  Of too many at once the one
 * that came first is sent away, and so is who is not done in MIGRATION_HELLO_MS, who has the wrong
 * certificate, and who speaks TLS where there is none or the other way round; a line on stderr
 * says why.
 *
 * All of it on one thread at a time.
 */
#ifndef ACCEPTOR_H
#define ACCEPTOR_H

#include <jansson.h>
#include <stdint.h>

#include "channel.h"
#include "tcp.h"
#include "tls.h"

struct acceptor;

/* A connection that has said its first words. */
struct arrival {
	struct channel ch; /* the receiver's; it waits for ever */
	json_t *hello; /* the receiver's */
	char address[TCP_URL_MAX];
	char identity[TLS_IDENTITY_MAX]; /* "": in the clear */
};

/* tls NULL: in the clear.  All of them stay the caller's. */
int acceptor_new(struct acceptor **, int listen_fd, int cancel_fd,
		 const struct tls_credentials *tls, struct err *);
/*
 * limit_ns of CLOCK_MONOTONIC, 0: none.  -ENOTCONN: nobody came until then.  -EAGAIN: first there
 * was something to read from another connection, NULL: there is none.  -ECANCELED.
 */
int acceptor_next(struct acceptor *, uint64_t limit_ns, const struct channel *other,
		  struct arrival *, struct err *);
void acceptor_free(struct acceptor *); /* NULL is fine */

#endif

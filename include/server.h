/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of the control APIs: connections on one Unix stream socket, all of it on the
 * thread of one loop.
 *
 * A connection has one request at a time and is not read while that is being answered, so that
 * a client cannot make the server hold more than one.  The handler answers each request exactly
 * once, at once or whenever it can; a question that waits for something to happen is one that is
 * answered late.  Until then the request stays valid, also when its client has gone away.
 *
 * Clients of one process share what they have, so that one which takes too much, by accident or
 * not, has no more than half of what can wait, and leaves places to others.
 *
 * Who is not let in (caller.h) is told so and not read.
 *
 * Passed fds belong to the request that they come with.  Those that the handler does not take,
 * by setting them to -1, are closed before the answer: who has it may use what they were again.
 */
#ifndef SERVER_H
#define SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "http.h"
#include "listener.h"
#include "loop.h"

enum { REQUEST_FDS_MAX = 253 }; /* as many as the kernel passes with one message */

struct request {
	enum http_method method;
	const char *path, *query, *accept; /* query and accept: "" if there is none */
	const char *body; /* NUL behind it; NULL: none, or empty */
	size_t body_len;
	struct ucred peer; /* who connected */
	unsigned nfds;
	int fds[REQUEST_FDS_MAX];
};

struct server_handler {
	void (*handle)(void *arg, struct request *);
	/* May be NULL: the client went away before its answer; the request still needs one, and
	 * counts as a connection until then. */
	void (*gone)(void *arg, struct request *);
	/* May be NULL: the server itself refused one; path NULL: it was not even read. */
	void (*refused)(void *arg, const struct request *, int status, const char *why);
	void *arg;
};

struct server_limits {
	unsigned connections; /* one more takes the place of another, or waits */
	unsigned unanswered; /* requests of one process; more are refused with 429 */
	uint64_t request_ns; /* from its first byte to its last; and to take a piece of an answer */
	uint64_t idle_ns; /* the only connection of a process makes room after so long */
};
extern const struct server_limits server_limits; /* 64, 32, 30 s, 5 s */

struct server;

/* Takes the listener over, which is untouched on failure. */
int server_new(struct server **, struct loop *, const struct listener *,
	       const struct server_handler *, const struct server_limits *, struct err *);
/*
 * Closes all connections and removes the socket.  Requests that wait for their answer stay
 * valid, and are freed when it is given: the handler must still answer them, and is not told
 * that they are gone.  NULL is fine.
 */
void server_free(struct server *);

/* Once for each request, which is gone afterwards; body is copied. */
void request_answer(struct request *, int status, const char *type, const void *body, size_t len);

#endif

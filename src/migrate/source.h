/* SPDX-License-Identifier: Apache-2.0 */
/* The side that a VM leaves: source.c is what it does, source_connect.c how it connects. */
#ifndef SOURCE_H
#define SOURCE_H

#include <jansson.h>

#include "migration_internal.h"
#include "tcp.h"

enum { SOURCE_PAUSE_MS = 2000 }; /* the longest between two attempts to connect */

struct source {
	struct migration *m;
	char host[TCP_HOST_MAX]; /* whom a certificate must name */
	struct handover_source hand;
	json_t *versions; /* of states, that the other side knows */
	bool may_rearrange; /* it takes another number of connections later */
	struct ram_round last; /* while the guest runs */
	bool hints; /* are asked of the guest */
	bool stopped;
	bool decided; /* behind the token: it is known who has the VM, and written */
	bool left; /* neither: the process ends before that */
};

/* -ECANCELED: it was called off meanwhile, or fd has something else to say. */
int source_pause(int ms, int fd, struct err *);
/* All connections, in this role, with this side's memory behind them. */
int source_connect(struct source *, const char *role, struct err *);
/* They were lost, and memory goes on over new ones. -EIO: not for a long time. */
int source_reconnect(struct source *, struct err *);
/* There shall be n for memory, if the other side can; before a round or the rest of one. */
int source_rearrange(struct source *, unsigned n, struct err *);
/* handover's reconnect, whose arg is a source. */
int source_settle(void *source, struct channel *, struct err *);

unsigned source_streams(const struct migration *); /* that are wanted; with the lock */
/* The vCPUs are slowed down by that much from now on. */
void source_throttle(struct source *, unsigned percent);

#endif

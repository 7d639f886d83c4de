/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of peers share; under the agent's lock unless it says otherwise. */
#ifndef PEERS_INTERNAL_H
#define PEERS_INTERNAL_H

#include "pace.h"
#include "peers.h"
#include "tcp.h"
#include "tls.h"
#include "uuid.h"
#include "wire.h"

enum {
	PEERS_MAX = 128,
	PEER_ADDRESS_MAX = TCP_URL_MAX - 4, /* "HOST:PORT" */
	PEERS_PROTOCOL = 1, /* version of what they say */
	PEERS_HELLO_MS = 10000, /* for each of: connect, TLS, hello */
	PEERS_SILENCE_MS = 30000, /* a state comes more often */
	PEERS_LINES_PER_SECOND = 4, /* of the log, about what others do */
};

/* Another agent, or an address where one should be. */
struct peer {
	struct list node;
	struct agent *agent;
	char id[AGENT_ID_MAX + 1]; /* "": none was met there yet */
	char address[PEER_ADDRESS_MAX]; /* that is dialled */
	char said[PEER_ADDRESS_MAX]; /* where it says that it listens; "": not yet */
	bool given; /* in --peers */
	bool twin; /* of one that is known by another address, or our own: not dialled any more */
	pthread_t thread; /* that dials */
	bool dials;

	struct wire wire; /* dialled; whoever has set busy may use it without the lock */
	bool up, busy;
	bool now; /* it is worth dialling at once */
	uint64_t told; /* of peers.news */
	unsigned accepted; /* connections from it */
	char why[512]; /* not up; as it was logged */

	json_t *state; /* as it told it, without what made no sense; NULL: none yet */
	uint64_t heard_ns; /* CLOCK_MONOTONIC */
	bool heard; /* as events say */
	struct pace pace; /* of lines about what it says */
};

struct peers {
	struct list known; /* struct peer */
	struct list accepted; /* struct arrival, peers_accept.c */
	unsigned nknown, naccepted;
	struct tls_credentials *tls; /* NULL: none */
	char listen[PEER_ADDRESS_MAX]; /* what others are told to dial */
	char run[37]; /* of this process, so that it knows itself */
	int listen_fd, end_fd, wake_fd; /* eventfds: all is called off; the thread has work */
	pthread_t thread; /* accepts, and looks after the others */
	bool runs, ends;
	pthread_cond_t changed; /* CLOCK_MONOTONIC: of anything above */
	uint64_t news; /* counts what should be told at once */
	struct pace pace; /* of lines about strangers */
	char planner[AGENT_ID_MAX + 1]; /* as events say */
	bool planner_told;
};

/* What each side says first. */
struct hello {
	char id[AGENT_ID_MAX + 1], listen[PEER_ADDRESS_MAX], run[37];
};

/* peers.c */
struct peer *peer_of(const struct peers *, const char *id); /* NULL: nobody of that id is known */
/* One that is not known is at that address; NULL: there are too many, or out of memory. */
struct peer *peer_know(struct agent *, const char *id, const char *address);
void peers_keep(const struct agent *); /* in the store */
void peers_wake(struct peers *); /* threads that wait look again */
/* A question over the connection that was dialled; the lock is left meanwhile. */
int peer_ask(struct peer *, const json_t *question, json_t **answer, unsigned limit_ms,
	     struct err *);

/* peers_hello.c */
json_t *hello_message(const struct agent *); /* no lock needed */
int hello_read(const json_t *message, struct hello *, struct err *); /* no lock needed */
bool peer_address_is_valid(const char *); /* NULL is not */
/* The name in a certificate says that it is the agent of that id. */
bool hello_is_certified(const char *identity, const char *id);
/* Whose hello it is; it may not be known before.  -EINVAL: it cannot be as it says.  -EALREADY:
 * this agent has dialled itself. */
int hello_meet(struct agent *, const struct hello *, struct peer **, struct err *);
/* The same of one that was dialled.  -EALREADY: it is known by another address. */
int hello_meet_dialled(struct peer *, const struct hello *, struct err *);

/* peers_dial.c, peers_accept.c: bodies of threads; the arguments are struct peer and agent */
void *peers_dial_run(void *arg);
void *peers_accept_run(void *arg);

#endif

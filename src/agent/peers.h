/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agents of other hosts: connections with each, what each said last, and questions to it.
 *
 * Of each pair both dial, and who dialled asks: a thread for each peer keeps that connection and
 * tells the state of this host over it, every few seconds and when something changed; a thread for
 * each connection that was accepted answers (questions.h).  With certificates, who dials is whom
 * its certificate names.  Each agent says which others it knows, so that one address is enough for
 * a new one to be known to all, and what is known is kept in the store (peers.json).
 */
#ifndef PEERS_H
#define PEERS_H

#include <jansson.h>
#include <stdbool.h>

#include "agent.h"
#include "election.h"

/* Listens and dials as the options say; a->peers, also where they say nothing of it. */
int peers_new(struct agent *, struct err *);
/* Without the lock: connections end, their threads too, and whoever asks gets -ENOTCONN. */
void peers_stop(struct agent *);
void peers_free(struct agent *); /* once nobody asks any more */

/*
 * Any thread, without the lock.  question: {"KIND": {...}}; *answer: an object, a new reference.
 * -ENOTCONN: it was not reached, or did not answer within limit_ms: it may have done it or not.
 * -EREMOTEIO: it refused, with its sentence.
 */
int peers_ask(struct agent *, const char *id, const json_t *question, json_t **answer,
	      unsigned limit_ms, struct err *);

/* A sentence as another side said it, if it can be shown; NULL cannot. */
const char *peer_sentence(const char *why);

/* What follows is under the lock. */

/* Something changed that all should hear at once. */
void peers_tell(struct agent *);

struct peer_view {
	const char *id;
	bool heard; /* within the last three intervals; else it counts as dead */
	const json_t
		*state; /* the last one it told, as in state.h; NULL: none since the agent began */
};

/* Each that is known by its id, in the order of ids. */
void peers_each(const struct agent *, void (*each)(void *arg, const struct peer_view *), void *arg);

/* Whether the agent of that host is known, or it is the own one. */
bool peers_know(const struct agent *, const char *id);

/* Who plans; ids in it are good as long as the lock is held. */
void peers_election(const struct agent *, struct election *);

#endif

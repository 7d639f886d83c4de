/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What moves and hosts taught the agent: how long moves take beside what was expected,
 * how long vCPUs wait on hosts of a class, and what moves won beside what they promised.  It goes
 * into each snapshot.  Kept in the store; under the agent's lock.
 */
#ifndef LESSONS_H
#define LESSONS_H

#include <stdio.h>

#include "agent.h"
#include "planner/planner.h"

struct lessons;

int lessons_new(struct lessons **, int store, struct err *);
void lessons_free(struct lessons *); /* NULL is fine */

/* Members of a snapshot's head, and its curves, a line each. */
void lessons_head(const struct lessons *, json_t *head);
void lessons_curves(const struct lessons *, FILE *);

/* Draws curves towards what is in a snapshot, which has the old ones. */
void lessons_see(struct lessons *, struct snapshot *);

/* A move of a plan has been ordered. */
void lessons_promise(struct lessons *, const struct plan *, const struct plan_move *);
/* A move is over, which had been promised or not, as its host from says: outcome as in moves.h. */
void lessons_outcome(struct lessons *, const char *vm, const char *from, const json_t *outcome,
		     uint64_t now);

/* A move whose gain can be told now: what both hosts' VMs miss less than before it, in vCPUs. */
struct lesson_gain {
	char vm[65], to[65];
	double gain;
};
/* One of them, while there is one. */
bool lessons_gain(struct lessons *, const struct snapshot *, struct lesson_gain *);

#endif

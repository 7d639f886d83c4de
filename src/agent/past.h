/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moves of the VMs of this host that are over, each with what was predicted for it, as the
 * planner's records of VMs have them ("moves", the newest first).  They go with the VM to its next
 * host, so that it is not moved again too soon, whoever plans.  Kept in the store; under the
 * agent's lock.
 */
#ifndef PAST_H
#define PAST_H

#include "agent.h"

int past_new(struct agent *, struct err *);
void past_free(struct agent *);

/* Array, borrowed; NULL: it has never moved. */
const json_t *past_of(const struct agent *, const char *vm);
/* What another agent says of them: an array that the planner would read. */
int past_check(const json_t *moves, struct err *);
/* What came with it, instead of what was known; NULL: nothing. */
void past_set(struct agent *, const char *vm, const json_t *moves);
/* A move that is over. */
void past_add(struct agent *, const char *vm, const json_t *move);
/* What its last move won, in vCPUs. */
void past_gain(struct agent *, const char *vm, double gain);
/* It is another host's now. */
void past_forget(struct agent *, const char *vm);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs that come to this host: room is reserved, a monitor waits for the VM, and a job watches both
 * until the VM is here, or nothing came in time, or it was called off.  moves.h has the other side
 * and the words between both.
 */
#ifndef ARRIVALS_H
#define ARRIVALS_H

#include "agent.h"

/* Answers to other agents (questions.h), without the lock. */
int arrivals_prepare(struct agent *, const char *from, const json_t *body, json_t **answer,
		     struct err *);
int arrivals_settled(struct agent *, const char *from, const json_t *body, json_t **answer,
		     struct err *);
int arrivals_cancel(struct agent *, const char *from, const json_t *body, json_t **answer,
		    struct err *);
int arrivals_gain(struct agent *, const char *from, const json_t *body, json_t **answer,
		  struct err *);

/* Room is kept for a VM of that name, or it has just come. */
bool arrivals_awaits(const struct agent *, const char *vm);

/* Of the planner's reservations: a new reference. */
json_t *arrivals_reservations(const struct agent *);

#endif

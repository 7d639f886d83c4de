/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a move would take: time, blackout and bytes, by a model of what the monitor does.  All
 * memory goes over once, then what was written meanwhile, and so on until the rest is so short
 * that nobody minds; a guest that writes too fast for that is slowed down, step by step.  In t
 * seconds a guest that writes at rate d within a set of W bytes writes W * (1 - exp(-d * t / W))
 * different ones; what it writes before that is sent is not sent twice.
 *
 * Outcomes correct it (move_cost_learn): how much of the reckoned rate was got, what moves and
 * blackouts take beside their bytes, how far a VM is slowed down.  Knows nothing of planning.
 */
#ifndef MOVE_COST_H
#define MOVE_COST_H

#include <stdbool.h>

#include "model.h"

struct move_load {
	double bytes; /* to be sent once: memory that is neither zero nor given back */
	double dirty_rate; /* bytes per second */
	double write_set; /* bytes; 0: all of it */
	double rate; /* bytes per second that the links between both hosts have for it */
};

struct move_cost {
	unsigned rounds;
	bool converges; /* within the blackout that is allowed, with the guest at full speed */
	double time_s; /* all of it, with the blackout */
	double blackout_s;
	double bytes;
	double last_bytes; /* of the blackout */
};

void move_cost_predict(struct move_cost *, const struct move_load *, const struct corrections *,
		       double blackout_s, unsigned rounds_max);

struct move_outcome {
	double time_s, blackout_s, bytes;
	double sending_s; /* part of the time, before the blackout */
	double slowdown; /* share that the VM lost while it moved; below 0: not measured */
};

/* Draws the corrections towards what a move took for which so many bytes in the blackout were
 * expected, and the links were said to have that rate. */
void move_cost_learn(struct corrections *, double last_bytes, double rate,
		     const struct move_outcome *);

#endif

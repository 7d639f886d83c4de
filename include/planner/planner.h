/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot in, a plan out, and nothing else: no clock, no file, no random number but those
 * that the snapshot itself seeds, so that the same snapshot always gives the same plan.
 *
 * First goes what must (memory below its reserve, hosts to be emptied, VMs to be kept apart),
 * then what is worth it: of all moves away from contended hosts the best one, again and again,
 * until what is left wins little.  The moves are put in waves, so that what a host has beside its
 * reserve holds in each of them; who carries the plan out starts the first wave and asks anew.
 */
#ifndef PLANNER_H
#define PLANNER_H

#include <stdio.h>

#include "err.h"
#include "happiness.h"
#include "model.h"
#include "move_cost.h"
#include "rules.h"

/* What is expected of one move. */
struct judged {
	enum rule rule; /* RULE_NONE: it may be */
	double happy_here, happy_there; /* expected, of the VM */
	double use_from, use_to; /* of both hosts, after it */
	double gain; /* vCPUs won back, of all VMs of both hosts */
	double lasts_s; /* for how long */
	double benefit, cost; /* vCPU-seconds */
	struct move_load load;
	struct move_cost move;
};

struct plan_move {
	uint32_t vm, from, to; /* indices */
	uint32_t wave; /* 0: now */
	enum why why;
	bool parks; /* goes on from there in a later wave */
	bool execute; /* it is to be started, not only shown */
	struct judged judged;
};

struct plan_refusal {
	uint32_t vm, to; /* to: NOWHERE, if it is not about one destination */
	enum why why;
	struct judged judged;
};

struct plan {
	const struct snapshot *snapshot;
	bool audit_failed; /* moves win too little of what they promise: recommend only */
	double audit_kept;
	struct happiness_summary now;
	double loss_before, loss_after; /* expected, in vCPUs */
	uint32_t wanted; /* VMs that a move was looked for */
	struct plan_move *move; /* in waves */
	struct plan_refusal *refusal; /* at most policy.explain_max of them */
	uint32_t nmove, nrefusal, move_room, refusal_room;
	uint32_t refused[RULES]; /* VMs that stay, for each rule */
	uint32_t stuck; /* of those that must go */
	uint32_t short_hosts; /* that the plan does not give their reserve back */
	double spare_missing; /* bytes of VMs without a place if hosts_in_reserve hosts failed */
};

/* The snapshot must stay as long as the plan.  -ENOMEM */
int plan_make(struct plan *, const struct snapshot *, struct err *);
void plan_free(struct plan *);
/* What a move of that VM from a host to another one would take, as plans reckon. */
void plan_move_cost(const struct snapshot *, uint32_t vm, uint32_t from, uint32_t to,
		    struct move_load *, struct move_cost *);
/* One JSON object on one line, canonical. */
void plan_write(const struct plan *, FILE *);
/* Why there are no moves, in a sentence. */
void plan_why_nothing(const struct plan *, FILE *);

#endif

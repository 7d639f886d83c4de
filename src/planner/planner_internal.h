/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the planner share while one plan is made. */
#ifndef PLANNER_INTERNAL_H
#define PLANNER_INTERNAL_H

#include "damping.h"
#include "fleet.h"
#include "planner/planner.h"

struct planner {
	const struct snapshot *snapshot;
	struct fleet fleet;
	struct damping damping;
	uint64_t seed;
	uint8_t *why; /* of each VM, enum why */
	uint8_t *barred; /* of each VM, enum rule: it stays, wherever it would go */
	double *contended_s; /* of each VM */
	double *shortage; /* of each host: bytes missing of its reserve */
	double *leaves; /* of each host: seconds to its maintenance */
	struct {
		double *room; /* of each host */
		uint32_t *host, *vm; /* lists */
		double missing; /* at first */
	} spare; /* spare.c's */
	bool emergency_only;
};

int planner_new(struct planner *, const struct snapshot *, struct err *);
void planner_free(struct planner *);

/* Which VMs should go, and which of them must stay: why, barred and shortage (needs.c). */
void needs_find(struct planner *);
/* A host to be emptied so that it may be switched off: of those that all VMs may leave the least
 * used.  NOWHERE: there is none, policy is against it, or anything else needs doing. */
uint32_t needs_emptied(const struct planner *);

/* Bytes of VMs that would find no place if policy.hosts_in_reserve hosts failed, those that most
 * is promised on (spare.c); and whether a move makes them more than at first. */
double spare_missing(const struct planner *);
bool spare_breaks(struct planner *, uint32_t vm, uint32_t to);

/* judge.c: what is to be said of a move.  Of a place that is refused only the rule counts. */
enum rule judge_place(const struct planner *, uint32_t vm, uint32_t to, bool fill);
void judge_move(const struct planner *, uint32_t vm, uint32_t to, struct judged *);
/* The best destination; NOWHERE, with the rule that kept most of them. */
uint32_t judge_best(const struct planner *, uint32_t vm, struct judged *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps moves few: what past moves and those in flight forbid.  Looks at the snapshot only;
 * what the plan itself changes is in fleet.h.
 */
#ifndef DAMPING_H
#define DAMPING_H

#include <stdbool.h>

#include "err.h"
#include "planner/model.h"
#include "planner/rules.h"

struct damping {
	const struct snapshot *snapshot;
	bool *frozen; /* of each host: a move has just changed it, or is about to */
	double moves; /* that are over or under way, within a day */
	double budget; /* what is left of them, below 0 if it is overdrawn */
	uint32_t audited; /* moves with a promise, of those last looked at */
	double kept; /* what they won, of what was promised */
};

int damping_new(struct damping *, const struct snapshot *, struct err *);
void damping_free(struct damping *);

/* Seconds that the VM must stay where it is, counted from the end of its last move. */
double damping_cooldown_s(const struct snapshot *, const struct vm *);
bool damping_is_cooling(const struct snapshot *, const struct vm *);
/* Whether the VM was on that host too short a time ago. */
bool damping_returns(const struct snapshot *, const struct vm *, uint32_t host_name);
/* Whether moves do not win what they promise. */
bool damping_audit_fails(const struct damping *);
/* Moves at once in the whole cluster. */
double damping_cluster_max(const struct snapshot *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cores that nobody uses are lent to VMs that are at the limit of what they may use, until any VM
 * of the host waits for a core: then each goes back to its own limit.  Who lends too soon lends
 * later the next time.  As long as they wait, and a while longer, weights count.  Pure.
 */
#ifndef CPU_POLICY_H
#define CPU_POLICY_H

#include <stdbool.h>
#include <stddef.h>

/* Since the beat before. */
struct cpu_host {
	double seconds;
	double idle; /* cores */
	double run, wait; /* cores, of VMs that are not at their limit */
};

enum cpu_why { CPU_STAYS, CPU_LENT, CPU_BACK };

struct cpu_guest {
	double own, limit; /* cores: what it may use by itself, and now */
	double vcpus;
	double run, wait, held; /* cores that it had, waited for, and was kept from by its limit */
	double target;
	enum cpu_why why;
};

/* All 0 at first. */
struct cpu_loans {
	double idle_s; /* for so long there were idle cores */
	double patience_s; /* so long there have to be */
	double lent_s; /* since the last loan began */
};

/* All 0 at first. */
struct cpu_weights {
	bool count;
	double wait_s, calm_s; /* for so long VMs waited, or did not */
};

/* In cores: more than happens to anybody now and then. */
bool cpu_waits(double run, double wait);
/* That keeps it from more than others do. */
bool cpu_is_at_limit(const struct cpu_guest *);
/* One beat: target and why of each guest that may borrow. */
void cpu_policy(struct cpu_loans *, const struct cpu_host *, struct cpu_guest *const guests[],
		size_t n);
/* One beat: whether the weights of VMs are to count. */
bool cpu_weights_count(struct cpu_weights *, const struct cpu_host *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processor time the kernel gives this process, where that has a cgroup of its own which it
 * may write: cpu.max of version 2, cpu.cfs_quota_us of version 1.  Whatever else the cgroup holds
 * makes it another's.  A quota that is there already is never raised, and is back in the end.
 *
 * Main's.  Zeroed: nothing is set.
 */
#ifndef CPU_QUOTA_H
#define CPU_QUOTA_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct cpu_quota {
	const char *root; /* NULL: /.  Tests have a tree of their own. */
	bool held; /* all below is of the cgroup at dir */
	bool v1;
	char dir[PATH_MAX];
	int64_t was_us, period_us; /* was_us -1: it had none */
	uint64_t throttled_before_ns; /* by others' quotas, counted there */
	uint64_t throttled_ns; /* in cgroups that were held before */
};

/* Thousandths of a core; 0: as it was.  -ENOENT: the process has no cgroup that could be set. */
int cpu_quota_set(struct cpu_quota *, uint32_t thousandths);
/* How long the kernel held threads of this process back for it, each for itself. */
uint64_t cpu_quota_throttled_ns(const struct cpu_quota *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control group (version 2) for a process and those that it makes, with limits: cgroups(7);
 * Linux, Documentation/admin-guide/cgroup-v2.rst.
 */
#ifndef CGROUP_HOME_H
#define CGROUP_HOME_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* 0 or NULL: as it is. */
struct cgroup_limits {
	const char *path; /* as /proc/PID/cgroup has it, or "auto": below the process's own */
	uint64_t memory_max, memory_high; /* bytes */
	uint32_t cpu_max; /* thousandths of a core */
	uint32_t cpu_weight;
	const char *io_max; /* a line of that file */
	uint32_t pids_max; /* threads are counted */
	bool strict;
};

struct cgroup_home {
	bool joined, made;
	char folder[PATH_MAX], before[PATH_MAX];
};

/* name: of the VM, for "auto".  What cannot be had is an error with strict, else a warning.
 * root: "", or where a test has a tree of its own. */
int cgroup_join(struct cgroup_home *, const char *root, const struct cgroup_limits *,
		const char *name, struct err *);
/* All who are in it go back to where the first was, and the group goes if it was made for them. */
void cgroup_leave(const struct cgroup_home *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host has and how busy it is, from /proc.  Where the agent was told that VMs may have
 * only a part of it, use and what is available are those of that part: what its VMs have of it.
 */
#ifndef HOST_VIEW_H
#define HOST_VIEW_H

#include "agent.h"

/* Any thread.  root: "" or a folder that stands for / in tests. */
void host_read(struct host_reading *, const char *root);

/* Since the host began; all 0: it has no such CPU, or that is offline. */
struct cpu_ticks {
	uint64_t busy, all;
};

/* The same; n: CPUs that there is room for. */
void host_read_cpus(struct cpu_ticks *, unsigned n, const char *root);
/* The node of memory that is nearest to a CPU, 0 where there are none. */
unsigned host_node_of(unsigned cpu, const char *root);

/* Under the lock, when all VMs of this look have been added. */
void host_view_add(struct agent *, const struct host_reading *, double window_s);

#endif

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

/* Under the lock, when all VMs of this look have been added. */
void host_view_add(struct agent *, const struct host_reading *, double window_s);

#endif

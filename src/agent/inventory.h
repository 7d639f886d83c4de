/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMs of this host: found by their run directories, known by what they answer, gone when
 * their process is.  Under the agent's lock.
 */
#ifndef INVENTORY_H
#define INVENTORY_H

#include "agent.h"

/* Between them every VM that runs is reported once; what was not is gone. */
void inventory_begin(struct agent *);
void inventory_end(struct agent *);

/*
 * A VM that runs.  info, counters: its answers to vm.info and vm.counters; NULL: it did not
 * answer, or has no VM yet (a process that waits for one is none of this host's VMs).
 */
void inventory_add(struct agent *, const char *name, pid_t pid, const json_t *info,
		   const json_t *counters, uint64_t now_ns);

/* Its process is known to be gone. */
void inventory_remove(struct agent *, const char *name, pid_t);

void inventory_free(struct agent *);

/* What the planner is told: objects for include/planner/snapshot.h.  New references; NULL: out of
 * memory, or not enough is known yet. */
json_t *inventory_vm_record(const struct agent *, const struct agent_vm *);
json_t *inventory_host_record(const struct agent *);

#endif

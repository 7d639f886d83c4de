/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUs on which the threads of a VM's vCPUs may run, where its configuration says so: affinity
 * is its cpus.affinity.  The threads are known by their names, which the monitor gives them.  Any
 * thread, without the lock.
 */
#ifndef PINS_H
#define PINS_H

#include <jansson.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

struct pins {
	cpu_set_t lent; /* beside its own */
	unsigned vcpus; /* that are pinned */
};

/* Added to the set: all that the configuration names. */
void pins_add(const json_t *affinity, cpu_set_t *own);
/* False: they are not as the configuration has it, or it is gone. */
bool pins_read(pid_t, const json_t *affinity, struct pins *);
/* Its own and these.  False: that is not so now, for not all could be changed. */
bool pins_lend(pid_t, const json_t *affinity, const cpu_set_t *lent);

#endif

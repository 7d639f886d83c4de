/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done for VMs inside this host before any of them moves: idle cores are lent
 * (cpu_policy.h) and memory is taken and given back (memory_policy.h), with VMs whose spec allows
 * it and that do not move.  That is asked of their monitors, and so an agent that begins anew finds
 * it as it was left.  Weights are written to their groups (cpu_weight.h), and idle CPUs are lent
 * to those that are pinned (pin_policy.h) by their threads' affinity (pins.h): that ends with the
 * agent.  What does not help here is for the planner to see.
 */
#ifndef LOCAL_H
#define LOCAL_H

#include "pulse.h"

struct local;

int local_new(struct local **, struct err *);
void local_free(struct local *); /* NULL is fine */

/* Under the lock.  Added to what status says of a VM: "local", a sentence, if it has other than
 * its own. */
void local_add_to_state(const struct agent *, const char *name, json_t *state);

/* Without the lock, when the thread has ended: what is not asked of the monitors is put back. */
void local_end(struct agent *);

extern const struct pulse_job local_job;

#endif

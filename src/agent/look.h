/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking around: finds the VMs of this user, asks each how it is, reads what the host says of
 * itself, and adds it all under the agent's lock.  A VM that does not answer takes two seconds of
 * each look, no more.
 */
#ifndef LOOK_H
#define LOOK_H

#include "pulse.h"

/* One VM, now, on the thread that asks. */
void look_at(struct agent *, const char *name, pid_t);

extern const struct pulse_job look_job; /* six times in a window */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What agents that ended in the middle of a move left on this host. */
#ifndef STRAYS_H
#define STRAYS_H

#include "agent.h"

/* A process that has no VM is ended if it waits for one nobody here knows of any more.  Without
 * the lock. */
void strays_end(struct agent *, const char *name, pid_t);

/* Specs of VMs that are another host's by this host's journal, and that run there and have a spec
 * there, are left.  With the lock. */
void strays_leave(struct agent *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that looks: again and again it finds the VMs of this user, asks each how it is, reads
 * what the host says of itself, and adds it all under the agent's lock.  A VM that does not answer
 * takes two seconds of each look, no more.
 */
#ifndef LOOK_H
#define LOOK_H

#include "agent.h"

struct look;

/* One VM, now, on the thread that asks. */
void look_at(struct agent *, const char *name, pid_t);

int look_new(struct look **, struct agent *, struct err *);
void look_now(struct look *); /* any thread: something has changed */
void look_free(struct look *); /* without the lock; NULL is fine */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that takes its time, such as a move: each task is a thread.  When the agent ends it waits
 * for all of them; one that may last looks at tasks_end_soon() every second and leaves what it does
 * to itself.
 */
#ifndef TASK_H
#define TASK_H

#include "agent.h"

/* With the lock; run(arg) is called without it. */
int task_start(struct agent *, const char *name, void (*run)(void *arg), void *arg, struct err *);
/* Any thread. */
bool tasks_end_soon(const struct agent *);
/* So long, or until the agent ends.  Any thread, without the lock. */
void tasks_sleep(const struct agent *, unsigned ms);
/* Any thread: from now on the agent ends. */
void tasks_stop(struct agent *);
/* Without the lock: returns when the last task has. */
void tasks_end(struct agent *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that leave signals to main.  Faults stay deliverable, so that the process's handlers
 * run (the terminal is put back) whichever thread caused them.
 */
#ifndef THREAD_H
#define THREAD_H

#include <pthread.h>

#include "broker.h"
#include "sandbox.h"

/* Start a named thread that takes no signals but faults and, unless 0, one of its own, and keeps to
 * the list of its role from the first.  Returns 0 or -errno. */
int thread_new(pthread_t *, const char *name, enum sandbox_role, int own_signal,
	       void *(*run)(void *arg), void *arg);
/* prepare(), on the thread, has what its role forbids; 0, or the -errno that this then returns. */
int thread_new_prepared(pthread_t *, const char *name, enum sandbox_role, int own_signal,
			int (*prepare)(void *arg), void *(*run)(void *arg), void *arg);

/* In a sandbox, whose threads may not make others: from now on one of them does it for all.  Its
 * own list is all lists (SANDBOX_SPAWNER).  0 or -errno. */
int thread_spawner_new(void);

/* On which those of this process may run; 1 if nobody knows. */
unsigned thread_processors(void);
extern const struct broker_service thread_service; /* which that asks */

#endif

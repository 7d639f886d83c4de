/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a VM that starts or stops, on a thread of its own: job_done() is called on main when
 * it is over.  Under the agent's lock.
 */
#ifndef JOB_H
#define JOB_H

#include "specs.h"

struct job {
	struct list node;
	struct agent *agent;
	struct spec *spec; /* NULL: gone meanwhile */
	char name[SPEC_NAME_MAX + 1];
	pid_t pid;
	bool stops; /* else it starts */
	struct asker asker; /* told NULL: nobody waits */
	pthread_t thread;
	struct work over;
	bool gone; /* its process is over; with the lock */
	int r; /* what became of it, with e */
	struct err e;
};

/* asker NULL: nobody waits. */
int job_new(struct spec *, pid_t, bool stops, const struct asker *, struct err *);
void job_end_all(struct agent *); /* without the lock, when the loop has ended */

/* supervise.c's; j->spec has no job any more. */
void job_done(struct job *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that does something again and again, or sooner when somebody says so. */
#ifndef PULSE_H
#define PULSE_H

#include "agent.h"

struct pulse;

struct pulse_job {
	const char *name; /* of the thread */
	void (*beat)(struct agent *); /* without the lock */
	double (*every_s)(const struct agent *); /* with it: from one begin to the next */
	double pause_s; /* and never sooner than this */
};

/* The first beat is at once. */
int pulse_new(struct pulse **, struct agent *, const struct pulse_job *, struct err *);
/* With the lock; NULL is fine. */
void pulse_now(struct pulse *);
/* Without the lock; returns when the last beat is over.  NULL is fine. */
void pulse_free(struct pulse *);

#endif

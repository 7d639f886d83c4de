/* SPDX-License-Identifier: Apache-2.0 */
#include "pulse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "thread.h"

enum { NS_PER_S = 1000000000 };

struct pulse {
	struct agent *agent;
	struct pulse_job job;
	pthread_t thread;
	pthread_cond_t wake; /* with the agent's lock */
	bool ends, now;
};

/* With the lock. */
static void wait_for_next(struct pulse *p, uint64_t begun_ns)
{
	const uint64_t first = begun_ns + (uint64_t)(p->job.pause_s * NS_PER_S);

	while (!p->ends) {
		uint64_t until = begun_ns + (uint64_t)(p->job.every_s(p->agent) * NS_PER_S);
		struct timespec t;

		if (p->now || until < first)
			until = first;
		if (loop_now_ns() >= until)
			break;
		t = (struct timespec){ .tv_sec = (time_t)(until / NS_PER_S),
				       .tv_nsec = (long)(until % NS_PER_S) };
		pthread_cond_timedwait(&p->wake, &p->agent->lock, &t);
	}
	p->now = false;
}

static void *pulse_run(void *arg)
{
	struct pulse *p = arg;

	pthread_mutex_lock(&p->agent->lock);
	while (!p->ends) {
		uint64_t begun_ns = loop_now_ns();

		pthread_mutex_unlock(&p->agent->lock);
		p->job.beat(p->agent);
		pthread_mutex_lock(&p->agent->lock);
		wait_for_next(p, begun_ns);
	}
	pthread_mutex_unlock(&p->agent->lock);
	return NULL;
}

int pulse_new(struct pulse **out, struct agent *a, const struct pulse_job *job, struct err *e)
{
	struct pulse *p = calloc(1, sizeof(*p));
	pthread_condattr_t monotonic;
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->agent = a;
	p->job = *job;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = thread_new(&p->thread, job->name, SANDBOX_MAIN, 0, pulse_run, p);
	if (r) {
		free(p);
		return err_set(e, r, "a thread cannot be started: %s", strerror(-r));
	}
	*out = p;
	return 0;
}

void pulse_now(struct pulse *p)
{
	if (!p)
		return;
	p->now = true;
	pthread_cond_signal(&p->wake);
}

void pulse_free(struct pulse *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->agent->lock);
	p->ends = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->agent->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	free(p);
}

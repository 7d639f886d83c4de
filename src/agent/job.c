/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "look.h"
#include "process.h"
#include "rundir.h"
#include "thread.h"

enum { STEP_MS = 50, ANSWER_MS = 10000, OFF_S = 30, START_S = 120 };

/* One step on; false: the agent ends. */
static bool wait_a_step(struct job *j)
{
	bool ends;

	poll(NULL, 0, STEP_MS);
	pthread_mutex_lock(&j->agent->lock);
	ends = j->agent->specs->ends;
	pthread_mutex_unlock(&j->agent->lock);
	return !ends;
}

static int refuse_end(struct job *j)
{
	return err_set(&j->e, -ECANCELED, "the agent ends; \"%s\" does not", j->name);
}

static bool is_over(struct job *j)
{
	bool over;
	int status;

	pthread_mutex_lock(&j->agent->lock);
	over = j->gone = j->gone || process_is_over(j->agent, j->pid, &status);
	pthread_mutex_unlock(&j->agent->lock);
	return over;
}

static bool runs(struct job *j)
{
	const struct agent_vm *vm;
	char name[SPEC_NAME_MAX + 1];
	bool yes;

	/* Another process may have the name. */
	if (!rundir_name(geteuid(), j->pid, name, sizeof(name)) || strcmp(name, j->name))
		return false;
	look_at(j->agent, j->name, j->pid);
	pthread_mutex_lock(&j->agent->lock);
	vm = agent_vm(j->agent, j->name);
	yes = vm && vm->pid == j->pid && *vm->state && strcmp(vm->state, "Created");
	pthread_mutex_unlock(&j->agent->lock);
	return yes;
}

static int wait_for_start(struct job *j)
{
	const uint64_t end = loop_now_ns() + START_S * UINT64_C(1000000000);

	while (!is_over(j)) {
		if (runs(j))
			return 0;
		if (loop_now_ns() > end)
			return err_set(&j->e, -ETIMEDOUT,
				       "process %d has not built its VM for %d s and still tries",
				       (int)j->pid, START_S);
		if (!wait_a_step(j))
			return refuse_end(j);
	}
	return -ECHILD;
}

/* 0: it is over; -ETIMEDOUT without a sentence. */
static int wait_for_end(struct job *j, int pidfd, unsigned limit_s)
{
	const uint64_t end = loop_now_ns() + limit_s * UINT64_C(1000000000);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	while (poll(&p, 1, 0) <= 0) {
		if (loop_now_ns() > end)
			return -ETIMEDOUT;
		if (!wait_a_step(j))
			return refuse_end(j);
	}
	return 0;
}

/* *limit_s: what the guest has to power off by itself; 0: it cannot be asked. */
static void press_button(struct client *c, unsigned *limit_s)
{
	json_auto_t *info = NULL;
	struct err e;

	*limit_s = 0;
	if (client_get(c, "vm.info", &info, &e) || client_put(c, "vm.power-button", NULL, NULL, &e))
		return;
	*limit_s = (unsigned)json_integer_value(
		json_object_get(json_object_get(info, "config"), "stop_timeout_s"));
}

static int stop(struct job *j, int pidfd)
{
	struct client c;
	unsigned limit_s;
	int r = client_open(&c, j->name, &j->e);

	if (r)
		return wait_for_end(j, pidfd, 1) ? r : 0;
	client_set_limit(&c, ANSWER_MS);
	press_button(&c, &limit_s);
	r = wait_for_end(j, pidfd, limit_s);
	if (r == -ETIMEDOUT) {
		r = client_put(&c, "vmm.shutdown", NULL, NULL, &j->e);
		r = wait_for_end(j, pidfd, OFF_S);
	}
	client_close(&c);
	if (r == -ETIMEDOUT)
		err_set(&j->e, r, "it could not be ended: process %d does not do as it is told",
			(int)j->pid);
	return r;
}

static int wait_for_stop(struct job *j)
{
	CLEANUP(fd) int pidfd = (int)syscall(SYS_pidfd_open, j->pid, 0);
	int r = 0;

	if (pidfd >= 0)
		r = stop(j, pidfd);
	else if (errno != ESRCH)
		return err_set(&j->e, -errno, "process %d cannot be waited for: %s", (int)j->pid,
			       strerror(errno));
	pthread_mutex_lock(&j->agent->lock);
	j->gone = j->gone || !r;
	pthread_mutex_unlock(&j->agent->lock);
	return r;
}

static void *work(void *arg)
{
	struct job *j = arg;

	j->r = j->stops ? wait_for_stop(j) : wait_for_start(j);
	loop_post(j->agent->loop, &j->over);
	return NULL;
}

static void finish(struct job *j)
{
	list_remove(&j->node);
	if (j->spec)
		j->spec->job = NULL;
	job_done(j);
	free(j);
}

static void on_over(void *arg)
{
	struct job *j = arg;

	pthread_join(j->thread, NULL);
	finish(j);
}

int job_new(struct spec *s, pid_t pid, bool stops, const struct asker *asker, struct err *e)
{
	struct job *j = calloc(1, sizeof(*j));
	int r = -ENOMEM;

	if (j) {
		j->agent = s->agent;
		j->spec = s;
		snprintf(j->name, sizeof(j->name), "%s", s->name);
		j->pid = pid;
		j->stops = stops;
		if (asker)
			j->asker = *asker;
		j->over = (struct work){ .run = on_over, .arg = j };
		r = thread_new(&j->thread, stops ? "stop" : "start", SANDBOX_MAIN, 0, work, j);
	}
	if (r) {
		free(j);
		return err_set(e, r, "a thread cannot be started: %s", strerror(-r));
	}
	list_append(&s->agent->specs->jobs, &j->node);
	s->job = j;
	return 0;
}

void job_end_all(struct agent *a)
{
	pthread_mutex_lock(&a->lock);
	a->specs->ends = true;
	pthread_mutex_unlock(&a->lock);
	while (!list_empty(&a->specs->jobs)) {
		struct job *j = list_item(a->specs->jobs.next, struct job, node);

		pthread_join(j->thread, NULL);
		loop_unpost(a->loop, &j->over);
		finish(j);
	}
}

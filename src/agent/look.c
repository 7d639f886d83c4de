/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "host_view.h"
#include "inventory.h"
#include "rundir.h"
#include "supervise.h"
#include "thread.h"

enum { LOOKS_PER_WINDOW = 6, ANSWER_MS = 2000, NS_PER_S = 1000000000 };

struct look {
	struct agent *agent;
	pthread_t thread;
	pthread_cond_t wake; /* with the agent's lock */
	bool ends, now;
};

struct found {
	char name[65];
	pid_t pid;
};

struct finds {
	struct found *vm;
	size_t n, room;
};

static void add_find(void *arg, const char *name, int dir, pid_t pid)
{
	struct finds *f = arg;

	(void)dir;
	if (pid <= 0 || strlen(name) >= sizeof(f->vm->name))
		return;
	if (f->n == f->room) {
		struct found *more = reallocarray(f->vm, f->room + 64, sizeof(*more));

		if (!more)
			return;
		f->vm = more;
		f->room += 64;
	}
	strcpy(f->vm[f->n].name, name);
	f->vm[f->n++].pid = pid;
}

void look_at(struct agent *a, const char *name, pid_t pid)
{
	json_auto_t *info = NULL, *counters = NULL;
	struct client c;
	struct err e;

	if (!client_open(&c, name, &e)) {
		client_set_limit(&c, ANSWER_MS);
		if (!client_get(&c, "vm.info", &info, &e))
			client_get(&c, "vm.counters", &counters, &e);
	}
	client_close(&c);
	pthread_mutex_lock(&a->lock);
	inventory_add(a, name, pid, info, counters, loop_now_ns());
	pthread_mutex_unlock(&a->lock);
}

static double window_s(const struct agent *a)
{
	struct policy policy;

	settings_policy(&a->settings, &policy);
	return policy.window_s;
}

static void look_around(struct agent *a)
{
	struct finds finds = { 0 };
	struct host_reading host;

	pthread_mutex_lock(&a->lock);
	inventory_begin(a);
	pthread_mutex_unlock(&a->lock);
	rundir_each(geteuid(), add_find, &finds);
	for (size_t i = 0; i < finds.n; i++)
		look_at(a, finds.vm[i].name, finds.vm[i].pid);
	free(finds.vm);
	host_read(&host, "");
	pthread_mutex_lock(&a->lock);
	inventory_end(a);
	supervise_look(a);
	host_view_add(a, &host, window_s(a));
	pthread_mutex_unlock(&a->lock);
}

/* Until the next look is due, with the lock. */
static void wait_for_next(struct look *l, uint64_t begun_ns)
{
	uint64_t due = begun_ns + (uint64_t)(window_s(l->agent) * NS_PER_S / LOOKS_PER_WINDOW);
	const struct timespec until = { .tv_sec = (time_t)(due / NS_PER_S),
					.tv_nsec = (long)(due % NS_PER_S) };

	while (!l->ends && !l->now)
		if (pthread_cond_timedwait(&l->wake, &l->agent->lock, &until))
			break;
	l->now = false;
}

static void *look_run(void *arg)
{
	struct look *l = arg;
	struct agent *a = l->agent;

	pthread_mutex_lock(&a->lock);
	while (!l->ends) {
		uint64_t begun_ns = loop_now_ns();

		pthread_mutex_unlock(&a->lock);
		look_around(a);
		pthread_mutex_lock(&a->lock);
		wait_for_next(l, begun_ns);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int look_new(struct look **out, struct agent *a, struct err *e)
{
	struct look *l = calloc(1, sizeof(*l));
	pthread_condattr_t monotonic;
	int r;

	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->agent = a;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &monotonic);
	r = thread_new(&l->thread, "look", 0, look_run, l);
	if (r) {
		free(l);
		return err_set(e, r, "a thread cannot be started: %s", strerror(-r));
	}
	*out = l;
	return 0;
}

void look_now(struct look *l)
{
	pthread_mutex_lock(&l->agent->lock);
	l->now = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->agent->lock);
}

void look_free(struct look *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->agent->lock);
	l->ends = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->agent->lock);
	pthread_join(l->thread, NULL);
	pthread_cond_destroy(&l->wake);
	free(l);
}

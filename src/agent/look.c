/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "host_view.h"
#include "inventory.h"
#include "rundir.h"
#include "strays.h"
#include "supervise.h"

enum { LOOKS_PER_WINDOW = 6, ANSWER_MS = 2000 };

#define PAUSE_S 0.2

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
	uint64_t read_ns;
	struct err e;

	if (!client_open(&c, name, &e)) {
		client_set_limit(&c, ANSWER_MS);
		if (!client_get(&c, "vm.info", &info, &e))
			client_get(&c, "vm.counters", &counters, &e);
	}
	read_ns = loop_now_ns();
	client_close(&c);
	pthread_mutex_lock(&a->lock);
	inventory_add(a, name, pid, info, counters, read_ns);
	pthread_mutex_unlock(&a->lock);
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
	for (size_t i = 0; i < finds.n; i++)
		strays_end(a, finds.vm[i].name, finds.vm[i].pid);
	free(finds.vm);
	host_read(&host, "");
	pthread_mutex_lock(&a->lock);
	inventory_end(a);
	supervise_look(a);
	strays_leave(a);
	host_view_add(a, &host, a->settings.policy.window_s);
	pthread_mutex_unlock(&a->lock);
}

static double every_s(const struct agent *a)
{
	return a->settings.policy.window_s / LOOKS_PER_WINDOW;
}

const struct pulse_job look_job = { "look", look_around, every_s, PAUSE_S };

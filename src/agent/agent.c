/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "days.h"
#include "inventory.h"
#include "lessons.h"
#include "local.h"
#include "log.h"
#include "past.h"
#include "peers.h"
#include "process.h"
#include "pulse.h"
#include "specs.h"
#include "statedir.h"

uint64_t agent_now(void)
{
	return (uint64_t)time(NULL);
}

struct agent_vm *agent_vm(const struct agent *a, const char *name)
{
	struct agent_vm *vm;

	list_for_each (vm, &a->vms, node)
		if (!strcmp(vm->name, name))
			return vm;
	return NULL;
}

void agent_settings_changed(struct agent *a)
{
	peers_tell(a);
	pulse_now(a->look);
	pulse_now(a->rounds);
}

void agent_say(struct agent *a, const char *event, const char *about, const char *fmt, ...)
{
	char why[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	events_add(a->events, "agent", event, json_pack("{s:s, s:s}", "about", about, "why", why));
	log_info("%s %s: %s", event, about, why);
}

static int open_store(int *store, struct err *e)
{
	CLEANUP(fd) int state = statedir_open(true, e);

	if (state < 0)
		return state;
	if (mkdirat(state, "agent", 0700) && errno != EEXIST)
		return err_set(e, -errno, "the agent's directory cannot be made: %s",
			       strerror(errno));
	*store = openat(state, "agent", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *store < 0 ? err_set(e, -errno, "the agent's directory cannot be opened: %s",
				    strerror(errno))
			  : 0;
}

int agent_open(struct agent *a, const struct agent_options *options, struct err *e)
{
	int r;

	*a = (struct agent){ .options = options, .store = -1, .tasks.end_fd = -1 };
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->tasks.over, NULL);
	list_init(&a->vms);
	list_init(&a->flights);
	list_init(&a->orders);
	list_init(&a->arrivals);
	ledger_init(&a->ledger);
	a->tasks.end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = a->tasks.end_fd < 0 ? err_set(e, -errno, "no eventfd: %s", strerror(errno)) : 0;
	r = r ? r : open_store(&a->store, e);
	r = r ? r : settings_new(&a->settings, a->store, e);
	r = r ? r : events_new(&a->events, e);
	r = r ? r : loop_new(&a->loop, e);
	if (r)
		return r;
	loop_set_lock(a->loop, &a->lock);
	r = past_new(a, e);
	r = r ? r : days_new(&a->days, a->store, e);
	r = r ? r : lessons_new(&a->lessons, a->store, e);
	r = r ? r : local_new(&a->local, e);
	r = r ? r : processes_new(&a->processes, a, e);
	return r ? r : specs_new(&a->specs, a, e);
}

void agent_close(struct agent *a)
{
	specs_free(a);
	inventory_free(a);
	peers_free(a);
	processes_free(a->processes);
	loop_free(a->loop);
	lessons_free(a->lessons);
	local_free(a->local);
	json_decref(a->plan);
	past_free(a);
	days_free(a->days);
	ledger_free(&a->ledger);
	events_free(a->events);
	settings_free(&a->settings);
	cleanup_fd(&a->store);
	cleanup_fd(&a->tasks.end_fd);
	pthread_cond_destroy(&a->tasks.over);
	pthread_mutex_destroy(&a->lock);
}

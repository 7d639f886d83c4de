/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent run": everything is made, the loop runs, and everything is freed. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "inventory.h"
#include "lessons.h"
#include "log.h"
#include "look.h"
#include "past.h"
#include "peers.h"
#include "process.h"
#include "routes.h"
#include "rounds.h"
#include "rundir.h"
#include "specs.h"
#include "statedir.h"
#include "task.h"

/* What only the process's beginning and end know. */
struct parts {
	struct listener listener;
	struct server *server;
	struct watch signals;
};

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

/* Root's and other users' run directory may not be there yet. */
static int socket_path(char *path, size_t size, struct err *e)
{
	int r = rundir_path(geteuid(), path, size);
	size_t len = strlen(path);

	if (!r && mkdir(path, 0755) && errno != EEXIST)
		return err_set(e, -errno, "%s cannot be made: %s", path, strerror(errno));
	if (r || snprintf(path + len, size - len, "/%s", AGENT_SOCKET) >= (int)(size - len))
		return err_set(e, -ENAMETOOLONG, "the path of the run directory is too long");
	return 0;
}

static int serve(struct agent *a, struct parts *p, struct err *e)
{
	const struct server_handler handler = { .handle = routes_handle,
						.gone = routes_gone,
						.arg = a };
	char path[sizeof(p->listener.path)];
	int r = socket_path(path, sizeof(path), e);

	r = r ? r : listener_open(&p->listener, path, 0600, e);
	if (r == -EADDRINUSE)
		return err_set(e, r, "an agent of this user runs here already");
	return r ? r : server_new(&p->server, a->loop, &p->listener, &handler, &server_limits, e);
}

static void on_signal(void *arg, uint32_t events)
{
	struct agent *a = arg;

	(void)events;
	loop_quit(a->loop);
}

static int watch_signals(struct agent *a, struct parts *p, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	p->signals = (struct watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
				     .ready = on_signal,
				     .arg = a };
	if (p->signals.fd < 0)
		return err_set(e, -errno, "no signalfd: %s", strerror(errno));
	return loop_watch(a->loop, &p->signals, EPOLLIN);
}

static int begin(struct agent *a, struct parts *p, struct err *e)
{
	int r = open_store(&a->store, e);

	r = r ? r : settings_new(&a->settings, a->store, e);
	r = r ? r : events_new(&a->events, e);
	r = r ? r : loop_new(&a->loop, e);
	r = r ? r : watch_signals(a, p, e);
	if (r)
		return r;
	loop_set_lock(a->loop, &a->lock);
	r = past_new(a, e);
	r = r ? r : lessons_new(&a->lessons, a->store, e);
	r = r ? r : processes_new(&a->processes, a, e);
	r = r ? r : specs_new(&a->specs, a, e);
	r = r ? r : peers_new(a, e);
	routes_begin(a);
	r = r ? r : serve(a, p, e);
	r = r ? r : pulse_new(&a->look, a, &look_job, e);
	return r ? r : pulse_new(&a->rounds, a, &rounds_job, e);
}

static void end(struct agent *a, struct parts *p)
{
	peers_stop(a);
	pulse_free(a->rounds);
	pulse_free(a->look);
	tasks_end(a);
	specs_free(a);
	routes_end(a);
	if (!p->server)
		listener_close(&p->listener);
	server_free(p->server);
	inventory_free(a);
	peers_free(a);
	processes_free(a->processes);
	if (p->signals.fd >= 0) {
		loop_unwatch(a->loop, &p->signals);
		close(p->signals.fd);
	}
	loop_free(a->loop);
	lessons_free(a->lessons);
	json_decref(a->plan);
	past_free(a);
	ledger_free(&a->ledger);
	events_free(a->events);
	settings_free(&a->settings);
	cleanup_fd(&a->store);
	cleanup_fd(&a->tasks.end_fd);
}

int agent_run(const struct agent_options *options, struct err *e)
{
	struct agent a = { .options = options, .store = -1, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct parts p = { .listener.fd = -1, .signals.fd = -1 };
	int r;

	log_set_level(LOG_INFO);
	list_init(&a.vms);
	list_init(&a.flights);
	list_init(&a.arrivals);
	ledger_init(&a.ledger);
	pthread_cond_init(&a.tasks.over, NULL);
	a.tasks.end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = begin(&a, &p, e);
	if (!r) {
		log_info("agent \"%s\" runs", options->id);
		loop_run(a.loop);
	}
	end(&a, &p);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent run": everything is made, the loop runs, and everything is freed. */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "local.h"
#include "log.h"
#include "look.h"
#include "peers.h"
#include "routes.h"
#include "rounds.h"
#include "rundir.h"
#include "task.h"

/* What only the process's beginning and end know. */
struct parts {
	struct listener listener;
	struct server *server;
	struct watch signals;
};

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
	int r = watch_signals(a, p, e);

	routes_begin(a);
	r = r ? r : serve(a, p, e); /* first: there is no other agent of this user */
	r = r ? r : peers_new(a, e);
	/* Peers may have the next beat at once. */
	pthread_mutex_lock(&a->lock);
	r = r ? r : pulse_new(&a->look, a, &look_job, e);
	r = r ? r : pulse_new(&a->local_pulse, a, &local_job, e);
	r = r ? r : pulse_new(&a->rounds, a, &rounds_job, e);
	pthread_mutex_unlock(&a->lock);
	return r;
}

static void end(struct agent *a, struct parts *p)
{
	tasks_stop(a);
	peers_stop(a);
	pulse_free(a->rounds);
	pulse_free(a->local_pulse);
	local_end(a);
	tasks_end(a); /* the last that have the VMs looked at */
	pulse_free(a->look);
	routes_end(a);
	if (!p->server)
		listener_close(&p->listener);
	server_free(p->server);
	if (p->signals.fd >= 0) {
		loop_unwatch(a->loop, &p->signals);
		close(p->signals.fd);
	}
}

int agent_run(const struct agent_options *options, struct err *e)
{
	struct parts p = { .listener.fd = -1, .signals.fd = -1 };
	struct agent a;
	int r;

	log_set_level(LOG_INFO);
	r = agent_open(&a, options, e);
	if (!r) {
		r = begin(&a, &p, e);
		if (!r) {
			log_info("agent \"%s\" runs", options->id);
			loop_run(a.loop);
		}
		end(&a, &p);
	}
	agent_close(&a);
	return r;
}

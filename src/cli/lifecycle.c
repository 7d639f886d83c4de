/* SPDX-License-Identifier: Apache-2.0 */
/* A VM in the foreground: the main loop, signals, and the end of it all. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "api.h"
#include "audit.h"
#include "bits.h"
#include "broker.h"
#include "chardev.h"
#include "cleanup.h"
#include "cli.h"
#include "config.h"
#include "disk.h"
#include "file.h"
#include "kvm.h"
#include "listener.h"
#include "log.h"
#include "machine.h"
#include "notify.h"
#include "owner.h"
#include "passt.h"
#include "rundir.h"
#include "sandbox.h"
#include "tap.h"
#include "tcp.h"
#include "thread.h"
#include "tty.h"
#include "vmm.h"

struct lifecycle {
	const struct run_options *options;
	struct api *api;
	struct audit *audit;
	struct loop *loop, *api_loop;
	struct events *events;
	struct notify *notify;
	struct vmm *vmm;
	char *api_path; /* NULL: in the run directory, or none */
	struct vmm_request create, boot, receive, restore, leave;
	struct watch signals; /* SIGTERM, SIGINT, SIGHUP */
	struct timer limit; /* from the power button to a hard end */
	enum lifecycle_begin begin;
	bool stopping;
	bool called_off; /* by a signal: a VM that comes all the same has its button pressed */
	int status;
};

static void on_over(void *arg, int status, const char *why)
{
	struct lifecycle *l = arg;
	struct err e;

	chardev_restore_terminal(); /* before anything is printed */
	if (why)
		log_error("%s", why);
	if (vmm_leave_migration(l->vmm, &e)) {
		status = CLI_FAILED;
		why = e.text;
		log_error("%s", why);
	}
	notify_over(l->notify, why);
	l->status = status;
	vmm_quit(l->vmm);
}

static void on_done(struct vmm_request *q)
{
	struct lifecycle *l = q->arg;

	if (!q->fault)
		return;
	on_over(l, q->fault == VMM_INVALID ? CLI_USAGE : CLI_FAILED, q->e.text);
}

static void on_restored(struct vmm_request *q)
{
	struct lifecycle *l = q->arg;

	if (!q->fault && !l->options->resume)
		log_info("restored and paused; \"godwit resume %s\" lets the guest go on",
			 vmm_config(l->vmm)->name);
	on_done(q);
}

static void on_left(struct vmm_request *q)
{
	struct lifecycle *l = q->arg;

	if (!q->fault)
		vmm_end(l->vmm);
	else
		on_over(l, CLI_FAILED, q->e.text);
}

/* As vmm.shutdown does. */
static void leave(struct lifecycle *l)
{
	if (!l->stopping)
		vmm_submit(l->vmm, &l->leave);
	l->stopping = true;
}

static void end_guest(struct lifecycle *l, const char *why)
{
	if (vmm_is_held(l->vmm))
		on_over(l, CLI_FAILED, why);
	else
		machine_end(vmm_machine(l->vmm), 1, why);
}

static void on_limit(void *arg)
{
	struct lifecycle *l = arg;
	char why[160];

	snprintf(why, sizeof(why),
		 "the guest did not power off within %u s of its power button and was ended; "
		 "--stop-timeout gives it longer",
		 vmm_config(l->vmm)->stop_timeout_s);
	end_guest(l, why);
}

static void press_button(struct lifecycle *l, struct machine *m, const char *signal)
{
	l->stopping = true;
	if (machine_press_power_button(m)) {
		machine_end(m, 1, "ended by a signal: the guest has no power button");
		return;
	}
	notify_stopping(l->notify, vmm_config(l->vmm)->stop_timeout_s);
	loop_timer_set(l->loop, &l->limit,
		       loop_now_ns() + vmm_config(l->vmm)->stop_timeout_s * UINT64_C(1000000000));
	log_info("SIG%s: pressed the guest's power button; a second signal ends it at once",
		 signal);
}

static void on_received(struct vmm_request *q)
{
	struct lifecycle *l = q->arg;

	on_done(q);
	if (!q->fault && l->called_off)
		press_button(l, vmm_machine(l->vmm), "TERM");
}

/* First the power button; whoever asks again, or cannot be served so, gets a hard end. */
static void on_signal(void *arg, uint32_t events)
{
	struct lifecycle *l = arg;
	struct machine *m = vmm_machine(l->vmm);
	struct signalfd_siginfo info;

	(void)events;
	if (read(l->signals.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (l->options->signal_ends || (l->begin == LIFECYCLE_WAIT && !m)) {
		leave(l);
		return;
	}
	l->called_off = vmm_call_off(l->vmm);
	if (l->called_off)
		return;
	if (!m) {
		on_over(l, CLI_FAILED, "ended by a signal before the VM was built");
		return;
	}
	if (l->stopping) {
		end_guest(l, "ended by a second signal before the guest powered off");
		return;
	}
	press_button(l, m, sigabbrev_np((int)info.ssi_signo));
}

static void on_fatal(int sig)
{
	chardev_restore_terminal();
	raise(sig); /* SA_RESETHAND: now the default action */
}

/* However the process ends by a signal, the terminal is put back first. */
static void guard_terminal(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS,  SIGILL,    SIGFPE,  SIGABRT,   SIGTRAP,
				     SIGQUIT, SIGSYS,  SIGXCPU,   SIGALRM, SIGVTALRM, SIGPROF,
				     SIGUSR2, SIGPOLL, SIGSTKFLT, SIGPWR };
	const struct sigaction guard = { .sa_handler = on_fatal, .sa_flags = SA_RESETHAND };
	struct sigaction now;

	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		if (!sigaction(fatal[i], NULL, &now) && now.sa_handler == SIG_DFL)
			sigaction(fatal[i], &guard, NULL);
}

/* Threads inherit the mask: before any is made. */
static int prepare_signals(struct lifecycle *l, struct err *e)
{
	static const int asking[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN); /* a reader went away: EPIPE says so */
	signal(SIGXFSZ, SIG_IGN); /* a file is at its limit: EFBIG says so */
	guard_terminal();
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
		sigaddset(&set, asking[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	l->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals.fd < 0)
		return err_set(e, -errno, "no signalfd: %s", strerror(errno));
	return 0;
}

static int open_api(struct lifecycle *l, const struct place *place, struct err *e)
{
	const struct api_config c = { .path = place->path,
				      .fd = place->fd,
				      .group = l->options->api_group,
				      .metrics_path = l->options->metrics_path,
				      .metrics_group = l->options->metrics_group,
				      .event_path = l->options->event_monitor.path,
				      .event_fd = l->options->event_monitor.fd,
				      .audit = l->audit,
				      .vmm = l->vmm,
				      .loop = l->api_loop,
				      .main_loop = l->loop,
				      .events = l->events };
	int r = sandbox_finish(e);

	return r ? r : api_new(&l->api, &c, e);
}

/* To pass through, as far as it is ours: the runtime directory of a user is not. */
static int let_through(int dir_fd, const struct caller_group *group, struct err *e)
{
	if (!group->given)
		return 0;
	if (fchown(dir_fd, (uid_t)-1, group->id) || fchmod(dir_fd, 0710) ||
	    (broker_owner() && fchmodat(dir_fd, "..", 0711, 0)))
		return err_set(e, -errno,
			       "the run directory of the VM cannot be opened to group %u: %s",
			       (unsigned)group->id, strerror(errno));
	return 0;
}

/* The API is found by the VM's name, wherever else its socket is. */
static int on_created(void *arg, const char *name, int dir_fd, struct err *e)
{
	struct lifecycle *l = arg;
	char path[64];
	int r;

	if (l->audit)
		audit_name(l->audit, name);
	if (!l->api) {
		r = let_through(dir_fd, &l->options->api_group, e);
		if (r)
			return r;
		snprintf(path, sizeof(path), "/proc/self/fd/%d/" RUNDIR_API_SOCKET, dir_fd);
		return open_api(l, &(struct place){ path, -1 }, e);
	}
	if (!l->api_path || !symlinkat(l->api_path, dir_fd, RUNDIR_API_SOCKET))
		return 0;
	return err_set(e, -errno, "%s: no link to it can be made: %s", l->api_path,
		       strerror(errno));
}

static void on_moved(void *arg, json_t *what)
{
	struct lifecycle *l = arg;

	if (l->api)
		api_note(l->api, what);
	else
		audit_write(l->audit, what);
}

static void on_away(void *arg, bool away)
{
	struct lifecycle *l = arg;

	api_away(l->api, away);
}

/* What a sandbox would need calls for that nothing else does. */
static int lifecycle_prepare(struct lifecycle *l, struct err *e)
{
	int r = prepare_signals(l, e);

	tty_prepare();
	r = r ? r : loop_new(&l->loop, e);
	return r ? r : loop_new(&l->api_loop, e);
}

static int lifecycle_open(struct lifecycle *l, struct err *e)
{
	struct vmm_hooks hooks = {
		.created = on_created, .over = on_over, .away = on_away, .arg = l
	};
	int rc = events_new(&l->events, e);

	events_add(l->events, "vmm", "starting", NULL);
	/* The guest is what counts: it runs also if nobody can be told of it. */
	if (!rc && notify_new(&l->notify, l->loop, l->events, e))
		log_warn("%s", e->text);
	if (!rc && l->options->audit) {
		rc = audit_new(&l->audit, l->options->audit, audit_journal, e);
		hooks.moved = on_moved;
	}
	hooks.loop = l->loop;
	hooks.events = l->events;
	/* Of a VM that comes from elsewhere a good deal is read before it has a name and an API. */
	if (!rc && (l->begin == LIFECYCLE_RECEIVE || l->begin == LIFECYCLE_RESTORE))
		rc = sandbox_finish(e);
	if (!rc)
		rc = vmm_new(&l->vmm, &hooks, e);
	if (!rc && place_is_given(&l->options->api_socket))
		rc = open_api(l, &l->options->api_socket, e);
	if (rc)
		return rc;
	rc = loop_watch(l->loop, &l->signals, EPOLLIN);
	return rc ? err_set(e, rc, "signals cannot be watched: %s", strerror(-rc)) : 0;
}

static void lifecycle_close(struct lifecycle *l)
{
	bool stopped;

	notify_free(l->notify);
	api_free(l->api);
	l->api = NULL;
	loop_free(l->api_loop);
	stopped = vmm_free(l->vmm);
	audit_free(l->audit);
	chardev_restore_terminal();
	if (stopped) {
		events_free(l->events);
		loop_free(l->loop);
	}
	cleanup_fd(&l->signals.fd);
}

static void begin_with(struct lifecycle *l)
{
	switch (l->begin) {
	case LIFECYCLE_WAIT:
		notify_listening(l->notify);
		return;
	case LIFECYCLE_RECEIVE:
		vmm_submit(l->vmm, &l->receive);
		return;
	case LIFECYCLE_RESTORE:
		vmm_submit(l->vmm, &l->restore);
		return;
	default:
		vmm_submit(l->vmm, &l->create);
		vmm_submit(l->vmm, &l->boot);
	}
}

/* Of a socket that is made later. */
static char *absolute(const char *path)
{
	CLEANUP(free) char *cwd = path && *path != '/' ? get_current_dir_name() : NULL;
	char *all;

	if (!path)
		return NULL;
	return asprintf(&all, "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", path) < 0 ? NULL : all;
}

static const struct broker_service *const services[] = { &audit_journal_service,
							 &caller_service,
							 &disk_lock_holder,
							 &disk_lock_shared,
							 &file_service,
							 &kvm_service,
							 &listener_service,
							 &owner_path,
							 &passt_start_service,
							 &passt_stop_service,
							 &tap_service,
							 &tap_is_there_service,
							 &tcp_names,
							 &tcp_port,
							 &thread_service,
							 NULL };

/* All that the configuration says where it is. */
static json_t *paths_of(const struct run_options *o)
{
	return json_pack("[s*, s*, s*, s*, s*, s*, s*, O*]", o->api_socket.path,
			 o->event_monitor.path, o->metrics_path, o->audit, o->dir, o->tls_dir,
			 getenv("NOTIFY_SOCKET"), o->json);
}

static int join_cgroup(struct cgroup_home *home, const struct run_options *o, struct err *e)
{
	const char *name = json_string_value(json_object_get(o->json, "name"));
	char number[16];

	snprintf(number, sizeof(number), "%d", (int)getpid());
	return cgroup_join(home, "", &o->cgroup, name ? name : number, e);
}

int lifecycle_run(const struct run_options *options, enum lifecycle_begin begin)
{
	struct lifecycle l = {
		.options = options,
		.begin = begin,
		.create = { .run = vmm_create, .in = options->json, .done = on_done, .arg = &l },
		.boot = { .run = vmm_boot, .done = on_done, .arg = &l },
		.receive = { .run = vmm_receive_migration,
			     .in = options->json,
			     .done = on_received,
			     .arg = &l },
		.restore = { .run = vmm_restore,
			     .in = options->json,
			     .done = on_restored,
			     .arg = &l },
		.leave = { .run = vmm_delete, .done = on_left, .arg = &l },
		.signals = { .fd = -1, .ready = on_signal, .arg = &l },
		.limit = { .expired = on_limit, .arg = &l },
		.status = CLI_FAILED
	};
	json_auto_t *named = paths_of(options);
	struct cgroup_home home = { .joined = false };
	CLEANUP(free) char *api_path = absolute(options->api_socket.path);
	const struct sandbox_config sandbox = { .mode = options->sandbox,
						.services = services,
						.named = named,
						.named_later = begin == LIFECYCLE_RECEIVE ||
							       begin == LIFECYCLE_RESTORE,
						.home = &home,
						.user = options->user,
						.last_words = chardev_restore_terminal };
	struct err e;

	l.api_path = api_path;
	log_set_level(options->log_level);
	if (join_cgroup(&home, options, &e) || lifecycle_prepare(&l, &e) ||
	    sandbox_begin(&sandbox, &e) || lifecycle_open(&l, &e)) {
		log_error("%s", e.text);
	} else {
		begin_with(&l);
		vmm_run(l.vmm);
	}
	lifecycle_close(&l);
	broker_end();
	cgroup_leave(&home); /* the broker has, if there was one */
	return l.status;
}

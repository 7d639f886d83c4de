/* SPDX-License-Identifier: Apache-2.0 */
/* A VM in the foreground: the main loop, signals, and the end of it all. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "bits.h"
#include "chardev.h"
#include "cleanup.h"
#include "cli.h"
#include "log.h"
#include "machine.h"

struct lifecycle {
	const struct config *config;
	struct vmdir dir;
	struct loop *loop;
	struct machine *machine;
	struct watch signals; /* SIGTERM, SIGINT, SIGHUP */
	struct timer limit; /* from the power button to a hard end */
	bool stopping;
	int status;
};

static void on_ended(void *arg, int status, const char *why)
{
	struct lifecycle *l = arg;

	chardev_restore_terminal(); /* before anything is printed */
	if (why)
		log_error("%s", why);
	l->status = status;
	loop_quit(l->loop);
}

static void on_limit(void *arg)
{
	struct lifecycle *l = arg;
	char why[160];

	snprintf(why, sizeof(why),
		 "the guest did not power off within %u s of its power button and was ended; "
		 "--stop-timeout gives it longer",
		 l->config->stop_timeout_s);
	machine_end(l->machine, 1, why);
}

/* First the power button; whoever asks again, or cannot be served so, gets a hard end. */
static void on_signal(void *arg, uint32_t events)
{
	struct lifecycle *l = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(l->signals.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (l->stopping) {
		machine_end(l->machine, 1, "ended by a second signal before the guest powered off");
		return;
	}
	l->stopping = true;
	if (machine_press_power_button(l->machine)) {
		machine_end(l->machine, 1, "ended by a signal: the guest has no power button");
		return;
	}
	loop_timer_set(l->loop, &l->limit,
		       loop_now_ns() + l->config->stop_timeout_s * UINT64_C(1000000000));
	log_info("SIG%s: pressed the guest's power button; a second signal ends it at once",
		 sigabbrev_np((int)info.ssi_signo));
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
				     SIGSYS,  SIGQUIT, SIGXCPU,   SIGALRM, SIGVTALRM, SIGPROF,
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

static int lifecycle_open(struct lifecycle *l, struct err *e)
{
	const struct machine_hooks hooks = { .ended = on_ended, .arg = l, .run_dir = l->dir.path };
	int rc = prepare_signals(l, e);

	if (!rc)
		rc = vmdir_new(&l->dir, l->config->name, e);
	if (!rc)
		rc = loop_new(&l->loop, e);
	if (!rc)
		rc = machine_new(&l->machine, l->config, l->loop, &hooks, e);
	if (rc)
		return rc;
	rc = loop_watch(l->loop, &l->signals, EPOLLIN);
	return rc ? err_set(e, rc, "signals cannot be watched: %s", strerror(-rc)) : 0;
}

static void lifecycle_close(struct lifecycle *l)
{
	if (machine_free(l->machine))
		loop_free(l->loop);
	chardev_restore_terminal();
	vmdir_free(&l->dir);
	cleanup_fd(&l->signals.fd);
}

int lifecycle_run(const struct config *config)
{
	struct lifecycle l = { .config = config,
			       .dir = { .fd = -1, .parent_fd = -1 },
			       .signals = { .fd = -1, .ready = on_signal, .arg = &l },
			       .limit = { .expired = on_limit, .arg = &l },
			       .status = CLI_FAILED };
	struct err e;

	log_set_level(LOG_INFO);
	if (lifecycle_open(&l, &e)) {
		chardev_restore_terminal();
		log_error("%s", e.text);
	} else {
		machine_start(l.machine);
		loop_run(l.loop);
	}
	lifecycle_close(&l);
	return l.status;
}

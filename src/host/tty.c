/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "tty.h"

enum { KEY_COMMAND = 0x1d }; /* Ctrl-] */

/* Signal handlers get no argument, so what they put back has to be where they can find it. */
static struct {
	int fd;
	int screen_fd; /* -1: the terminal's own screen is shown */
	bool guarded; /* handlers are installed */
	pid_t group; /* of this process; 0: it is asked for */
	int size_fd; /* for tty_watch_size(); -1: it is made then */
	atomic_bool raw;
	struct termios before, during;
} terminal = { .screen_fd = -1, .size_fd = -1 };

/* The alternate screen, without a cursor; and back. */
static const char screen_on[] = "\033[?1049h\033[?25l";
static const char screen_off[] = "\033[?25h\033[?1049l";

bool tty_is_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	/* ENOTTY: not our controlling terminal, so there is no job control on it. */
	return group < 0 || group == (terminal.group ? terminal.group : getpgrp());
}

void tty_prepare(void)
{
	terminal.group = getpgrp();
	if (isatty(STDIN_FILENO))
		terminal.size_fd = tty_watch_size();
}

static void show_screen(const char *which)
{
	if (terminal.screen_fd >= 0)
		(void)!write(terminal.screen_fd, which, strlen(which));
}

/* In the background the modes are those of whoever is in front. */
static void leave(void)
{
	if (!tty_is_foreground(terminal.fd))
		return;
	show_screen(screen_off);
	tcsetattr(terminal.fd, TCSANOW, &terminal.before);
}

void tty_restore(void)
{
	int saved = errno;

	if (atomic_exchange(&terminal.raw, false))
		leave();
	errno = saved;
}

/* SA_RESETHAND: the second signal, or the fault that repeats, has its default effect. */
static void on_fatal(int sig)
{
	tty_restore();
	raise(sig);
}

static void on_stop(int sig)
{
	int saved = errno;

	(void)sig;
	if (atomic_load(&terminal.raw))
		leave();
	raise(SIGSTOP);
	errno = saved;
}

static void on_continue(int sig)
{
	int saved = errno;

	(void)sig;
	if (!atomic_load(&terminal.raw))
		return;
	/* Continued in the background: tty_raw() will be asked again in the foreground. */
	if (tty_is_foreground(terminal.fd)) {
		tcsetattr(terminal.fd, TCSANOW, &terminal.during);
		show_screen(screen_on);
	} else {
		atomic_store(&terminal.raw, false);
	}
	errno = saved;
}

/* Whoever handles or ignores the signal already knows better. */
static void handle(int sig, void (*handler)(int), int flags)
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = flags }, old;

	sigemptyset(&a.sa_mask);
	if (!sigaction(sig, NULL, &old) && old.sa_handler == SIG_DFL)
		sigaction(sig, &a, NULL);
}

static void guard(void)
{
	static const int fatal[] = { SIGHUP, SIGINT,  SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS,
				     SIGFPE, SIGSEGV, SIGTERM, SIGSYS, SIGXCPU, SIGXFSZ };

	if (terminal.guarded)
		return;
	terminal.guarded = true;
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		handle(fatal[i], on_fatal, SA_RESETHAND);
	handle(SIGTSTP, on_stop, SA_RESTART);
	handle(SIGCONT, on_continue, SA_RESTART);
	atexit(tty_restore);
}

int tty_raw(int fd)
{
	if (atomic_load(&terminal.raw))
		return 0;
	terminal.fd = fd;
	if (tcgetattr(fd, &terminal.before) < 0)
		return -errno;
	terminal.during = terminal.before;
	cfmakeraw(&terminal.during);
	guard();
	atomic_store(&terminal.raw, true);
	if (tcsetattr(fd, TCSANOW, &terminal.during) < 0) {
		atomic_store(&terminal.raw, false);
		return -errno;
	}
	return 0;
}

int tty_screen(int fd, int screen_fd)
{
	int r;

	if (atomic_load(&terminal.raw))
		return 0;
	terminal.screen_fd = screen_fd;
	r = tty_raw(fd);
	if (!r)
		show_screen(screen_on);
	return r;
}

int tty_watch_size(void)
{
	sigset_t set;
	int fd;

	if (terminal.size_fd >= 0)
		return TAKE_FD(terminal.size_fd);
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* other threads never take signals */
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

void tty_size(int fd, uint16_t *cols, uint16_t *rows)
{
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) < 0)
		w = (struct winsize){ 0 };
	*cols = w.ws_col;
	*rows = w.ws_row;
}

size_t tty_filter(struct tty_keys *k, const uint8_t *in, size_t len, uint8_t *out, bool *leave)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		bool commanded = k->commanded;

		k->commanded = !commanded && in[i] == KEY_COMMAND;
		if (k->commanded)
			continue;
		if (commanded && in[i] == 'q') {
			*leave = true;
			break;
		}
		if (commanded && in[i] != KEY_COMMAND)
			out[n++] = KEY_COMMAND;
		out[n++] = in[i];
	}
	return n;
}

int tty_reopen(int fd, int flags)
{
	char path[32];
	struct stat st;

	/* Other files have a position that a second description would not share. */
	if (fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || isatty(fd)))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int tty_pty_open(int *out, char *path, size_t len, struct err *e)
{
	CLEANUP(fd)
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	CLEANUP(fd) int slave = -1;
	struct termios t;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, path, len))
		return err_set(e, -errno, "cannot make a pty: %s", strerror(errno));
	slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t) < 0)
		return err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
	/* Else it would echo the guest's output back to it.  Opening and closing it once also
	 * makes the master see that nobody is there. */
	cfmakeraw(&t);
	if (tcsetattr(slave, TCSANOW, &t) < 0)
		return err_set(e, -errno, "cannot set up %s: %s", path, strerror(errno));
	*out = TAKE_FD(master);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "chardev.h"
#include "listener.h"
#include "log.h"
#include "tty.h"

/* INPUT_BYTES: what a person may type or paste before the guest takes it. */
enum { INPUT_BYTES = 64 * KIB, READ_BYTES = 4096 };
enum { LOOK_NS = 1000000000 }; /* in the background: how often to see whether that changed */

/* One direction.  Watched only while there is something to wait for. */
struct end {
	struct watch watch; /* fd -1: none */
	bool watched;
	bool ours; /* the description: non-blocking, and closed here */
};

struct chardev {
	enum chardev_mode mode;
	struct loop *loop;
	struct chardev_events events;
	struct end in, out; /* out is watched while output was refused */
	struct listener listener; /* Socket; fd -1: none */
	struct end listen; /* its: watched while there is no client */
	struct end size; /* of a terminal: readable when it changed */
	bool in_over; /* nothing more can come */
	bool in_paused; /* the guest has no room */
	bool in_file; /* what cannot be watched is read when the guest has room */
	bool terminal; /* in is one, and obeys commands */
	struct tty_keys keys;
	struct timer look;
	bool warned;
	char path[sizeof(((struct listener *)0)->path)];
	size_t held_at, held; /* input that the guest has not taken yet */
	uint8_t input[INPUT_BYTES];
};

const char *const chardev_mode_names[] = { "Off", "Null", "Tty", "Pty", "File", "Socket", NULL };

static short poll_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static void end_open(struct end *end, int fd, bool ours)
{
	end->watch.fd = fd;
	end->ours = ours && fd >= 0;
}

static int end_watch(struct chardev *c, struct end *end, uint32_t events)
{
	int r = end->watched ? 0 : loop_watch(c->loop, &end->watch, events);

	end->watched = !r;
	return r;
}

static void end_unwatch(struct chardev *c, struct end *end)
{
	if (end->watched)
		loop_unwatch(c->loop, &end->watch);
	end->watched = false;
}

static void end_close(struct chardev *c, struct end *end)
{
	end_unwatch(c, end);
	if (end->ours)
		close(end->watch.fd);
	end_open(end, -1, false);
}

/*
 * Reads and writes never wait.  An inherited description stays blocking, because whoever
 * shares it would notice: there, look first and move no more than is sure to fit.
 */
static ssize_t end_read(const struct end *end, void *data, size_t len)
{
	ssize_t n;

	if (!end->ours && !poll_now(end->watch.fd, POLLIN)) {
		errno = EAGAIN;
		return -1;
	}
	do
		n = read(end->watch.fd, data, len);
	while (n < 0 && errno == EINTR);
	return n;
}

static ssize_t end_write(const struct end *end, const void *data, size_t len)
{
	ssize_t n;

	if (!end->ours && !poll_now(end->watch.fd, POLLOUT)) {
		errno = EAGAIN;
		return -1;
	}
	do
		n = write(end->watch.fd, data, end->ours ? len : 1);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Size */

static void size_look(struct chardev *c)
{
	if (c->events.resized)
		c->events.resized(c->events.arg);
}

static void size_changed(void *arg, uint32_t events)
{
	struct chardev *c = arg;
	struct signalfd_siginfo info;

	(void)events;
	end_read(&c->size, &info, sizeof(info));
	size_look(c);
}

static void size_watch(struct chardev *c)
{
	end_open(&c->size, tty_watch_size(), true);
	end_watch(c, &c->size, EPOLLIN);
}

void chardev_size(const struct chardev *c, uint16_t *cols, uint16_t *rows)
{
	tty_size(c->in.watch.fd, cols, rows);
}

/* Input */

static void input_keep(struct chardev *c, const uint8_t *data, size_t len)
{
	if (c->held_at + c->held + len > sizeof(c->input)) {
		memmove(c->input, c->input + c->held_at, c->held);
		c->held_at = 0;
	}
	/* Only a terminal is read without room, for its commands; like its own line discipline,
	 * drop the rest. */
	len = MIN(len, sizeof(c->input) - c->held);
	memcpy(c->input + c->held_at + c->held, data, len);
	c->held += len;
}

static void input_offer(struct chardev *c)
{
	size_t n;

	if (!c->held)
		return;
	n = c->events.received(c->events.arg, c->input + c->held_at, c->held);
	c->held_at += n;
	c->held -= n;
	if (!c->held)
		c->held_at = 0;
}

static void input_take(struct chardev *c, const uint8_t *data, size_t len)
{
	uint8_t keys[READ_BYTES + 1];
	bool leave = false;

	if (c->terminal) {
		len = tty_filter(&c->keys, data, len, keys, &leave);
		data = keys;
	}
	input_keep(c, data, len);
	input_offer(c);
	if (leave)
		c->events.leave(c->events.arg);
}

static int input_watch(struct chardev *c)
{
	/* A pty whose other end is closed reports that for as long as it lasts: only changes
	 * of it are of interest. */
	uint32_t events = EPOLLIN | (c->mode == CHARDEV_PTY ? EPOLLET : 0);

	if (!c->in.watched)
		return end_watch(c, &c->in, events);
	loop_watch_change(c->loop, &c->in.watch, events);
	return 0;
}

/* A client that hangs up is noticed also while nothing is read from it; elsewhere a hangup is
 * only the end of input, and can wait. */
static void input_unwatch(struct chardev *c)
{
	if (c->mode == CHARDEV_SOCKET)
		loop_watch_change(c->loop, &c->in.watch, 0);
	else
		end_unwatch(c, &c->in);
}

/* false: nothing came. */
static bool input_read(struct chardev *c)
{
	size_t room = c->terminal ? READ_BYTES : MIN(READ_BYTES, sizeof(c->input) - c->held);
	uint8_t data[READ_BYTES];
	ssize_t n = room ? end_read(&c->in, data, room) : 0;

	if (n > 0) {
		size_look(c);
		input_take(c, data, (size_t)n);
		return true;
	}
	/* A pty reads an error while its other end is closed. */
	if (room && (n == 0 || errno != EAGAIN) && c->mode != CHARDEV_PTY) {
		c->in_over = true;
		input_unwatch(c);
		if (c->events.input_over)
			c->events.input_over(c->events.arg);
	}
	return false;
}

static void client_leaves(struct chardev *c)
{
	bool waited = c->out.watched;

	end_close(c, &c->in);
	end_close(c, &c->out);
	c->in_paused = false;
	end_watch(c, &c->listen, EPOLLIN | EPOLLET);
	if (waited)
		c->events.writable(c->events.arg);
}

/* Enter raw mode if the terminal is ours now; else leave it alone and look again later. */
static bool terminal_take(struct chardev *c)
{
	if (tty_is_foreground(c->in.watch.fd)) {
		tty_raw(STDIN_FILENO);
		return true;
	}
	end_unwatch(c, &c->in);
	loop_timer_set(c->loop, &c->look, loop_now_ns() + LOOK_NS);
	return false;
}

static void terminal_look(void *arg)
{
	struct chardev *c = arg;

	if (terminal_take(c))
		input_watch(c);
}

static void input_ready(void *arg, uint32_t events)
{
	struct chardev *c = arg;

	if (c->terminal && !terminal_take(c))
		return;
	if (c->mode == CHARDEV_SOCKET && (events & (EPOLLHUP | EPOLLERR))) {
		while (!c->in_over && input_read(c))
			;
		client_leaves(c);
		return;
	}
	if (!input_read(c))
		return;
	if (c->held && !c->terminal) {
		c->in_paused = true;
		input_unwatch(c);
	} else if (c->mode == CHARDEV_PTY) {
		input_watch(c); /* what is left gives no new edge */
	}
}

void chardev_more(struct chardev *c)
{
	input_offer(c);
	if (!c->in_paused || c->held)
		return;
	if (c->in_file) {
		while (!c->held && !c->in_over && input_read(c))
			;
		return;
	}
	c->in_paused = false;
	if (!c->in_over)
		input_watch(c);
}

/* Output */

static void output_ready(void *arg, uint32_t events)
{
	struct chardev *c = arg;

	(void)events;
	end_unwatch(c, &c->out);
	c->events.writable(c->events.arg);
}

static void output_failed(struct chardev *c, int error)
{
	/* A client or reader that went away is not there, like one that has not come yet. */
	if (c->warned || c->mode == CHARDEV_PTY || c->mode == CHARDEV_SOCKET)
		return;
	c->warned = true;
	log_warn("cannot write to %s: %s; what does not fit there is lost",
		 c->mode == CHARDEV_TTY ? "standard output" : c->path, strerror(error));
}

size_t chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
	if (c->out.watched)
		return 0;
	if (c->out.watch.fd < 0 ||
	    (c->mode == CHARDEV_PTY && (poll_now(c->out.watch.fd, 0) & POLLHUP)))
		return len;
	for (size_t done = 0; done < len;) {
		ssize_t n = end_write(&c->out, data + done, len - done);

		if (n < 0 && errno == EAGAIN && !end_watch(c, &c->out, EPOLLOUT))
			return done;
		if (n <= 0) {
			output_failed(c, errno);
			break;
		}
		done += (size_t)n;
	}
	return len;
}

/* Opening */

static int open_tty(struct chardev *c)
{
	int in = tty_reopen(STDIN_FILENO, O_RDONLY), out = tty_reopen(STDOUT_FILENO, O_WRONLY);
	int r;

	end_open(&c->in, in < 0 ? STDIN_FILENO : in, in >= 0);
	end_open(&c->out, out < 0 ? STDOUT_FILENO : out, out >= 0);
	/* In the background a read fails and a write succeeds, instead of stopping the guest. */
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	c->terminal = isatty(STDIN_FILENO);
	if (c->terminal && c->events.resized)
		size_watch(c);
	if (c->terminal && !terminal_take(c))
		return 0;
	r = input_watch(c);
	c->in_file = c->in_paused = r == -EPERM;
	c->in_over = r && r != -EPERM; /* standard input is closed */
	return 0;
}

static int open_pty(struct chardev *c, struct err *e)
{
	int master, r = tty_pty_open(&master, c->path, sizeof(c->path), e);

	if (r)
		return r;
	end_open(&c->in, master, true);
	end_open(&c->out, fcntl(master, F_DUPFD_CLOEXEC, 0), true);
	if (c->out.watch.fd < 0)
		return err_set(e, -errno, "cannot make a pty: %s", strerror(errno));
	r = input_watch(c);
	return r ? err_set(e, r, "cannot watch %s: %s", c->path, strerror(-r)) : 0;
}

static int open_file(struct chardev *c, const char *path, struct err *e)
{
	int fd;

	if (!path)
		return err_set(e, -EINVAL, "mode File needs a file: add file=PATH");
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "cannot open %s for output: %s", path, strerror(errno));
	end_open(&c->out, fd, true);
	snprintf(c->path, sizeof(c->path), "%s", path);
	return 0;
}

static void client_arrives(void *arg, uint32_t events)
{
	struct chardev *c = arg;
	int fd = accept4(c->listen.watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	/* The next one waits in the queue until this one leaves. */
	end_unwatch(c, &c->listen);
	c->in_over = false;
	end_open(&c->in, fd, true);
	end_open(&c->out, fcntl(fd, F_DUPFD_CLOEXEC, 0), true);
	if (c->out.watch.fd < 0 || input_watch(c)) {
		log_warn("cannot serve a client of %s: %s", c->path, strerror(errno));
		client_leaves(c);
		return;
	}
	/* Held back for the client before: goes first. */
	c->in_paused = c->held > 0;
	if (c->in_paused)
		input_unwatch(c);
}

static int open_socket(struct chardev *c, const char *path, struct err *e)
{
	int r;

	if (!path)
		return err_set(e, -EINVAL, "mode Socket needs a path: add socket=PATH");
	/* Who may connect is left to the umask, as with any file that a user names. */
	r = listener_open(&c->listener, path, 0777, e);
	if (r)
		return r;
	snprintf(c->path, sizeof(c->path), "%s", path);
	end_open(&c->listen, c->listener.fd, false);
	r = end_watch(c, &c->listen, EPOLLIN | EPOLLET);
	return r ? err_set(e, r, "cannot watch %s: %s", path, strerror(-r)) : 0;
}

static int chardev_open(struct chardev *c, const struct chardev_config *config, struct err *e)
{
	switch (c->mode) {
	case CHARDEV_TTY:
		return open_tty(c);
	case CHARDEV_PTY:
		return open_pty(c, e);
	case CHARDEV_FILE:
		return open_file(c, config->file, e);
	case CHARDEV_SOCKET:
		return open_socket(c, config->socket, e);
	default:
		return 0;
	}
}

int chardev_new(struct chardev **out, const struct chardev_config *config, struct loop *loop,
		const struct chardev_events *events, struct err *e)
{
	struct chardev *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	c->mode = config->mode;
	c->loop = loop;
	c->events = *events;
	c->in.watch = (struct watch){ .fd = -1, .ready = input_ready, .arg = c };
	c->out.watch = (struct watch){ .fd = -1, .ready = output_ready, .arg = c };
	c->listener.fd = -1;
	c->listen.watch = (struct watch){ .fd = -1, .ready = client_arrives, .arg = c };
	c->size.watch = (struct watch){ .fd = -1, .ready = size_changed, .arg = c };
	c->look = (struct timer){ .expired = terminal_look, .arg = c };
	/* A reader that went away is an error of the write, not the end of the VM. */
	signal(SIGPIPE, SIG_IGN);
	r = chardev_open(c, config, e);
	if (r) {
		chardev_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void chardev_free(struct chardev *c)
{
	if (!c)
		return;
	loop_timer_cancel(c->loop, &c->look);
	end_close(c, &c->in);
	end_close(c, &c->out);
	end_close(c, &c->listen);
	end_close(c, &c->size);
	listener_close(&c->listener);
	if (c->terminal)
		tty_restore();
	free(c);
}

const char *chardev_path(const struct chardev *c)
{
	return c->mode == CHARDEV_PTY || c->mode == CHARDEV_SOCKET ? c->path : NULL;
}

void chardev_restore_terminal(void)
{
	tty_restore();
}

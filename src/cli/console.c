/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit console": standard input and output on a port of a running VM (include/hub.h). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "chardev.h"
#include "cleanup.h"
#include "cli.h"
#include "client.h"
#include "log.h"
#include "rundir.h"

enum { ANSWER_LIMIT_S = 30, READ_BYTES = 16 * KIB };

static const char *const ports[] = { "serial", "console" };

struct relay {
	const char *name; /* of the VM */
	const char *port; /* NULL: the first that the VM has */
	const char *role; /* type, take or watch */
	bool types; /* as the VM answered */
	bool on_terminal; /* standard input is one */
	struct loop *loop;
	struct chardev *host; /* standard input and output */
	struct watch vm;
	uint32_t events; /* of the watch; 0: not watched */
	bool vm_full; /* it takes no input now */
	bool vm_over;
	bool refused; /* input, because another console types */
	size_t out_at, out_left; /* not yet taken by standard output */
	uint8_t out[READ_BYTES];
};

/* Finding the VM */

static int connect_port(const struct relay *r, int dir, const char *port, int *fd, struct err *e)
{
	char file[32];

	snprintf(file, sizeof(file), "%s.sock", port);
	*fd = rundir_connect(dir, file);
	if (*fd >= 0)
		return 0;
	if (*fd == -ENOENT)
		return err_set(e, -ENOENT, "VM \"%s\" has no port \"%s\"", r->name, port);
	if (*fd == -ECONNREFUSED)
		return err_set(e, *fd, "VM \"%s\" is ending", r->name);
	return err_set(e, *fd, "port \"%s\" of VM \"%s\" cannot be reached: %s", port, r->name,
		       strerror(-*fd));
}

static int connect_vm(struct relay *r, struct err *e)
{
	CLEANUP(fd) int dir = rundir_open(geteuid(), r->name);
	int rc = -ENOENT;

	if (dir == -ENOENT)
		return client_refuse_name(r->name, e);
	if (dir < 0)
		return err_set(e, dir, "the run directory of VM \"%.64s\" cannot be opened: %s",
			       r->name, strerror(-dir));
	if (r->port)
		return connect_port(r, dir, r->port, &r->vm.fd, e);
	for (size_t i = 0; rc == -ENOENT && i < ARRAY_SIZE(ports); i++)
		rc = connect_port(r, dir, ports[i], &r->vm.fd, e);
	if (rc == -ENOENT)
		err_set(e, rc, "VM \"%s\" has neither a serial port nor a console, or only starts",
			r->name);
	return rc;
}

/* One line, of which nothing after it is taken. */
static int read_answer(const struct relay *r, char *line, size_t size, struct err *e)
{
	const struct timeval limit = { .tv_sec = ANSWER_LIMIT_S };
	size_t n = 0;

	setsockopt(r->vm.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (; n < size - 1; n++) {
		ssize_t got = recv(r->vm.fd, line + n, 1, 0);

		if (got < 0 && errno == EAGAIN)
			return err_set(e, -ETIMEDOUT, "VM \"%s\" does not answer", r->name);
		if (got <= 0)
			return err_set(e, -EPIPE, "VM \"%s\" is over", r->name);
		if (line[n] == '\n')
			break;
	}
	line[n] = '\0';
	return 0;
}

static int ask(struct relay *r, struct err *e)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "godwit-console 1 %s\n", r->role), rc;

	/* A failure shows when the answer is read, which may be there. */
	(void)!send(r->vm.fd, line, (size_t)n, MSG_NOSIGNAL);
	rc = read_answer(r, line, sizeof(line), e);
	if (rc)
		return rc;
	r->types = !strcmp(line, "ok type");
	if (r->types || !strcmp(line, "ok watch"))
		return 0;
	if (!strncmp(line, "error ", 6))
		return err_set(e, -EPROTO, "VM \"%s\": %s", r->name, line + 6);
	return err_set(e, -EPROTO,
		       "VM \"%s\" runs in another version of godwit, which answers otherwise",
		       r->name);
}

/* Copying */

static void relay_watch(struct relay *r)
{
	uint32_t events = r->out_left ? 0 : EPOLLIN | (r->vm_full ? EPOLLOUT : 0);

	/* A hangup is reported to whoever watches at all: not before all output is shown. */
	if (events && r->events)
		loop_watch_change(r->loop, &r->vm, events);
	else if (events && loop_watch(r->loop, &r->vm, events))
		loop_quit(r->loop);
	else if (r->events)
		loop_unwatch(r->loop, &r->vm);
	r->events = events;
}

static size_t relay_input(void *arg, const uint8_t *data, size_t len)
{
	struct relay *r = arg;
	ssize_t n;

	if (!strcmp(r->role, "watch"))
		return len;
	/* A person sees who types; what a script sends must not be lost. */
	if (!r->types && !r->on_terminal) {
		r->refused = true;
		loop_quit(r->loop);
		return len;
	}
	n = send(r->vm.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return len; /* the end of the VM is read after the last of its output */
	r->vm_full = n < (ssize_t)len;
	relay_watch(r);
	return n < 0 ? 0 : (size_t)n;
}

static void relay_input_over(void *arg)
{
	struct relay *r = arg;

	shutdown(r->vm.fd, SHUT_WR);
}

static void relay_show(struct relay *r)
{
	size_t n = chardev_write(r->host, r->out + r->out_at, r->out_left);

	r->out_at += n;
	r->out_left -= n;
	relay_watch(r);
}

static void relay_vm_ready(void *arg, uint32_t events)
{
	struct relay *r = arg;
	ssize_t n;

	if (events & EPOLLOUT) {
		r->vm_full = false;
		chardev_more(r->host);
	}
	n = recv(r->vm.fd, r->out, sizeof(r->out), MSG_DONTWAIT);
	if (n > 0) {
		r->out_at = 0;
		r->out_left = (size_t)n;
	} else if (n == 0 || errno != EAGAIN) {
		r->vm_over = true;
		loop_quit(r->loop);
	}
	relay_show(r);
}

static void relay_writable(void *arg)
{
	relay_show(arg);
}

static void relay_leave(void *arg)
{
	struct relay *r = arg;

	loop_quit(r->loop);
}

static void say_who_types(const struct relay *r)
{
	if (!r->on_terminal)
		return;
	if (r->types)
		log_info("this is VM \"%s\"; Ctrl-] q leaves it", r->name);
	else if (!strcmp(r->role, "watch"))
		log_info("watching VM \"%s\"; Ctrl-] q leaves it", r->name);
	else
		log_info("watching VM \"%s\", where another console types; Ctrl-] q leaves it, "
			 "--take types at once",
			 r->name);
}

static void on_pipe(int sig)
{
	chardev_restore_terminal();
	raise(sig); /* SA_RESETHAND: now the default action */
}

static int relay_run(struct relay *r, struct err *e)
{
	const struct chardev_config config = { .mode = CHARDEV_TTY };
	const struct chardev_events events = { .received = relay_input,
					       .writable = relay_writable,
					       .leave = relay_leave,
					       .input_over = relay_input_over,
					       .arg = r };
	const struct sigaction pipe_action = { .sa_handler = on_pipe, .sa_flags = SA_RESETHAND };
	int rc = loop_new(&r->loop, e);

	if (!rc)
		rc = chardev_new(&r->host, &config, r->loop, &events, e);
	if (rc)
		return rc;
	/* If whoever read standard output has gone, nobody needs this. */
	sigaction(SIGPIPE, &pipe_action, NULL);
	relay_watch(r);
	chardev_more(r->host); /* what cannot be watched is read now */
	loop_run(r->loop);
	return 0;
}

static void relay_close(struct relay *r)
{
	if (r->events)
		loop_unwatch(r->loop, &r->vm);
	chardev_free(r->host);
	loop_free(r->loop);
	cleanup_fd(&r->vm.fd);
}

static int console(struct relay *r)
{
	struct err e;
	int rc;

	log_set_level(LOG_INFO);
	rc = connect_vm(r, &e);
	if (!rc)
		rc = ask(r, &e);
	if (!rc) {
		say_who_types(r);
		rc = relay_run(r, &e);
	}
	relay_close(r); /* the terminal is as it was before anything is printed */
	if (!rc && r->refused)
		rc = err_set(
			&e, -EBUSY,
			"another console types at VM \"%s\"; --take types at once, --watch never",
			r->name);
	if (rc)
		log_error("%s", e.text);
	else if (r->vm_over)
		log_info("VM \"%s\" is over", r->name);
	return rc ? CLI_FAILED : CLI_OK;
}

int console_run(const struct verb *v, const struct verb_args *args)
{
	const char *watch = args->value[1], *take = args->value[2];
	struct relay r = { .name = args->rest[0],
			   .port = args->value[0],
			   .role = watch  ? "watch"
				   : take ? "take"
					  : "type",
			   .on_terminal = isatty(STDIN_FILENO),
			   .vm = { .fd = -1, .ready = relay_vm_ready, .arg = &r } };

	(void)v;
	if (!watch || !take)
		return console(&r);
	log_error("--watch and --take exclude each other; leave one of them out");
	return CLI_USAGE;
}

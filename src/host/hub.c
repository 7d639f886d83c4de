/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "hub.h"
#include "listener.h"
#include "socket_io.h"

#define GREETING "godwit-console 1 "

/* GATHER_NS: ports are written byte by byte, and consoles read in larger pieces. */
enum { INPUT_BYTES = 64 * KIB, READ_BYTES = 4096, GATHER_NS = 1000000 };

enum role { ASKING, WATCHES, MAY_TYPE };

struct console {
	struct watch watch; /* fd -1: a free place */
	uint32_t events; /* of the watch */
	struct hub *hub;
	uint64_t number; /* in the order in which they came */
	enum role role;
	bool full; /* its socket, since the last write */
	bool in_over; /* it ended its input */
	uint64_t at; /* the guest's byte that it gets next */
	char request[32];
	size_t nrequest;
	char note[512]; /* goes before that byte */
	size_t nnote;
};

struct hub {
	struct chardev *host;
	struct loop *loop;
	struct chardev_events events;
	struct listener listener; /* fd -1: none */
	struct watch listen;
	struct timer gather; /* set while consoles are to get something */
	bool gathers;
	uint64_t arrivals;
	unsigned nconsoles;
	struct console console[HUB_CONSOLES];
	struct console *typist; /* NULL: nobody types */
	uint64_t total, delivered; /* bytes of the guest; of these, consoles were offered */
	size_t held_at, held; /* input that the guest has not taken yet */
	uint8_t input[INPUT_BYTES];
	uint8_t ring[HUB_RING_BYTES]; /* byte n of the guest is at n % HUB_RING_BYTES */
};

/* The ring */

static void ring_append(struct hub *h, const uint8_t *data, size_t len)
{
	while (len) {
		size_t at = h->total % HUB_RING_BYTES, n = MIN(len, HUB_RING_BYTES - at);

		memcpy(h->ring + at, data, n);
		h->total += n;
		data += n;
		len -= n;
	}
}

static uint64_t ring_oldest(const struct hub *h)
{
	return h->total - MIN(h->total, HUB_RING_BYTES);
}

/* The start of a line, if some of the guest's bytes are gone and a line starts at all. */
static uint64_t ring_first_line(const struct hub *h)
{
	uint64_t oldest = ring_oldest(h);

	for (uint64_t at = oldest; oldest && at < h->total - 1; at++)
		if (h->ring[at % HUB_RING_BYTES] == '\n')
			return at + 1;
	return oldest;
}

/* One console */

static void console_choose(struct hub *h);

/* What it is to read before more of the guest; dropped if it has not read the last ones. */
static void __attribute__((format(printf, 2, 3)))
console_tell(struct console *c, const char *fmt, ...)
{
	size_t room = sizeof(c->note) - c->nnote;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->note + c->nnote, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room)
		c->nnote += (size_t)n;
}

static void console_watch(struct console *c)
{
	struct hub *h = c->hub;
	bool reads = !c->in_over && (c != h->typist || h->held < sizeof(h->input));
	uint32_t events = (reads ? EPOLLIN : 0) | (c->full ? EPOLLOUT : 0);

	if (events != c->events)
		loop_watch_change(h->loop, &c->watch, events);
	c->events = events;
}

static void console_drop(struct console *c)
{
	struct hub *h = c->hub;

	loop_unwatch(h->loop, &c->watch);
	close(c->watch.fd);
	c->watch.fd = -1;
	h->nconsoles--;
	if (h->typist == c) {
		h->typist = NULL;
		console_choose(h);
	}
}

/* False: it takes no more now. */
static bool console_write(struct console *c, const void *data, size_t len, size_t *done)
{
	ssize_t n = socket_send(c->watch.fd, data, len, 0);

	/* Other failures than a full socket: the loop reports the hangup. */
	*done = n > 0 ? (size_t)n : 0;
	c->full = *done < len && (n >= 0 || errno == EAGAIN);
	return *done == len;
}

static bool console_send_note(struct console *c)
{
	size_t done = 0;
	bool all = !c->nnote || console_write(c, c->note, c->nnote, &done);

	c->nnote -= done;
	memmove(c->note, c->note + done, c->nnote);
	return all;
}

static void console_skip_lost(struct console *c)
{
	uint64_t first;

	if (c->at >= ring_oldest(c->hub))
		return;
	first = ring_first_line(c->hub);
	console_tell(c, "\r\n[godwit: %llu bytes are lost here]\r\n",
		     (unsigned long long)(first - c->at));
	c->at = first;
}

/* As much as it takes now. */
static void console_send(struct console *c)
{
	struct hub *h = c->hub;
	bool all;

	c->full = false;
	console_skip_lost(c);
	all = console_send_note(c);
	while (all && c->at < h->total) {
		size_t at = c->at % HUB_RING_BYTES, done;
		size_t n = MIN(h->total - c->at, HUB_RING_BYTES - at);

		all = console_write(c, h->ring + at, n, &done);
		c->at += done;
	}
	console_watch(c);
}

/* Who types */

static void console_choose(struct hub *h)
{
	struct console *first = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(h->console); i++) {
		struct console *c = &h->console[i];

		if (c->watch.fd >= 0 && c->role == MAY_TYPE && !c->in_over &&
		    (!first || c->number < first->number))
			first = c;
	}
	h->typist = first;
	if (!first)
		return;
	console_tell(first, "\r\n[godwit: this console types now]\r\n");
	console_send(first);
}

static void console_take(struct console *c)
{
	struct console *before = c->hub->typist;

	c->hub->typist = c;
	if (!before)
		return;
	console_tell(before, "\r\n[godwit: another console types now, this one watches]\r\n");
	console_send(before);
}

static const struct {
	const char *word;
	enum role role;
	bool take;
} requests[] = {
	{ "type", MAY_TYPE, false },
	{ "take", MAY_TYPE, true },
	{ "watch", WATCHES, false },
};

/* One line, which does not come back: the console is gone. */
static void console_refuse(struct console *c, const char *why)
{
	char line[160];
	size_t done;

	console_write(c, line, (size_t)snprintf(line, sizeof(line), "error %s\n", why), &done);
	console_drop(c);
}

static bool console_admit(struct console *c)
{
	const size_t len = strlen(GREETING);

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		if (strncmp(c->request, GREETING, len) ||
		    strcmp(c->request + len, requests[i].word))
			continue;
		c->role = requests[i].role;
		c->at = ring_first_line(c->hub);
		if (c->role == MAY_TYPE && (requests[i].take || !c->hub->typist))
			console_take(c);
		console_tell(c, "ok %s\n", c->hub->typist == c ? "type" : "watch");
		return true;
	}
	console_refuse(c, "this is no request of a console that this VM knows");
	return false;
}

/* False: the line is not complete, or the console is gone. */
static bool console_ask(struct console *c)
{
	ssize_t n;
	char byte;

	/* One by one: what follows the line is input. */
	while ((n = socket_receive(c->watch.fd, &byte, 1, 0)) == 1) {
		if (byte == '\n')
			return console_admit(c);
		if (c->nrequest == sizeof(c->request) - 1)
			return console_admit(c); /* which refuses it */
		c->request[c->nrequest++] = byte;
	}
	if (n == 0 || errno != EAGAIN)
		console_drop(c);
	return false;
}

/* Input */

static void input_offer(struct hub *h)
{
	size_t n;

	if (!h->held)
		return;
	n = h->events.received(h->events.arg, h->input + h->held_at, h->held);
	h->held_at += n;
	h->held -= n;
}

static void input_keep(struct hub *h, const uint8_t *data, size_t len)
{
	if (h->held_at + h->held + len > sizeof(h->input)) {
		memmove(h->input, h->input + h->held_at, h->held);
		h->held_at = 0;
	}
	memcpy(h->input + h->held_at + h->held, data, len);
	h->held += len;
}

/* False: nothing more comes now. */
static bool console_read(struct console *c)
{
	struct hub *h = c->hub;
	bool types = h->typist == c;
	size_t room = types ? MIN(READ_BYTES, sizeof(h->input) - h->held) : READ_BYTES;
	uint8_t data[READ_BYTES];
	ssize_t n = room ? socket_receive(c->watch.fd, data, room, 0) : -1;

	if (n > 0 && types) {
		input_keep(h, data, (size_t)n);
		input_offer(h);
	} else if (n == 0) {
		c->in_over = true;
		if (types)
			console_choose(h);
	}
	return n > 0;
}

static void console_ready(void *arg, uint32_t events)
{
	struct console *c = arg;
	bool over = events & (EPOLLHUP | EPOLLERR);

	if (c->role == ASKING && !console_ask(c))
		return;
	if (events & EPOLLIN)
		while (console_read(c) && over)
			;
	if (over)
		console_drop(c);
	else
		console_send(c);
}

/* All of them */

static void hub_deliver(struct hub *h)
{
	h->delivered = h->total;
	for (size_t i = 0; i < ARRAY_SIZE(h->console); i++) {
		struct console *c = &h->console[i];

		if (c->watch.fd >= 0 && c->role != ASKING && !c->full)
			console_send(c);
	}
}

static void hub_gathered(void *arg)
{
	struct hub *h = arg;

	h->gathers = false;
	hub_deliver(h);
}

size_t hub_write(struct hub *h, const uint8_t *data, size_t len)
{
	size_t n = chardev_write(h->host, data, len);

	ring_append(h, data, n);
	if (!n || !h->nconsoles)
		return n;
	if (h->total - h->delivered >= HUB_RING_BYTES / 2) {
		hub_deliver(h);
	} else if (!h->gathers) {
		h->gathers = true;
		loop_timer_set(h->loop, &h->gather, loop_now_ns() + GATHER_NS);
	}
	return n;
}

void hub_more(struct hub *h)
{
	input_offer(h);
	if (h->typist)
		console_watch(h->typist);
	chardev_more(h->host);
}

const struct chardev *hub_chardev(const struct hub *h)
{
	return h->host;
}

/* Attaching */

static struct console *hub_place(struct hub *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(h->console); i++)
		if (h->console[i].watch.fd < 0)
			return &h->console[i];
	return NULL;
}

static const char *hub_objection(const struct hub *h, const struct console *place, int fd)
{
	struct ucred peer;

	if (caller_let_in(fd, &h->listener.group, &peer) <= 0)
		return "error this VM belongs to another user\n";
	return place ? NULL : "error too many consoles are attached; leave one of them first\n";
}

static void hub_attach(struct hub *h, int accepted)
{
	CLEANUP(fd) int fd = accepted;
	struct console *c = hub_place(h);
	const char *objection = hub_objection(h, c, fd);

	if (objection) {
		socket_send(fd, objection, strlen(objection), 0);
		return;
	}
	*c = (struct console){ .watch = { .fd = fd, .ready = console_ready, .arg = c },
			       .events = EPOLLIN,
			       .hub = h,
			       .number = h->arrivals++ };
	if (loop_watch(h->loop, &c->watch, c->events)) {
		c->watch.fd = -1;
		return;
	}
	TAKE_FD(fd);
	h->nconsoles++;
}

static void consoles_arrive(void *arg, uint32_t events)
{
	struct hub *h = arg;
	int fd;

	(void)events;
	while ((fd = accept4(h->listen.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		hub_attach(h, fd);
}

static int hub_listen(struct hub *h, const char *run_dir, const char *name, struct err *e)
{
	CLEANUP(free) char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s.sock", run_dir, name) < 0) {
		path = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	r = listener_open(&h->listener, path, 0600, e);
	if (r)
		return r;
	h->listen.fd = h->listener.fd;
	/* EPOLLET: without a descriptor to accept with, one who waits is not reported again. */
	r = loop_watch(h->loop, &h->listen, EPOLLIN | EPOLLET);
	return r ? err_set(e, r, "cannot watch %s: %s", path, strerror(-r)) : 0;
}

int hub_new(struct hub **out, const struct chardev_config *config, const char *run_dir,
	    const char *name, struct loop *loop, const struct chardev_events *events, struct err *e)
{
	struct hub *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_set(e, -ENOMEM, "out of memory");
	h->loop = loop;
	h->events = *events;
	h->listener.fd = -1;
	h->listen = (struct watch){ .fd = -1, .ready = consoles_arrive, .arg = h };
	h->gather = (struct timer){ .expired = hub_gathered, .arg = h };
	for (size_t i = 0; i < ARRAY_SIZE(h->console); i++)
		h->console[i].watch.fd = -1;
	r = chardev_new(&h->host, config, loop, events, e);
	if (!r && run_dir)
		r = hub_listen(h, run_dir, name, e);
	if (r) {
		hub_free(h);
		return r;
	}
	*out = h;
	return 0;
}

void hub_free(struct hub *h)
{
	if (!h)
		return;
	loop_timer_cancel(h->loop, &h->gather);
	hub_deliver(h); /* the guest's last words */
	for (size_t i = 0; i < ARRAY_SIZE(h->console); i++)
		h->console[i].role = WATCHES; /* nobody is to type next */
	for (size_t i = 0; i < ARRAY_SIZE(h->console); i++)
		if (h->console[i].watch.fd >= 0)
			console_drop(&h->console[i]);
	if (h->listener.fd >= 0)
		loop_unwatch(h->loop, &h->listen);
	listener_close(&h->listener);
	chardev_free(h->host);
	free(h);
}

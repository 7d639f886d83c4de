/* SPDX-License-Identifier: Apache-2.0 */
#include "acceptor.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "handover.h"
#include "hello.h"
#include "log.h"
#include "loop.h"
#include "migration_internal.h"
#include "pace.h"
#include "socket_io.h"
#include "thread.h"

enum {
	PENDING_MAX = 32,
	TLS_HANDSHAKE = 22, /* RFC 8446, 5.1: with this each client begins */
	LINES_PER_SECOND = 4,
	REST_MS = 200, /* when this host is short of what a connection takes */
};

/* One that has not said yet what it wants. */
struct pending {
	struct acceptor *acceptor;
	struct arrival arrival; /* its fd is closed when thread is joined and not before */
	uint64_t since_ns; /* 0: nobody */
	pthread_t thread;
	atomic_bool done;
	int result; /* and e: of the thread */
	struct err e;
};

struct acceptor {
	int listen_fd, cancel_fd;
	int done_fd; /* an eventfd: one of pending may be done */
	const struct tls_credentials *tls;
	struct pace pace;
	struct pending pending[PENDING_MAX];
};

static const char *const wrong_kind[] = {
	[false] = "TLS is wanted here, and the other side does not speak it; give it --tls too",
	[true] = "the other side speaks TLS, and here it is not wanted; give both --tls or neither",
};

/* Reads what it still sends: a socket that is closed before takes the sentence with it. */
static int refuse_kind(struct channel *ch, bool speaks_tls, struct err *e)
{
	char rest[4 * KIB];
	struct err unused;
	unsigned n = 0;

	hello_refuse(ch, wrong_kind[speaks_tls]);
	shutdown(ch->fd, SHUT_WR);
	while (n++ < HELLO_BYTES_MAX / sizeof(rest) &&
	       !channel_read(ch, &(struct iovec){ rest, sizeof(rest) }, 1, &unused))
		;
	return err_set(e, -EPROTO, "%s", wrong_kind[speaks_tls]);
}

static int introduce(struct pending *p, struct err *e)
{
	const struct tls_credentials *tls = p->acceptor->tls;
	struct arrival *a = &p->arrival;
	int r = handover_wait(&a->ch, MIGRATION_HELLO_MS);
	uint8_t first;

	if (r < 0)
		return err_set(e, r, "it was called off");
	if (!r || socket_receive(a->ch.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
		return err_set(e, -ENOTCONN, "it says nothing");
	if ((first == TLS_HANDSHAKE) != !!tls)
		return refuse_kind(&a->ch, !tls, e);
	r = tls ? tls_server(&a->ch, tls, a->identity, e) : 0;
	return r ? r : hello_await(&a->ch, &a->hello, e);
}

static void *introduce_main(void *arg)
{
	struct pending *p = arg;

	p->result = introduce(p, &p->e);
	atomic_store(&p->done, true);
	eventfd_write(p->acceptor->done_fd, 1);
	return NULL;
}

/* Joins its thread; 0: it arrived. */
static int collect(struct pending *p, struct arrival *out)
{
	struct acceptor *a = p->acceptor;

	pthread_join(p->thread, NULL);
	p->since_ns = 0;
	if (!p->result) {
		*out = p->arrival;
		out->ch.silence_ms = 0;
		return 0;
	}
	if (p->result != -ECANCELED && pace_allows(&a->pace, LINES_PER_SECOND))
		log_warn("a connection from %s was sent away: %s", p->arrival.address, p->e.text);
	channel_close(&p->arrival.ch);
	return p->result;
}

static void send_away(struct pending *p)
{
	struct arrival late;

	/* Whatever its thread waits for ends with this. */
	shutdown(p->arrival.ch.fd, SHUT_RDWR);
	if (collect(p, &late))
		return;
	json_decref(late.hello);
	channel_close(&late.ch);
}

/* Of those that are there, or of those that are done; NULL: none. */
static struct pending *oldest(struct acceptor *a, bool done)
{
	struct pending *found = NULL;

	for (struct pending *p = a->pending; p < a->pending + PENDING_MAX; p++)
		if (p->since_ns && (!done || atomic_load(&p->done)) &&
		    (!found || p->since_ns < found->since_ns))
			found = p;
	return found;
}

static struct pending *make_room(struct acceptor *a)
{
	struct pending *p = a->pending;

	while (p < a->pending + PENDING_MAX && p->since_ns)
		p++;
	if (p < a->pending + PENDING_MAX)
		return p;
	p = oldest(a, false);
	send_away(p);
	return p;
}

/* The next in the listener's queue, if it is still there.  -ECANCELED; others are of this host. */
static int admit(struct acceptor *a, struct err *e)
{
	struct arrival in = { .ch = { .fd = -1, .cancel_fd = a->cancel_fd, .silence_ms = 1 } };
	int r = tcp_accept(a->listen_fd, &in.ch, in.address, sizeof(in.address), e);
	struct pending *p;

	if (r)
		return r == -ENOTCONN ? 0 : r;
	in.ch.silence_ms = MIGRATION_HELLO_MS;
	p = make_room(a);
	*p = (struct pending){ .acceptor = a, .arrival = in };
	r = thread_new(&p->thread, "_helloN", SANDBOX_MIGRATION, 0, introduce_main, p);
	if (!r) {
		p->since_ns = loop_now_ns();
		return 0;
	}
	channel_close(&p->arrival.ch);
	return err_set(e, r, "cannot start a thread: %s", strerror(-r));
}

/* In milliseconds, until the limit or until the oldest takes too long. */
static int patience(struct acceptor *a, uint64_t limit_ns, uint64_t now_ns)
{
	struct pending *p = oldest(a, false);
	uint64_t end_ns = limit_ns ? limit_ns : UINT64_MAX;

	if (p)
		end_ns = MIN(end_ns, p->since_ns + MIGRATION_HELLO_MS * UINT64_C(1000000));
	if (end_ns == UINT64_MAX)
		return -1;
	return end_ns > now_ns ? (int)((end_ns - now_ns) / 1000000 + 1) : 0;
}

/* What is short, such as open files, comes back: until then whoever connects has to wait. */
static int admit_or_rest(struct acceptor *a, struct err *e)
{
	const struct channel nobody = { .fd = -1, .cancel_fd = a->cancel_fd };
	int r = admit(a, e);

	if (!r || r == -ECANCELED)
		return r;
	if (pace_allows(&a->pace, LINES_PER_SECOND))
		log_warn("a connection has to wait: %s", e->text);
	return handover_wait(&nobody, REST_MS) < 0 ? err_set(e, -ECANCELED, "it was called off")
						   : 0;
}

static int wait_for_any(struct acceptor *a, uint64_t limit_ns, const struct channel *other,
			struct err *e)
{
	struct pollfd p[] = { { .fd = a->listen_fd, .events = POLLIN },
			      { .fd = a->done_fd, .events = POLLIN },
			      { .fd = a->cancel_fd, .events = POLLIN },
			      { .fd = other ? other->fd : -1, .events = POLLIN } };
	const bool buffered = other && channel_has_buffered(other);
	uint64_t now_ns = loop_now_ns(), unused;
	int n = poll(p, ARRAY_SIZE(p), buffered ? 0 : patience(a, limit_ns, now_ns));
	struct pending *late = oldest(a, false);

	if (n < 0 && errno != EINTR)
		return err_set(e, -errno, "cannot wait for a connection: %s", strerror(errno));
	if (n > 0 && p[2].revents)
		return err_set(e, -ECANCELED, "it was called off");
	if (n > 0 && p[1].revents)
		eventfd_read(a->done_fd, &unused);
	if (n > 0 && p[0].revents)
		return admit_or_rest(a, e);
	if (buffered || (n > 0 && p[3].revents))
		return -EAGAIN;
	if (!n && late && loop_now_ns() >= late->since_ns + MIGRATION_HELLO_MS * UINT64_C(1000000))
		send_away(late);
	return 0;
}

int acceptor_next(struct acceptor *a, uint64_t limit_ns, const struct channel *other,
		  struct arrival *out, struct err *e)
{
	struct pending *p;
	int r = 0;

	while (!r) {
		if (limit_ns && loop_now_ns() >= limit_ns)
			return err_set(e, -ENOTCONN, "the source did not connect in time");
		p = oldest(a, true);
		if (!p)
			r = wait_for_any(a, limit_ns, other, e);
		else if (!collect(p, out))
			return 0;
	}
	return r;
}

int acceptor_new(struct acceptor **out, int listen_fd, int cancel_fd,
		 const struct tls_credentials *tls, struct err *e)
{
	struct acceptor *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->listen_fd = listen_fd;
	a->cancel_fd = cancel_fd;
	a->tls = tls;
	a->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->done_fd < 0) {
		free(a);
		return err_set(e, -errno, "no eventfd: %s", strerror(errno));
	}
	*out = a;
	return 0;
}

void acceptor_free(struct acceptor *a)
{
	if (!a)
		return;
	for (struct pending *p = a->pending; p < a->pending + PENDING_MAX; p++)
		if (p->since_ns)
			send_away(p);
	close(a->done_fd);
	free(a);
}

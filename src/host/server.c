/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "server_internal.h"
#include "socket_io.h"

enum {
	READ_BYTES = 4 * KIB,
	PAUSE_NS = 1000000000,
	REFUSED_MAX = 8,
	ARRIVALS = 16, /* that are let in before others have their turn */
};

#define CONTINUE "HTTP/1.1 100 \r\n\r\n"
#define TOO_MANY_FDS                                                                               \
	"There are more than 253 file descriptors in requests of this process, or not all could "  \
	"be received."
#define TOO_MANY_REQUESTS                                                                          \
	"This process has too many requests without an answer; wait until one of them has it."

#define NOT_LET_IN "This is for its owner, root, and the group that was let in, if any."

enum conn_state {
	CONN_READ, /* a request, or waits for one */
	CONN_HANDLED, /* the handler has it */
	CONN_WRITE, /* the answer */
	CONN_DRAIN, /* after the last answer, so that it reaches a client that still sends */
};

static const uint32_t awaited[] = {
	[CONN_READ] = EPOLLIN,
	[CONN_HANDLED] = 0, /* a hangup is told all the same */
	[CONN_WRITE] = EPOLLOUT,
	[CONN_DRAIN] = EPOLLIN,
};

struct conn {
	struct server *server; /* NULL: gone, only the request remains */
	struct list node;
	struct watch watch; /* fd -1: the client is gone */
	struct timer patience;
	enum conn_state state;
	bool refused; /* not let in; of those few are kept, beside the others */
	uint64_t served_ns; /* when it was given an answer, or a place */
	struct http_parser parser;
	struct request request; /* its fds also before the rest of it is there */
	char *out;
	size_t out_len, out_at;
	size_t in_len, in_at;
	char in[READ_BYTES];
};

struct server {
	struct loop *loop;
	struct listener listener;
	struct watch watch; /* of the listener; active: not full */
	struct timer pause;
	struct server_handler handler;
	struct server_limits limits;
	struct list conns; /* by served_ns */
	unsigned nconns;
	struct list refused; /* until they have heard it, oldest first */
	unsigned nrefused;
	struct caller_refusals refusals;
};

const struct server_limits server_limits = {
	.connections = 64,
	.unanswered = 32,
	.request_ns = 30 * UINT64_C(1000000000),
	.idle_ns = 5 * UINT64_C(1000000000),
};

static void listen_again(struct server *s)
{
	if (!s->watch.active && loop_watch(s->loop, &s->watch, EPOLLIN))
		loop_timer_set(s->loop, &s->pause, loop_now_ns() + PAUSE_NS);
}

/* Connections */

static bool same_process(const struct conn *a, const struct conn *b)
{
	return a->request.peer.pid == b->request.peer.pid;
}

static void conn_hang_up(struct conn *c)
{
	if (c->watch.fd < 0)
		return;
	loop_timer_cancel(c->server->loop, &c->patience);
	loop_unwatch(c->server->loop, &c->watch);
	close(c->watch.fd);
	c->watch.fd = -1;
}

static void conn_free(struct conn *c)
{
	if (c->server) {
		conn_hang_up(c);
		list_remove(&c->node);
		if (c->refused)
			c->server->nrefused--;
		else
			c->server->nconns--;
		listen_again(c->server);
	}
	request_close_fds(&c->request);
	http_reset(&c->parser);
	free(c->out);
	free(c);
}

static void conn_enter(struct conn *c, enum conn_state state)
{
	/* Bytes behind the last request give no event of their own: ask for one that comes. */
	bool more = state == CONN_READ && c->in_at < c->in_len;

	c->state = state;
	loop_watch_change(c->server->loop, &c->watch, awaited[state] | (more ? EPOLLOUT : 0));
}

static void conn_served(struct conn *c)
{
	if (c->node.next)
		list_remove(&c->node);
	list_append(&c->server->conns, &c->node);
	c->served_ns = loop_now_ns();
}

static void conn_limit(struct conn *c)
{
	loop_timer_set(c->server->loop, &c->patience, loop_now_ns() + c->server->limits.request_ns);
}

static void conn_idle(struct conn *c)
{
	http_reset(&c->parser);
	if (c->in_at == c->in_len)
		loop_timer_cancel(c->server->loop, &c->patience);
	conn_enter(c, CONN_READ);
}

/* Answers */

static void conn_write(struct conn *c)
{
	ssize_t n = socket_send(c->watch.fd, c->out + c->out_at, c->out_len - c->out_at,
				MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return conn_free(c);
	if (n > 0) {
		c->out_at += (size_t)n;
		conn_limit(c);
	}
	if (c->out_at < c->out_len)
		return;
	free(TAKE(c->out));
	if (!c->parser.close)
		return conn_idle(c);
	shutdown(c->watch.fd, SHUT_WR);
	conn_enter(c, CONN_DRAIN);
}

static void conn_answer(struct conn *c, int status, const char *type, const void *body, size_t len)
{
	struct http_answer answer = {
		.status = status, .type = type, .len = len, .close = c->parser.close
	};

	request_close_fds(&c->request);
	c->out = malloc(HTTP_ANSWER_HEAD_MAX + len);
	if (!c->out)
		return conn_free(c);
	c->out_len = http_answer_head(c->out, &answer);
	c->out_at = 0;
	/* In one piece: clients expect the whole head in the first they read. */
	if (len)
		memcpy(c->out + c->out_len, body, len);
	c->out_len += len;
	conn_limit(c);
	conn_enter(c, CONN_WRITE);
	conn_write(c);
}

static void conn_fail(struct conn *c, int status, const char *reason)
{
	const struct server_handler *h = &c->server->handler;
	char body[256];
	int len = snprintf(body, sizeof(body), "[\"%s\"]\n", reason);

	if (h->refused)
		h->refused(h->arg, &c->request, status, reason);
	assert(len > 0 && (size_t)len < sizeof(body));
	conn_answer(c, status, "application/json", body, (size_t)len);
}

/* What is not HTTP as we speak it leaves nobody sure where the next request begins. */
static void conn_refuse(struct conn *c, int status, const char *reason)
{
	c->parser.close = true;
	c->request.path = NULL;
	conn_fail(c, status, reason);
}

void request_answer(struct request *r, int status, const char *type, const void *body, size_t len)
{
	struct conn *c = container_of(r, struct conn, request);

	assert(c->state == CONN_HANDLED);
	assert(status != 204 || !len);
	if (c->watch.fd < 0)
		return conn_free(c);
	conn_served(c);
	conn_answer(c, status, type, body, len);
}

/* Requests */

static unsigned fds_of_process(const struct conn *of)
{
	const struct conn *c;
	unsigned n = 0;

	list_for_each (c, &of->server->conns, node)
		if (same_process(c, of))
			n += c->request.nfds;
	return n;
}

/* Returns as recv() does; *new_fds is how many came, -1: not all could be kept. */
static ssize_t conn_receive(struct conn *c, int *new_fds)
{
	ssize_t n = request_receive(&c->request, c->watch.fd, c->in, sizeof(c->in), new_fds);

	if (n < 0)
		return n;
	c->in_at = 0;
	c->in_len = (size_t)n;
	if (*new_fds > 0 && fds_of_process(c) > REQUEST_FDS_MAX)
		*new_fds = -1;
	return n;
}

/* Also those whose clients are gone. */
static unsigned unanswered_of_process(const struct conn *of)
{
	const struct conn *c;
	unsigned n = 0;

	list_for_each (c, &of->server->conns, node)
		n += same_process(c, of) && c->state == CONN_HANDLED;
	return n;
}

static void conn_handle(struct conn *c)
{
	struct request *r = &c->request;

	r->method = c->parser.method;
	r->path = c->parser.path;
	r->query = c->parser.query;
	r->accept = c->parser.accept;
	r->body = c->parser.body;
	r->body_len = c->parser.body_len;
	if (unanswered_of_process(c) >= c->server->limits.unanswered)
		return conn_fail(c, 429, TOO_MANY_REQUESTS);
	loop_timer_cancel(c->server->loop, &c->patience);
	conn_enter(c, CONN_HANDLED);
	c->server->handler.handle(c->server->handler.arg, r);
}

static void conn_parse(struct conn *c, int new_fds)
{
	struct http_parser *p = &c->parser;
	bool begun = http_begun(p);

	c->in_at += http_parse(p, c->in + c->in_at, c->in_len - c->in_at);
	if (new_fds < 0)
		return conn_refuse(c, 400, TOO_MANY_FDS);
	if (p->state == HTTP_FAILED)
		return conn_refuse(c, p->status, p->reason);
	if (new_fds && c->in_at < c->in_len)
		return conn_refuse(c, 400,
				   "It is not clear to which of two requests the file "
				   "descriptors belong; send one at a time.");
	if (p->state == HTTP_DONE)
		return conn_handle(c);
	if (!begun)
		conn_limit(c);
	/* A client that does not get it, because its socket is full, sends after a while. */
	if (p->expects_continue && p->state > HTTP_HEADER) {
		p->expects_continue = false;
		socket_send(c->watch.fd, CONTINUE, strlen(CONTINUE), MSG_DONTWAIT);
	}
	conn_enter(c, CONN_READ);
}

static void conn_read(struct conn *c)
{
	int new_fds = 0;
	ssize_t n = 1;

	if (c->in_at == c->in_len)
		n = conn_receive(c, &new_fds);
	if (n > 0)
		conn_parse(c, new_fds);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		conn_free(c);
}

static void conn_drain(struct conn *c)
{
	int new_fds;
	ssize_t n = conn_receive(c, &new_fds);

	request_close_fds(&c->request);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_free(c);
}

static void conn_gone(struct conn *c)
{
	const struct server_handler *h = &c->server->handler;

	conn_hang_up(c);
	if (h->gone)
		h->gone(h->arg, &c->request);
}

static void conn_ready(void *arg, uint32_t events)
{
	static void (*const act[])(struct conn *) = {
		[CONN_READ] = conn_read,
		[CONN_HANDLED] = conn_gone,
		[CONN_WRITE] = conn_write,
		[CONN_DRAIN] = conn_drain,
	};
	struct conn *c = arg;

	(void)events;
	act[c->state](c);
}

static void conn_too_slow(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_READ)
		conn_refuse(c, 408, "The request did not come to its end in time.");
	else
		conn_free(c);
}

/* Clients */

/* Once it has been looked at it has nobody's place. */
static void conn_turn_away(struct conn *c)
{
	struct server *s = c->server;

	if (s->nrefused == REFUSED_MAX)
		conn_free(list_item(s->refused.next, struct conn, node));
	c->refused = true;
	list_append(&s->refused, &c->node);
	s->nrefused++;
	caller_refused(&s->refusals, &c->request.peer);
	conn_refuse(c, 403, NOT_LET_IN);
}

static int conn_new(struct server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r, let_in;

	if (!c)
		return -ENOMEM;
	c->watch = (struct watch){ .fd = fd, .ready = conn_ready, .arg = c };
	r = let_in = caller_let_in(fd, &s->listener.group, &c->request.peer);
	if (r >= 0)
		r = loop_watch(s->loop, &c->watch, EPOLLIN);
	if (r) {
		free(c);
		return r;
	}
	c->server = s;
	c->patience = (struct timer){ .expired = conn_too_slow, .arg = c };
	http_start(&c->parser);
	if (!let_in) {
		conn_turn_away(c);
		return 0;
	}
	conn_served(c);
	s->nconns++;
	return 0;
}

static unsigned connections_of_process(const struct conn *of)
{
	const struct conn *c;
	unsigned n = 0;

	list_for_each (c, &of->server->conns, node)
		n += same_process(c, of);
	return n;
}

static bool asks(const struct conn *c)
{
	char byte;

	return c->state == CONN_READ && !http_begun(&c->parser) &&
	       (c->in_at < c->in_len ||
		socket_receive(c->watch.fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0);
}

/* What a client does with its one connection is its own affair for a while. */
static bool may_stay(const struct conn *c, unsigned connections)
{
	return c->state == CONN_HANDLED ||
	       (connections == 1 &&
		(loop_now_ns() - c->served_ns < c->server->limits.idle_ns || asks(c)));
}

/*
 * A newcomer takes the place of a connection of the process that has most: that which was last
 * served before its others.  So whoever takes all places, and keeps them in whatever way, does it
 * to itself.
 */
static bool make_room(struct server *s)
{
	struct conn *c, *leaves = NULL;
	unsigned most = 0;

	if (s->nconns < s->limits.connections)
		return true;
	list_for_each (c, &s->conns, node) {
		unsigned n = connections_of_process(c);

		if (n > most && !may_stay(c, n)) {
			leaves = c;
			most = n;
		}
	}
	if (leaves)
		conn_free(leaves);
	return leaves;
}

static void listen_later(struct server *s)
{
	loop_unwatch(s->loop, &s->watch);
	loop_timer_set(s->loop, &s->pause, loop_now_ns() + PAUSE_NS);
}

/* Who comes and goes again at once costs little, so that nobody waits long behind such ones. */
static bool has_left(int fd)
{
	char byte;

	return !socket_receive(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
}

/* False: nobody else can be let in now. */
static bool let_in(struct server *s)
{
	int fd, r;

	if (!make_room(s)) {
		listen_later(s);
		return false;
	}
	fd = accept4(s->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return false;
	r = fd < 0 ? -errno : 0;
	if (!r && has_left(fd)) {
		close(fd);
		return true;
	}
	if (!r)
		r = conn_new(s, fd);
	if (!r)
		return true;
	if (fd >= 0)
		close(fd);
	log_warn("cannot serve a client of the API: %s", strerror(-r));
	listen_later(s);
	return false;
}

/* One that takes another's place gives that its turn first: it may have asked for something. */
static void client_arrives(void *arg, uint32_t events)
{
	const struct server *s = arg;
	unsigned n = 0;

	(void)events;
	while (let_in(arg) && ++n < ARRIVALS && s->nconns < s->limits.connections)
		;
}

static void pause_over(void *arg)
{
	listen_again(arg);
}

int server_new(struct server **out, struct loop *loop, const struct listener *listener,
	       const struct server_handler *handler, const struct server_limits *limits,
	       struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->loop = loop;
	s->handler = *handler;
	s->limits = *limits;
	list_init(&s->conns);
	list_init(&s->refused);
	s->watch = (struct watch){ .fd = listener->fd, .ready = client_arrives, .arg = s };
	s->pause = (struct timer){ .expired = pause_over, .arg = s };
	r = loop_watch(loop, &s->watch, EPOLLIN);
	if (r) {
		free(s);
		return err_set(e, r, "cannot watch the socket of the API: %s", strerror(-r));
	}
	s->listener = *listener;
	*out = s;
	return 0;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	while (!list_empty(&s->refused))
		conn_free(list_item(s->refused.next, struct conn, node));
	while (!list_empty(&s->conns)) {
		struct conn *c = list_item(s->conns.next, struct conn, node);

		if (c->state != CONN_HANDLED) {
			conn_free(c);
			continue;
		}
		conn_hang_up(c);
		list_remove(&c->node);
		c->server = NULL;
	}
	loop_timer_cancel(s->loop, &s->pause);
	loop_unwatch(s->loop, &s->watch);
	listener_close(&s->listener);
	free(s);
}

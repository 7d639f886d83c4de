/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the whole server, and what stands behind it: paths, JSON bodies, configurations.  The
 * first byte says in which pieces the others are sent; above 127 files come with them.  A request
 * with a query is answered late.  Whatever comes, no file is left open.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECE_MAX = 64, FILES = 2 };

struct client {
	struct loop *loop;
	struct server *server;
	struct work step;
	int fd, file;
	const uint8_t *data;
	size_t left;
	uint32_t random;
	struct request *late;
};

static void answer(struct request *q)
{
	request_answer(q, q->body_len ? 200 : 204, "text/plain", q->body, q->body_len);
}

/* What vm.create, or a device for a VM that there is, makes of it. */
static void configure(const char *name, const json_t *body)
{
	json_auto_t *least = json_pack("{s:{s:s}}", "payload", "kernel", "k");
	bool is_disk = !strcmp(name, "vm.add-disk"), is_net = !strcmp(name, "vm.add-net");
	struct config config;
	const json_t *added;
	struct err e;

	if (config_load(&config, is_disk || is_net ? least : body, &e))
		return;
	if (is_disk || is_net)
		config_add(&config, is_disk ? "disks" : "net", body, NULL, 0, &added, &e);
	config_free(&config);
}

static void handle(void *arg, struct request *q)
{
	const struct route *route = route_find(q->path);
	struct client *c = arg;

	if (route && route->body == BODY_NEEDED && q->body_len) {
		json_auto_t *body = json_loadb(q->body, q->body_len, 0, NULL);

		if (json_is_object(body))
			configure(route->name, body);
	}
	if (*q->query && !c->late)
		c->late = q;
	else
		answer(q);
}

static void send_piece(struct client *c)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FILES * sizeof(int))];
	} control = { .align = { .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS,
				 .cmsg_len = CMSG_LEN(FILES * sizeof(int)) } };
	struct iovec iov = { .iov_base = (void *)c->data,
			     .iov_len = MIN(1 + c->random % PIECE_MAX, c->left) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (c->random & 128) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		memcpy(CMSG_DATA(&control.align), (int[]){ c->file, c->file }, FILES * sizeof(int));
	}
	n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		n = (ssize_t)c->left; /* it has hung up */
	c->data += n;
	c->left -= (size_t)n;
	c->random = c->random * 1664525 + 1013904223;
	c->random ^= c->random >> 16;
}

/* Once for each turn of the loop, until the server has ended the connection. */
static void step(void *arg)
{
	struct client *c = arg;
	char bytes[4096];
	ssize_t n;

	if (c->late && c->random & 1)
		answer(TAKE(c->late));
	if (c->left)
		send_piece(c);
	else
		c->random++;
	if (!c->left)
		shutdown(c->fd, SHUT_WR);
	while ((n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	if (n == 0 && !c->left && !c->late)
		loop_quit(c->loop);
	else
		loop_post(c->loop, &c->step);
}

static void serve(struct client *c)
{
	const struct server_handler handler = { .handle = handle, .arg = c };
	struct listener listener = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0) };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	struct err e;

	/* A name of the kernel's choice */
	if (bind(listener.fd, (struct sockaddr *)&a, sizeof(a.sun_family)) ||
	    listen(listener.fd, 1) || getsockname(listener.fd, (struct sockaddr *)&a, &len) ||
	    connect(c->fd, (struct sockaddr *)&a, len) || loop_new(&c->loop, &e) ||
	    server_new(&c->server, c->loop, &listener, &handler, &server_limits, &e))
		abort();
	loop_post(c->loop, &c->step);
	loop_run(c->loop);
	server_free(c->server);
	loop_free(c->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client c;
	int ends[2];
	char byte;

	if (!size || pipe2(ends, O_NONBLOCK))
		return 0;
	c = (struct client){ .fd = socket(AF_UNIX, SOCK_STREAM, 0),
			     .file = ends[1],
			     .step = { .run = step, .arg = &c },
			     .data = data + 1,
			     .left = size - 1,
			     .random = *data };
	serve(&c);
	close(c.fd);
	close(ends[1]);
	/* The end of the pipe: nobody else has it open. */
	if (read(ends[0], &byte, 1))
		abort();
	close(ends[0]);
	return 0;
}

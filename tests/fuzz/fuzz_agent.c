/* SPDX-License-Identifier: Apache-2.0 */
/* A client of an agent's API: what it sends, HTTP and JSON and all, down to what answers it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../unit/agent_rig.h"
#include "routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATIENCE = 20 }; /* turns of the loop that it waits for more of an answer */

struct client {
	struct agent *agent;
	struct work step;
	int fd;
	const uint8_t *data;
	size_t left;
	unsigned idle;
};

/* Once for each turn of the loop, until the server has ended the connection or says no more. */
static void step(void *arg)
{
	struct client *c = arg;
	char bytes[4096];
	ssize_t n = c->left ? send(c->fd, c->data, c->left, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (n > 0) {
		c->data += n;
		c->left -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN) {
		c->left = 0; /* it has hung up */
	}
	for (c->idle++; (n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;)
		c->idle = 0;
	if (!n || (!c->left && c->idle == PATIENCE))
		loop_quit(c->agent->loop);
	else
		loop_post(c->agent->loop, &c->step);
}

static void serve(struct client *c)
{
	const struct server_handler handler = { .handle = routes_handle,
						.gone = routes_gone,
						.arg = c->agent };
	struct listener listener = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0) };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	struct server *server;
	struct err e;

	/* A name of the kernel's choice */
	if (bind(listener.fd, (struct sockaddr *)&a, sizeof(a.sun_family)) ||
	    listen(listener.fd, 1) || getsockname(listener.fd, (struct sockaddr *)&a, &len) ||
	    connect(c->fd, (struct sockaddr *)&a, len) ||
	    server_new(&server, c->agent->loop, &listener, &handler, &server_limits, &e))
		abort();
	routes_begin(c->agent);
	loop_post(c->agent->loop, &c->step);
	loop_run(c->agent->loop);
	routes_end(c->agent);
	server_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_rig rig;
	struct client c = { .agent = &rig.agent,
			    .step = { .run = step, .arg = &c },
			    .fd = socket(AF_UNIX, SOCK_STREAM, 0),
			    .data = data,
			    .left = size };

	agent_rig_new(&rig);
	serve(&c);
	close(c.fd);
	agent_rig_free(&rig);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "notify.h"
#include "socket_io.h"

enum { AFTER_STOP_S = 35 }; /* for devices that do not stop, and their sentence */

/* What is true after an event. */
static const struct sentence {
	const char *source, *event, *text;
} sentences[] = {
	{ "vm", "booted", "STATUS=The guest boots." },
	{ "virtio-device", "activated", "READY=1\nSTATUS=The guest runs." },
	{ "vm", "paused", "STATUS=The guest is paused." },
	{ "vm", "resumed", "STATUS=The guest goes on." },
	{ "vm", "rebooted", "STATUS=The guest boots again." },
	{ "vm", "restored", "READY=1\nSTATUS=The guest is restored." },
	{ "vm", "migration-receive-ready", "READY=1\nSTATUS=Waiting for a VM from another host." },
	{ "vm", "migration-receive-finished", "STATUS=The VM has come from another host." },
	{ "vm", "migration-started", "STATUS=The VM moves to another host." },
	{ "vm", "migration-failed", "STATUS=The VM did not move." },
	{ "guest", "panic", "STATUS=The guest's kernel panicked." },
	{ "vm", "shutdown", "STATUS=The VM is off." },
};

struct notify {
	struct loop *loop;
	struct events *events;
	struct events_listener listener;
	struct watch room; /* watched while the socket is full */
	uint64_t seq;
	const struct sentence *last; /* a guest that starts its driver anew tells nobody */
	bool stopping; /* events change nothing any more */
	char text[sizeof(((struct err *)NULL)->text) + 64]; /* not sent yet; "": nothing */
};

static const struct sentence *find_sentence(const char *line)
{
	json_auto_t *event = json_loads(line, 0, NULL);
	const char *source = json_string_value(json_object_get(event, "source"));
	const char *name = json_string_value(json_object_get(event, "event"));

	for (size_t i = 0; source && name && i < ARRAY_SIZE(sentences); i++)
		if (!strcmp(sentences[i].source, source) && !strcmp(sentences[i].event, name))
			return &sentences[i];
	return NULL;
}

static bool take_event(struct notify *n)
{
	char line[EVENT_BYTES_MAX];

	while (!n->stopping && events_next(n->events, &n->seq, line)) {
		const struct sentence *s = find_sentence(line);

		if (!s || s == n->last)
			continue;
		n->last = s;
		snprintf(n->text, sizeof(n->text), "%s", s->text);
		return true;
	}
	return false;
}

/* What cannot be sent for another reason than a full socket has no reader. */
static void send_on(struct notify *n)
{
	while (n->text[0] || take_event(n)) {
		if (socket_send(n->room.fd, n->text, strlen(n->text), MSG_DONTWAIT) < 0 &&
		    errno == EAGAIN && (n->room.active || !loop_watch(n->loop, &n->room, EPOLLOUT)))
			return;
		n->text[0] = '\0';
	}
	if (n->room.active)
		loop_unwatch(n->loop, &n->room);
}

static void on_added(void *arg)
{
	send_on(arg);
}

static void on_room(void *arg, uint32_t events)
{
	(void)events;
	send_on(arg);
}

/* A path, or the name of an abstract socket behind an '@'; unix(7) */
static int connect_to(const char *name, struct err *e)
{
	CLEANUP(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	if (len >= sizeof(a.sun_path) || (*name != '/' && *name != '@'))
		return err_set(e, -EINVAL, "NOTIFY_SOCKET is no path of a socket and no @name");
	memcpy(a.sun_path, name, len);
	if (*name == '@')
		a.sun_path[0] = '\0';
	if (fd < 0 || connect(fd, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)))
		return err_set(e, -errno,
			       "the socket that NOTIFY_SOCKET names, %s, is not to be "
			       "reached: %s",
			       name, strerror(errno));
	return TAKE_FD(fd);
}

int notify_new(struct notify **out, struct loop *loop, struct events *events, struct err *e)
{
	const char *name = getenv("NOTIFY_SOCKET");
	CLEANUP(fd) int fd = -1;
	struct notify *n;

	if (!name || !*name)
		return 0;
	fd = connect_to(name, e);
	unsetenv("NOTIFY_SOCKET");
	if (fd < 0)
		return fd;
	n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(e, -ENOMEM, "out of memory");
	n->loop = loop;
	n->events = events;
	n->room = (struct watch){ .fd = TAKE_FD(fd), .ready = on_room, .arg = n };
	n->listener = (struct events_listener){ .loop = loop,
						.added = { .run = on_added, .arg = n } };
	events_listen(events, &n->listener);
	*out = n;
	return 0;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	events_unlisten(n->events, &n->listener);
	if (n->room.active)
		loop_unwatch(n->loop, &n->room);
	close(n->room.fd);
	free(n);
}

void notify_listening(struct notify *n)
{
	if (!n)
		return;
	snprintf(n->text, sizeof(n->text), "READY=1\nSTATUS=Waiting for vm.create.");
	send_on(n);
}

void notify_stopping(struct notify *n, uint64_t timeout_s)
{
	if (!n)
		return;
	n->stopping = true;
	snprintf(n->text, sizeof(n->text),
		 "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\nSTATUS=The guest is asked to power off.",
		 (unsigned long long)(timeout_s + AFTER_STOP_S) * 1000000);
	send_on(n);
}

void notify_over(struct notify *n, const char *why)
{
	if (!n)
		return;
	n->stopping = true;
	snprintf(n->text, sizeof(n->text), "STOPPING=1\nSTATUS=%s",
		 why ? why : "The VM has ended.");
	send_on(n);
}

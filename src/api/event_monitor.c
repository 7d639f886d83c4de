/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event_monitor.h"
#include "file.h"
#include "log.h"

struct event_monitor {
	struct loop *loop;
	struct events *events;
	struct events_listener listener;
	struct watch room; /* watched while it is full */
	uint64_t seq;
	size_t at, len; /* of line, what is not written yet */
	char line[EVENT_BYTES_MAX];
};

static void give_up(struct event_monitor *m, int error)
{
	log_warn("the event monitor is not written to any more: %s", strerror(error));
	if (m->room.active)
		loop_unwatch(m->loop, &m->room);
	close(m->room.fd);
	m->room.fd = -1;
}

static void write_on(struct event_monitor *m)
{
	ssize_t n;

	while (m->room.fd >= 0) {
		if (m->at == m->len) {
			m->at = 0;
			m->len = events_next(m->events, &m->seq, m->line);
		}
		if (!m->len)
			break;
		n = write(m->room.fd, m->line + m->at, m->len - m->at);
		if (n < 0 && errno == EAGAIN) {
			if (!m->room.active && loop_watch(m->loop, &m->room, EPOLLOUT))
				give_up(m, EAGAIN);
			return;
		}
		if (n < 0 && errno != EINTR)
			give_up(m, errno);
		if (n > 0)
			m->at += (size_t)n;
	}
	if (m->room.active)
		loop_unwatch(m->loop, &m->room);
}

static void on_added(void *arg)
{
	struct event_monitor *m = arg;

	if (!m->room.active)
		write_on(m);
}

static void on_room(void *arg, uint32_t events)
{
	(void)events;
	write_on(arg);
}

/* As its reader a FIFO can be opened before it has another one, and does not end with that. */
static int open_path(const char *path, int *fd, struct err *e)
{
	struct stat st;
	bool is_fifo = !file_stat(path, &st) && S_ISFIFO(st.st_mode);
	int flags = is_fifo ? O_RDWR : O_WRONLY | O_CREAT | O_APPEND;

	*fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0600);
	if (*fd < 0)
		return err_set(e, -errno, "%s cannot be opened for events: %s", path,
			       strerror(errno));
	return 0;
}

static int adopt(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(e, -errno, "fd %d cannot be written events to: %s", fd,
			       strerror(errno));
	return 0;
}

int event_monitor_new(struct event_monitor **out, struct loop *loop, struct events *events,
		      const char *path, int fd, struct err *e)
{
	struct event_monitor *m;
	int r = path ? open_path(path, &fd, e) : adopt(fd, e);

	if (r)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m) {
		if (path)
			close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	m->loop = loop;
	m->events = events;
	m->room = (struct watch){ .fd = fd, .ready = on_room, .arg = m };
	m->listener = (struct events_listener){ .loop = loop,
						.added = { .run = on_added, .arg = m } };
	events_listen(events, &m->listener);
	loop_post(loop, &m->listener.added); /* for what has been */
	*out = m;
	return 0;
}

void event_monitor_free(struct event_monitor *m)
{
	if (!m)
		return;
	events_unlisten(m->events, &m->listener);
	write_on(m);
	if (m->room.active)
		loop_unwatch(m->loop, &m->room);
	if (m->room.fd >= 0)
		close(m->room.fd);
	free(m);
}

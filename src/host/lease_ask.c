/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "lease.h"
#include "loop.h"
#include "socket_io.h"

int lease_address(const char *url, struct sockaddr_un *a, struct err *e)
{
	static const char scheme[] = "unix:";
	const char *path = url + sizeof(scheme) - 1;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strncmp(url, scheme, sizeof(scheme) - 1) || !*path)
		return err_set(e, -EINVAL, "lease: \"%.128s\" is no lease server; write unix:PATH",
			       url);
	if (strlen(path) >= sizeof(a->sun_path))
		return err_set(e, -EINVAL,
			       "lease: the path of a socket has at most %zu bytes, not the %zu of "
			       "\"%.128s\"",
			       sizeof(a->sun_path) - 1, strlen(path), path);
	strcpy(a->sun_path, path);
	return 0;
}

/* 0: it may go on; the server has so long for all of it. */
static int wait_for(int fd, short events, uint64_t limit_ns)
{
	uint64_t now = loop_now_ns();
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	if (now >= limit_ns)
		return -ETIMEDOUT;
	r = poll(&p, 1, (int)((limit_ns - now) / 1000000) + 1);
	if (r < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static int send_all(int fd, const char *line, uint64_t limit_ns)
{
	size_t left = strlen(line);
	int r = 0;

	while (!r && left) {
		ssize_t n = socket_send(fd, line, left, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0)
			r = wait_for(fd, POLLOUT, limit_ns);
		line += MAX(n, 0);
		left -= (size_t)MAX(n, 0);
	}
	return r;
}

/* One whole line and nothing behind it. */
static int receive_line(int fd, char answer[LEASE_LINE_MAX], uint64_t limit_ns)
{
	size_t len = 0;
	int r = 0;

	while (!r) {
		ssize_t n = socket_receive(fd, answer + len, LEASE_LINE_MAX - len, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0) {
			r = wait_for(fd, POLLIN, limit_ns);
			continue;
		}
		len += (size_t)n;
		if (len && memchr(answer, '\n', len) == answer + len - 1) {
			answer[len - 1] = '\0';
			return strlen(answer) == len - 1 ? 0 : -EBADMSG;
		}
		if (!n || len == LEASE_LINE_MAX || memchr(answer, '\n', len))
			return -EBADMSG;
	}
	return r;
}

int lease_ask(const struct sockaddr_un *a, const char *line, char answer[LEASE_LINE_MAX],
	      struct err *e)
{
	CLEANUP(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	uint64_t limit_ns = loop_now_ns() + LEASE_TIMEOUT_MS * UINT64_C(1000000);
	int r = 0;

	/* A server with more clients waiting than it takes is one that does not answer. */
	if (fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof(*a)))
		r = -errno;
	if (!r)
		r = send_all(fd, line, limit_ns);
	if (!r)
		r = receive_line(fd, answer, limit_ns);
	if (r == -EBADMSG)
		return err_set(e, r, "the lease server at %s gives no answer that makes sense",
			       a->sun_path);
	return r ? err_set(e, r, "the lease server at %s does not answer: %s", a->sun_path,
			   strerror(-r))
		 : 0;
}

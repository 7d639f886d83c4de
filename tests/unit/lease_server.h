/* SPDX-License-Identifier: Apache-2.0 */
/* A lease server that says what a test has written down for it, one answer for each question. */
#ifndef LEASE_SERVER_H
#define LEASE_SERVER_H

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LEASE_ANSWERS = 16 };

struct lease_server {
	int fd;
	char path[108], url[128];
	const char
		*answer[LEASE_ANSWERS]; /* as it is sent; NULL: nothing, until the asker leaves */
	unsigned nanswers;
	char asked[LEASE_ANSWERS][256];
	unsigned nasked;
	pthread_t thread;
};

/* Ends with the answers. */
static inline void *lease_serve(void *arg)
{
	struct lease_server *s = arg;

	for (; s->nasked < s->nanswers; s->nasked++) {
		const char *answer = s->answer[s->nasked];
		char *line = s->asked[s->nasked];
		int fd = accept(s->fd, NULL, NULL);
		size_t len = 0;
		ssize_t n;

		while (len < sizeof(s->asked[0]) - 1 && !memchr(line, '\n', len) &&
		       (n = recv(fd, line + len, sizeof(s->asked[0]) - 1 - len, 0)) > 0)
			len += (size_t)n;
		if (answer)
			send(fd, answer, strlen(answer), MSG_NOSIGNAL);
		else
			recv(fd, &(char){ 0 }, 1, 0);
		close(fd);
	}
	return NULL;
}

static inline void lease_server_start(struct lease_server *s, const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(s->path, sizeof(s->path), "%s/lease-server", dir);
	snprintf(s->url, sizeof(s->url), "unix:%s", s->path);
	strcpy(a.sun_path, s->path);
	unlink(s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(s->fd, 8), 0);
	s->nasked = 0;
	memset(s->asked, 0, sizeof(s->asked));
	ck_assert_int_eq(pthread_create(&s->thread, NULL, lease_serve, s), 0);
}

/* All that was to be asked has been. */
static inline void lease_server_end(struct lease_server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->path);
}

#endif

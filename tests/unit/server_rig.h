/* SPDX-License-Identifier: Apache-2.0 */
/* A server on a loop of its own thread, and clients that wait for what it does. */
#ifndef SERVER_RIG_H
#define SERVER_RIG_H

#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check_main.h"
#include "server.h"

struct rig {
	struct loop *loop;
	struct server *server;
	pthread_t thread;
	char dir[32], path[64];
	struct request *late; /* until it is answered */
	sem_t late_came, late_gone, ran;
	void (*run)(struct rig *);
	unsigned nrefused[600]; /* by status, of those not even read; behind rig_stop() */
};

static void rig_handle(void *arg, struct request *q)
{
	struct rig *r = arg;
	char text[64];
	int len = 0;

	if (!strcmp(q->path, "/late")) {
		r->late = q;
		sem_post(&r->late_came);
		return;
	}
	if (!strcmp(q->path, "/echo"))
		return request_answer(q, q->body ? 200 : 204, "text/plain", q->body, q->body_len);
	if (!strcmp(q->path, "/fds"))
		len = sprintf(text, "%u", q->nfds);
	if (!strcmp(q->path, "/peer"))
		len = sprintf(text, "%d", q->peer.pid);
	if (!strcmp(q->path, "/take")) {
		ck_assert_int_eq(write(q->fds[0], "taken", 5), 5);
		close(q->fds[0]);
		q->fds[0] = -1;
	}
	request_answer(q, 200, "text/plain", text, (size_t)len);
}

static void rig_gone(void *arg, struct request *q)
{
	struct rig *r = arg;

	ck_assert_ptr_eq(r->late, q);
	sem_post(&r->late_gone);
}

static void rig_refused(void *arg, const struct request *q, int status, const char *why)
{
	struct rig *r = arg;

	ck_assert_ptr_nonnull(why);
	if (!q->path)
		r->nrefused[status]++;
	else
		ck_assert_int_eq(status, 429);
}

static void *rig_thread(void *arg)
{
	loop_run(((struct rig *)arg)->loop);
	return NULL;
}

static void rig_run_it(void *arg)
{
	struct rig *r = arg;

	r->run(r);
	sem_post(&r->ran);
}

static inline void rig_run(struct rig *r, void (*run)(struct rig *))
{
	struct work w = { .run = rig_run_it, .arg = r };

	r->run = run;
	loop_post(r->loop, &w);
	sem_wait(&r->ran);
}

static inline void rig_answer(struct rig *r)
{
	request_answer(r->late, 200, "text/plain", "late", 4);
	r->late = NULL;
}

static void rig_free_server(struct rig *r)
{
	server_free(r->server);
	r->server = NULL;
}

static void rig_start_for(struct rig *r, const struct server_limits *limits,
			  const struct caller_group *group)
{
	struct server_handler h = {
		.handle = rig_handle, .gone = rig_gone, .refused = rig_refused, .arg = r
	};
	struct listener l;
	struct err e;

	memset(r, 0, sizeof(*r));
	sem_init(&r->late_came, 0, 0);
	sem_init(&r->late_gone, 0, 0);
	sem_init(&r->ran, 0, 0);
	strcpy(r->dir, "/tmp/test-server-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->dir));
	sprintf(r->path, "%s/api.sock", r->dir);
	ck_assert_int_eq(loop_new(&r->loop, &e), 0);
	ck_assert_int_eq(listener_open(&l, r->path, 0600, &e), 0);
	ck_assert_int_eq(listener_let_in(&l, group, &e), 0);
	ck_assert_int_eq(server_new(&r->server, r->loop, &l, &h, limits, &e), 0);
	ck_assert_int_eq(pthread_create(&r->thread, NULL, rig_thread, r), 0);
}

static inline void rig_start(struct rig *r, const struct server_limits *limits)
{
	rig_start_for(r, limits, &(struct caller_group){ 0 });
}

static void rig_stop(struct rig *r)
{
	rig_run(r, rig_free_server);
	ck_assert_int_lt(access(r->path, F_OK), 0);
	loop_quit(r->loop);
	pthread_join(r->thread, NULL);
	loop_free(r->loop);
	ck_assert_int_eq(rmdir(r->dir), 0);
}

/* Clients */

static int dial(const struct rig *r)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, r->path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* As n clients of another process, which ends. */
static inline void dial_as_another(const struct rig *r, int *fds, unsigned n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	pid_t pid;
	int code;

	strcpy(a.sun_path, r->path);
	for (unsigned i = 0; i < n; i++)
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid = fork();
	if (!pid) {
		for (unsigned i = 0; i < n; i++)
			if (connect(fds[i], (struct sockaddr *)&a, sizeof(a)))
				_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert_int_eq(code, 0);
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* With n copies of one fd. */
static inline void say_with(int fd, const char *text, int passed, unsigned n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(REQUEST_FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (char *)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned i = 0; i < n; i++)
		memcpy(CMSG_DATA(h) + i * sizeof(int), &passed, sizeof(int));
	ck_assert_int_eq(sendmsg(fd, &m, MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Exactly this comes next. */
static void hear(int fd, const char *expected)
{
	char text[512] = "";
	size_t len = strlen(expected), at = 0;

	ck_assert_uint_lt(len, sizeof(text));
	while (at < len) {
		ssize_t n = recv(fd, text + at, MIN(len - at, 256), 0);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	ck_assert_str_eq(text, expected);
}

/* The next line begins like this; the connection ends behind the answer. */
static inline void hear_last(int fd, const char *begin)
{
	char text[512];
	size_t at = 0;
	ssize_t n;

	while ((n = recv(fd, text + at, sizeof(text) - 1 - at, 0)) > 0)
		at += (size_t)n;
	ck_assert_int_eq(n, 0);
	text[at] = 0;
	ck_assert_msg(!strncmp(text, begin, strlen(begin)), "%s is not %s", text, begin);
	ck_assert_ptr_nonnull(strstr(text, "Connection: close\r\n"));
	ck_assert_str_eq(text + at - 3, "\"]\n");
	close(fd);
}

static inline void hear_text(int fd, const char *body)
{
	char answer[256];

	sprintf(answer,
		"HTTP/1.1 200 \r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
		strlen(body), body);
	hear(fd, answer);
}

/* Its writing end is to be passed and, by the server, closed. */
static inline void open_pipe(int ends[2])
{
	ck_assert_int_eq(pipe(ends), 0);
}

/* Waits until nobody has the writing end any more. */
static inline void assert_all_closed(int ends[2])
{
	char byte;

	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

#endif

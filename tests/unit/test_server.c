/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "server_rig.h"

#define GET(path) "GET " path " HTTP/1.1\r\n\r\n"
#define PUT_5 "PUT /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n"

static struct rig rig;

static void start(void)
{
	rig_start(&rig, &server_limits);
}

static void stop(void)
{
	rig_stop(&rig);
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(keeps_a_connection)
{
	int fd = dial(&rig);
	char pid[16];

	for (int i = 0; i < 3; i++) {
		say(fd, PUT_5 "hello");
		hear_text(fd, "hello");
		say(fd, GET("/echo"));
		hear(fd, "HTTP/1.1 204 \r\n\r\n");
	}
	sprintf(pid, "%d", getpid());
	say(fd, GET("/peer"));
	hear_text(fd, pid);
	close(fd);
}
END_TEST

START_TEST(answers_pipelined_requests_in_order)
{
	int fd = dial(&rig);

	say(fd, PUT_5 "first" GET("/late") PUT_5 "third" GET("/fds"));
	hear_text(fd, "first");
	sem_wait(&rig.late_came);
	rig_run(&rig, rig_answer);
	hear_text(fd, "late");
	hear_text(fd, "third");
	hear_text(fd, "0");
	close(fd);
}
END_TEST

START_TEST(takes_pieces)
{
	const char *text = PUT_5 "hello";
	int fd = dial(&rig);

	for (const char *c = text; *c; c++) {
		char piece[2] = { *c, 0 };

		say(fd, piece);
	}
	hear_text(fd, "hello");
	close(fd);
}
END_TEST

START_TEST(tells_to_continue)
{
	int fd = dial(&rig);

	say(fd, "PUT /echo HTTP/1.1\r\nAccept: */*\r\nTransfer-Encoding: chunked\r\n"
		"Expect: 100-continue\r\n\r\n");
	hear(fd, "HTTP/1.1 100 \r\n\r\n");
	say(fd, "0\r\n\r\n");
	hear(fd, "HTTP/1.1 204 \r\n\r\n");
	close(fd);
}
END_TEST

START_TEST(fds_come_with_the_first_bytes)
{
	int fd = dial(&rig), ends[2];

	open_pipe(ends);
	say_with(fd, "PUT /fds HTTP/1.1\r\n", ends[1], 3);
	say(fd, "Content-Length: 4\r\n\r\n");
	say(fd, "body");
	hear_text(fd, "3");
	assert_all_closed(ends);
	say(fd, GET("/fds"));
	hear_text(fd, "0");
	open_pipe(ends);
	say_with(fd, GET("/fds"), ends[1], REQUEST_FDS_MAX);
	hear_text(fd, "253");
	assert_all_closed(ends);
	close(fd);
}
END_TEST

START_TEST(a_taken_fd_is_the_handlers)
{
	int fd = dial(&rig), ends[2];
	char text[6] = "";

	open_pipe(ends);
	say_with(fd, GET("/take"), ends[1], 2);
	hear(fd, "HTTP/1.1 200 \r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n");
	ck_assert_int_eq(read(ends[0], text, sizeof(text)), 5);
	ck_assert_str_eq(text, "taken");
	assert_all_closed(ends);
	close(fd);
}
END_TEST

START_TEST(too_many_fds_are_refused_and_closed)
{
	int fd = dial(&rig), ends[2];

	open_pipe(ends);
	say_with(fd, "PUT /fds HTTP/1.1\r\n", ends[1], REQUEST_FDS_MAX);
	say_with(fd, "Content-Length: 4\r\n\r\n", ends[1], 1);
	hear_last(fd, "HTTP/1.1 400 \r\n");
	assert_all_closed(ends);
}
END_TEST

START_TEST(fds_of_a_refused_request_are_closed)
{
	int fd = dial(&rig), ends[2];

	open_pipe(ends);
	say_with(fd, "POST /fds HTTP/1.1\r\n", ends[1], 2);
	/* What comes behind a refused request is not for anyone either. */
	say_with(fd, "more", ends[1], 2);
	shutdown(fd, SHUT_WR);
	hear_last(fd, "HTTP/1.1 400 \r\n");
	assert_all_closed(ends);
}
END_TEST

START_TEST(fds_between_two_requests_are_refused)
{
	int fd = dial(&rig), ends[2];

	open_pipe(ends);
	say_with(fd, GET("/late") GET("/fds"), ends[1], 1);
	hear_last(fd, "HTTP/1.1 400 \r\n");
	assert_all_closed(ends);
}
END_TEST

START_TEST(fds_of_a_client_that_leaves_are_closed)
{
	int fd = dial(&rig), ends[2];

	open_pipe(ends);
	say_with(fd, PUT_5 "he", ends[1], 2);
	close(fd);
	assert_all_closed(ends);
}
END_TEST

START_TEST(a_stuck_client_stops_no_other)
{
	int stuck = dial(&rig), fd = dial(&rig);

	say(stuck, PUT_5 "hel");
	say(fd, GET("/echo"));
	hear(fd, "HTTP/1.1 204 \r\n\r\n");
	say(stuck, "lo");
	hear_text(stuck, "hello");
	close(stuck);
	close(fd);
}
END_TEST

START_TEST(a_half_open_client_gets_its_answer)
{
	int fd = dial(&rig);
	char byte;

	say(fd, GET("/late"));
	shutdown(fd, SHUT_WR);
	sem_wait(&rig.late_came);
	rig_run(&rig, rig_answer);
	hear_text(fd, "late");
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
	close(fd);
}
END_TEST

START_TEST(a_request_outlives_its_client)
{
	int fd = dial(&rig), ends[2];

	open_pipe(ends);
	say_with(fd, "PUT /late HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", ends[1], 1);
	sem_wait(&rig.late_came);
	close(fd);
	sem_wait(&rig.late_gone);
	ck_assert_str_eq(rig.late->path, "/late");
	ck_assert_str_eq(rig.late->body, "body");
	ck_assert_int_ge(fcntl(rig.late->fds[0], F_GETFD), 0);
	rig_run(&rig, rig_answer);
	assert_all_closed(ends);
}
END_TEST

START_TEST(a_request_outlives_the_server)
{
	int fd = dial(&rig), idle = dial(&rig);
	char byte;

	say(idle, GET("/fds"));
	hear_text(idle, "0");
	say(fd, GET("/late"));
	sem_wait(&rig.late_came);
	rig_run(&rig, rig_free_server);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
	ck_assert_int_eq(recv(idle, &byte, 1, 0), 0);
	ck_assert_str_eq(rig.late->path, "/late");
	rig_run(&rig, rig_answer);
	close(fd);
	close(idle);
}
END_TEST

START_TEST(too_large_a_body_is_refused)
{
	CLEANUP(free) char *body = calloc(1, HTTP_BODY_MAX);
	int fd = dial(&rig);

	memset(body, 'b', HTTP_BODY_MAX - 1);
	say(fd, "PUT /echo HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n");
	/* The client sends it all before it reads. */
	say(fd, body);
	shutdown(fd, SHUT_WR);
	hear_last(fd, "HTTP/1.1 413 \r\n");
}
END_TEST

START_TEST(a_flood_of_headers_is_refused)
{
	int fd = dial(&rig);

	say(fd, "GET /echo HTTP/1.1\r\n");
	for (int i = 0; i < 4096; i++)
		say(fd, "Flood: flood\r\n");
	hear_last(fd, "HTTP/1.1 431 \r\n");
}
END_TEST

START_TEST(a_large_answer_waits_for_its_reader)
{
	CLEANUP(free) char *body = malloc(HTTP_BODY_MAX + 1);
	CLEANUP(free) char *back = calloc(1, HTTP_BODY_MAX + 1);
	int fd = dial(&rig), other = dial(&rig);

	memset(body, 'b', HTTP_BODY_MAX);
	body[HTTP_BODY_MAX] = 0;
	say(fd, "PUT /echo HTTP/1.1\r\nContent-Length: 4194304\r\n\r\n");
	say(fd, body);
	say(other, GET("/fds"));
	hear_text(other, "0");
	hear(fd, "HTTP/1.1 200 \r\nContent-Type: text/plain\r\nContent-Length: 4194304\r\n\r\n");
	ck_assert_int_eq(recv(fd, back, HTTP_BODY_MAX, MSG_WAITALL), HTTP_BODY_MAX);
	ck_assert_str_eq(back, body);
	close(fd);
	close(other);
}
END_TEST

/* Limits of their own */

START_TEST(a_slow_request_is_refused)
{
	struct server_limits limits = server_limits;
	int idle, slow;

	limits.request_ns = 20000000;
	rig_start(&rig, &limits);
	idle = dial(&rig);
	slow = dial(&rig);
	say(slow, "GET");
	hear_last(slow, "HTTP/1.1 408 \r\n");
	/* One without a request is not slow. */
	say(idle, GET("/fds"));
	hear_text(idle, "0");
	close(idle);
	rig_stop(&rig);
}
END_TEST

START_TEST(newcomers_wait_for_a_place)
{
	struct server_limits limits = server_limits;
	int fds[2], third;
	char byte;

	/* Each the only one of its process */
	limits.connections = 2;
	limits.idle_ns = 3600 * UINT64_C(1000000000);
	rig_start(&rig, &limits);
	for (int i = 0; i < 2; i++) {
		dial_as_another(&rig, &fds[i], 1);
		say(fds[i], GET("/fds"));
		hear_text(fds[i], "0");
	}
	third = dial(&rig);
	say(third, GET("/fds"));
	/* Whoever has a place keeps it. */
	say(fds[0], GET("/fds"));
	hear_text(fds[0], "0");
	ck_assert_int_lt(recv(third, &byte, 1, MSG_DONTWAIT), 0);
	close(fds[1]);
	hear_text(third, "0");
	close(third);
	close(fds[0]);
	rig_stop(&rig);
}
END_TEST

START_TEST(the_longest_idle_makes_room)
{
	struct server_limits limits = server_limits;
	int busy, old, young, newcomer;
	char byte;

	limits.connections = 3;
	limits.idle_ns = 0;
	rig_start(&rig, &limits);
	busy = dial(&rig);
	say(busy, GET("/late"));
	sem_wait(&rig.late_came);
	old = dial(&rig);
	young = dial(&rig);
	say(old, GET("/fds"));
	hear_text(old, "0");
	say(young, GET("/fds"));
	hear_text(young, "0");
	newcomer = dial(&rig);
	ck_assert_int_eq(recv(old, &byte, 1, 0), 0);
	say(newcomer, GET("/fds"));
	hear_text(newcomer, "0");
	say(young, GET("/fds"));
	hear_text(young, "0");
	rig_run(&rig, rig_answer);
	hear_text(busy, "late");
	rig_stop(&rig);
}
END_TEST

/* The socket */

START_TEST(a_socket_is_private_and_replaced_only_when_dead)
{
	char path[] = "/tmp/test-listener-XXXXXX";
	struct listener first, second;
	struct stat st;
	struct err e;
	int fd = mkstemp(path);

	close(fd);
	ck_assert_int_eq(listener_open(&first, path, 0600, &e), -EEXIST);
	unlink(path);
	umask(0);
	ck_assert_int_eq(listener_open(&first, path, 0600, &e), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(listener_open(&second, path, 0600, &e), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(e.text, "in use by another process"));
	close(first.fd);
	ck_assert_int_eq(listener_open(&first, path, 0600, &e), 0);
	unlink(path);
	ck_assert_int_eq(listener_open(&second, path, 0600, &e), 0);
	listener_close(&first); /* the file is another's now */
	ck_assert_int_eq(access(path, F_OK), 0);
	listener_close(&second);
	ck_assert_int_lt(access(path, F_OK), 0);
}
END_TEST

START_TEST(only_a_listening_socket_is_adopted)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct listener l;
	struct err e;

	ck_assert_int_eq(listener_adopt(&l, STDIN_FILENO, &e), -EINVAL);
	ck_assert_int_eq(listener_adopt(&l, fd, &e), -EINVAL);
	bind(fd, (struct sockaddr *)&a, sizeof(a.sun_family)); /* a name of its own */
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(listener_adopt(&l, fd, &e), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	listener_close(&l);
}
END_TEST

START_TEST(nothing_stays_open)
{
	unsigned before = count_fds();
	int fd;

	start();
	fd = dial(&rig);
	say_with(fd, "PUT /fds HTTP/1.1\r\n", STDIN_FILENO, 200);
	say(fd, "bad\r\n");
	hear_last(fd, "HTTP/1.1 400 \r\n");
	stop();
	ck_assert_uint_eq(count_fds(), before);
}
END_TEST

static Suite *server_suite(void)
{
	Suite *s = suite_create("server");
	TCase *c = tcase_create("server"), *alone = tcase_create("alone");

	tcase_add_checked_fixture(c, start, stop);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, keeps_a_connection);
	tcase_add_test(c, answers_pipelined_requests_in_order);
	tcase_add_test(c, takes_pieces);
	tcase_add_test(c, tells_to_continue);
	tcase_add_test(c, fds_come_with_the_first_bytes);
	tcase_add_test(c, a_taken_fd_is_the_handlers);
	tcase_add_test(c, too_many_fds_are_refused_and_closed);
	tcase_add_test(c, fds_of_a_refused_request_are_closed);
	tcase_add_test(c, fds_between_two_requests_are_refused);
	tcase_add_test(c, fds_of_a_client_that_leaves_are_closed);
	tcase_add_test(c, a_stuck_client_stops_no_other);
	tcase_add_test(c, a_half_open_client_gets_its_answer);
	tcase_add_test(c, a_request_outlives_its_client);
	tcase_add_test(c, a_request_outlives_the_server);
	tcase_add_test(c, too_large_a_body_is_refused);
	tcase_add_test(c, a_flood_of_headers_is_refused);
	tcase_add_test(c, a_large_answer_waits_for_its_reader);
	suite_add_tcase(s, c);
	tcase_set_timeout(alone, 60);
	tcase_add_test(alone, a_slow_request_is_refused);
	tcase_add_test(alone, newcomers_wait_for_a_place);
	tcase_add_test(alone, the_longest_idle_makes_room);
	tcase_add_test(alone, a_socket_is_private_and_replaced_only_when_dead);
	tcase_add_test(alone, only_a_listening_socket_is_adopted);
	tcase_add_test(alone, nothing_stays_open);
	suite_add_tcase(s, alone);
	return s;
}

CHECK_MAIN(server_suite)

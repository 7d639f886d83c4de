/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that take what they can get, and others that must have their share all the same. */
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "server_rig.h"

#define GET(path) "GET " path " HTTP/1.1\r\n\r\n"
#define HALF "PUT /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel"

enum { PLACES = 4, STORM = 40, FDS = 200 };

static struct rig rig;

static void start(void)
{
	struct server_limits limits = server_limits;

	limits.connections = PLACES;
	limits.unanswered = 1;
	limits.idle_ns = 3600 * UINT64_C(1000000000);
	rig_start(&rig, &limits);
}

static void stop(void)
{
	rig_stop(&rig);
}

static void hear_end(int fd)
{
	char byte;

	ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void ask(int fd)
{
	say(fd, GET("/fds"));
	hear_text(fd, "0");
}

START_TEST(half_open_clients_make_room)
{
	int bad[PLACES], good;

	dial_as_another(&rig, bad, PLACES);
	for (int i = 0; i < PLACES; i++)
		say(bad[i], HALF);
	good = dial(&rig);
	ask(good);
	hear_end(bad[0]);
	for (int i = 1; i < PLACES; i++) {
		say(bad[i], "lo");
		hear_text(bad[i], "hello");
		close(bad[i]);
	}
	ask(good);
	close(good);
}
END_TEST

START_TEST(a_storm_of_connections_keeps_nobody_out)
{
	int bad[STORM], kept = dial(&rig), good;

	ask(kept);
	dial_as_another(&rig, bad, STORM);
	good = dial(&rig);
	ask(good);
	/* Only those of the storm had to go, the first of them first. */
	for (int i = 0; i < STORM - PLACES + 2; i++)
		hear_end(bad[i]);
	for (int i = STORM - PLACES + 2; i < STORM; i++) {
		ask(bad[i]);
		close(bad[i]);
	}
	ask(kept);
	close(kept);
	close(good);
}
END_TEST

START_TEST(those_who_do_not_read_make_room)
{
	CLEANUP(free) char *body = calloc(1, HTTP_BODY_MAX + 1);
	int bad[PLACES], good;

	memset(body, 'b', HTTP_BODY_MAX);
	dial_as_another(&rig, bad, PLACES);
	for (int i = 0; i < PLACES; i++) {
		say(bad[i], "PUT /echo HTTP/1.1\r\nContent-Length: 4194304\r\n\r\n");
		say(bad[i], body);
		say(bad[i], GET("/fds") GET("/fds") GET("/fds"));
	}
	good = dial(&rig);
	ask(good);
	close(good);
	for (int i = 0; i < PLACES; i++)
		close(bad[i]);
}
END_TEST

START_TEST(who_always_asks_makes_room)
{
	int bad[PLACES], good;

	dial_as_another(&rig, bad, PLACES);
	for (int i = 0; i < PLACES; i++)
		for (int n = 0; n < 100; n++)
			say(bad[i], GET("/fds"));
	good = dial(&rig);
	ask(good);
	close(good);
	for (int i = 0; i < PLACES; i++)
		close(bad[i]);
}
END_TEST

START_TEST(a_process_waits_for_so_many_answers)
{
	int bad[2], good = dial(&rig);

	dial_as_another(&rig, bad, 2);
	say(bad[0], GET("/late"));
	sem_wait(&rig.late_came);
	for (int i = 0; i < 2; i++) {
		say(bad[1], GET("/fds"));
		hear(bad[1],
		     "HTTP/1.1 429 \r\nContent-Type: application/json\r\nContent-Length: 89\r\n\r\n"
		     "[\"This process has too many requests without an answer; wait until one of "
		     "them has it.\"]\n");
	}
	ask(good);
	/* A client that leaves does not leave room for one more. */
	close(bad[0]);
	sem_wait(&rig.late_gone);
	say(bad[1], GET("/fds"));
	hear(bad[1], "HTTP/1.1 429 ");
	close(bad[1]);
	rig_run(&rig, rig_answer);
	ask(good);
	close(good);
}
END_TEST

START_TEST(a_process_passes_so_many_files)
{
	int bad[2], good = dial(&rig), ends[2], other[2];

	dial_as_another(&rig, bad, 2);
	open_pipe(ends);
	open_pipe(other);
	say_with(bad[0], "PUT /fds HTTP/1.1\r\n", ends[1], FDS);
	say_with(bad[1], "PUT /fds HTTP/1.1\r\n", ends[1], FDS);
	hear_last(bad[1], "HTTP/1.1 400 \r\n");
	say_with(good, GET("/fds"), other[1], FDS);
	hear_text(good, "200");
	assert_all_closed(other);
	/* Those of a request that is served are not there for the next. */
	say(bad[0], "Content-Length: 0\r\n\r\n");
	hear_text(bad[0], "200");
	assert_all_closed(ends);
	close(bad[0]);
	close(good);
}
END_TEST

static Suite *server_fair_suite(void)
{
	Suite *s = suite_create("server-fair");
	TCase *c = tcase_create("server-fair");

	tcase_add_checked_fixture(c, start, stop);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, half_open_clients_make_room);
	tcase_add_test(c, a_storm_of_connections_keeps_nobody_out);
	tcase_add_test(c, those_who_do_not_read_make_room);
	tcase_add_test(c, who_always_asks_makes_room);
	tcase_add_test(c, a_process_waits_for_so_many_answers);
	tcase_add_test(c, a_process_passes_so_many_files);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(server_fair_suite)

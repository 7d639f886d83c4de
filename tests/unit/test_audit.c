/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "audit_log.h"
#include "bits.h"
#include "check_main.h"
#include "in_child.h"

enum { LINES = 2048 };

static char dir[32], path[64];
static struct audit *audit;
static json_t *line[LINES]; /* of the file, from read_lines() */
static size_t nlines;

static void setup(void)
{
	strcpy(dir, "/tmp/test-audit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	sprintf(path, "%s/log", dir);
	audit = NULL;
}

static void teardown(void)
{
	for (size_t i = 0; i < nlines; i++)
		json_decref(line[i]);
	nlines = 0;
	audit_free(audit);
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static int no_journal(struct err *e)
{
	return err_set(e, -ENOENT, "there is none");
}

static void open_log(void)
{
	struct err e;

	ck_assert_msg(!audit_new(&audit, path, no_journal, &e), "%s", e.text);
}

/* Returns how many there are; what is none is NULL. */
static size_t read_lines(void)
{
	FILE *f = fopen(path, "r");
	char text[2048];

	for (size_t i = 0; i < nlines; i++)
		json_decref(line[i]);
	for (nlines = 0; fgets(text, sizeof(text), f); nlines++) {
		ck_assert_uint_lt(nlines, LINES);
		line[nlines] = json_loads(text, 0, NULL);
	}
	fclose(f);
	return nlines;
}

static json_int_t number(size_t at, const char *key)
{
	return json_integer_value(json_object_get(line[at], key));
}

static const char *text(size_t at, const char *key)
{
	return json_string_value(json_object_get(line[at], key));
}

/* Where it goes */

START_TEST(a_file_is_private_and_appended_to)
{
	struct stat st;

	umask(0);
	for (int i = 0; i < 2; i++) {
		open_log();
		if (i)
			audit_name(audit, "web");
		audit_write(audit, json_pack("{s:i}", "i", i));
		ck_assert_uint_eq(audit_count(audit).written, 1);
		audit_free(audit);
	}
	audit = NULL;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(read_lines(), 2);
	ck_assert_int_eq(number(1, "i"), 1);
	ck_assert_int_eq(number(1, "monitor"), getpid());
	ck_assert_str_eq(text(1, "vm"), "web");
	ck_assert_ptr_null(text(0, "vm"));
	ck_assert_uint_eq(strlen(text(0, "time")), strlen("2026-01-01T00:00:00.000000Z"));
}
END_TEST

START_TEST(only_a_plain_file_is_one)
{
	char target[80];
	struct err e;

	sprintf(target, "%s/target", dir);
	ck_assert_int_eq(symlink(target, path), 0);
	ck_assert_int_eq(audit_new(&audit, path, no_journal, &e), -ELOOP);
	ck_assert_int_lt(access(target, F_OK), 0);
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_lt(audit_new(&audit, path, no_journal, &e), 0);
	ck_assert_int_eq(audit_new(&audit, "/dev/null", no_journal, &e), -EINVAL);
	ck_assert_int_lt(audit_new(&audit, dir, no_journal, &e), 0);
	ck_assert_int_eq(audit_new(&audit, "journal", no_journal, &e), -ENOENT);
	ck_assert_str_eq(e.text, "there is none");
	ck_assert_ptr_null(audit);
}
END_TEST

static void fill_the_file(void)
{
	struct rlimit limit = { 100, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	open_log();
	if (setrlimit(RLIMIT_FSIZE, &limit))
		_exit(2);
	for (int i = 0; i < 4; i++)
		audit_write(audit, json_pack("{s:i}", "i", i));
	limit.rlim_cur = RLIM_INFINITY;
	if (setrlimit(RLIMIT_FSIZE, &limit))
		_exit(2);
	audit_write(audit, json_pack("{s:i}", "i", 4));
	if (audit_count(audit).failed != 3 || audit_count(audit).written != 2)
		_exit(3);
}

/* One that was torn has a line of its own. */
START_TEST(a_full_disk_is_counted)
{
	in_child(fill_the_file);
	ck_assert_uint_eq(read_lines(), 3);
	ck_assert_int_eq(number(0, "i"), 0);
	ck_assert_ptr_null(line[1]);
	ck_assert_int_eq(number(2, "i"), 4);
}
END_TEST

static int bind_journal(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, path);
	unlink(path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int test_journal(struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(a.sun_path, path);
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	close(fd);
	return err_set(e, -errno, "no journal");
}

/* And one that is gone for a while is found again. */
START_TEST(the_journal_has_fields)
{
	int journal = bind_journal();
	char got[512];
	struct err e;
	ssize_t n;
	char *json;

	ck_assert_msg(!audit_new(&audit, "journal", test_journal, &e), "%s", e.text);
	audit_write(audit, json_pack("{s:s}", "a", "é\nPRIORITY=0"));
	n = recv(journal, got, sizeof(got) - 1, 0);
	ck_assert_int_gt(n, 0);
	got[n] = 0;
	json = strstr(got, "\nMESSAGE={");
	ck_assert_ptr_nonnull(json);
	ck_assert(!strncmp(got, "SYSLOG_IDENTIFIER=godwit\nPRIORITY=5\nMESSAGE=", 44));
	ck_assert_ptr_nonnull(strstr(json, "\"a\":\"\\u00E9\\nPRIORITY=0\"}\n"));
	ck_assert_ptr_eq(strchr(json + 1, '\n'), got + n - 1);
	close(journal);
	audit_write(audit, json_object());
	ck_assert_uint_eq(audit_count(audit).failed, 1);
	journal = bind_journal();
	audit_write(audit, json_object());
	ck_assert_uint_eq(audit_count(audit).written, 2);
	close(journal);
}
END_TEST

/* What is in it */

static struct loop *loop;
static struct audit_log log_;

static void begin(void)
{
	struct err e;

	open_log();
	ck_assert_int_eq(loop_new(&loop, &e), 0);
	audit_log_begin(&log_, loop, audit);
}

static void end(void)
{
	audit_log_end(&log_);
	loop_free(loop);
}

static void ask_as(uid_t uid, enum http_method method, const char *target, const char *route,
		   int status)
{
	const struct request q = { .method = method,
				   .path = target,
				   .peer = { .pid = 7, .uid = uid, .gid = 9 } };

	audit_log_request(&log_, &q, route, status, target ? 1 : 0, status < 400 ? NULL : "why");
}

START_TEST(what_changes_something_has_its_line)
{
	begin();
	for (int i = 0; i < 3; i++)
		ask_as(8, HTTP_PUT, "/api/v1/vm.pause", "vm.pause", 204);
	ck_assert_uint_eq(read_lines(), 3);
	end();
	ck_assert_uint_eq(read_lines(), 3);
	ck_assert_str_eq(text(2, "event"), "request");
	ck_assert_int_eq(number(2, "pid"), 7);
	ck_assert_int_eq(number(2, "uid"), 8);
	ck_assert_int_eq(number(2, "gid"), 9);
	ck_assert_str_eq(text(2, "method"), "PUT");
	ck_assert_str_eq(text(2, "path"), "/api/v1/vm.pause");
	ck_assert_int_eq(number(2, "status"), 204);
	ck_assert(json_is_integer(json_object_get(line[2], "duration_us")));
	ck_assert_ptr_null(text(2, "error"));
	ck_assert_ptr_null(json_object_get(line[2], "count"));
}
END_TEST

START_TEST(what_comes_again_is_counted)
{
	begin();
	for (int i = 0; i < 5; i++) {
		ask_as(8, HTTP_GET, "/api/v1/vm.info", "vm.info", 200);
		ask_as(8, HTTP_GET, "/api/v1/vm.counters", "vm.counters", 200);
		ask_as(10, HTTP_GET, "/api/v1/vm.info", "vm.info", 200);
		ask_as(8, HTTP_PUT, "/api/v1/vm.pause", "vm.pause", 500);
	}
	ask_as(8, HTTP_GET, "/api/v1/vm.info", "vm.info", 404);
	ck_assert_uint_eq(read_lines(), 5);
	ck_assert_str_eq(text(3, "error"), "why");
	end();
	ck_assert_uint_eq(read_lines(), 9);
	for (size_t i = 5; i < 9; i++)
		ck_assert_int_eq(number(i, "count"), 4);
	ck_assert_str_eq(text(8, "error"), "why");
	ck_assert_int_eq(number(7, "uid"), 10);
}
END_TEST

START_TEST(no_client_fills_the_disk)
{
	begin();
	for (int i = 0; i < 5000; i++) {
		char target[32];

		sprintf(target, "/%d", i);
		ask_as(8, HTTP_GET, target, NULL, 404);
		ask_as((uid_t)i, HTTP_GET, NULL, NULL, 403);
		ask_as(8, HTTP_GET, NULL, NULL, 400);
	}
	end();
	ck_assert_uint_eq(read_lines(), 6);
	ck_assert_str_eq(text(0, "path"), "/0");
	ck_assert_ptr_null(text(1, "path"));
	for (size_t i = 3; i < 6; i++)
		ck_assert_int_eq(number(i, "count"), 4999);
}
END_TEST

START_TEST(so_many_are_counted_at_once)
{
	begin();
	for (int round = 0; round < 2; round++)
		for (uid_t uid = 0; uid < 500; uid++)
			ask_as(uid, HTTP_GET, "/api/v1/vm.info", "vm.info", 200);
	ck_assert_uint_le(log_.ncounted, 128);
	end();
	ck_assert_uint_eq(read_lines(), 1000);
}
END_TEST

START_TEST(a_path_is_cut_and_made_text)
{
	char target[1024] = "/\xff\n\"";

	memset(target + 4, 'x', sizeof(target) - 5);
	begin();
	ask_as(8, HTTP_GET, target, NULL, 404);
	end();
	ck_assert_uint_eq(read_lines(), 1);
	ck_assert_uint_eq(strlen(text(0, "path")), 256);
	ck_assert(!strncmp(text(0, "path"), "/\?\?\"xxx", 7));
}
END_TEST

static void stop(void *arg)
{
	(void)arg;
	loop_quit(loop);
}

START_TEST(after_a_while_the_count_is_written)
{
	struct timer later = { .expired = stop };

	begin();
	log_.window_ns = 10 * UINT64_C(1000000);
	ask_as(8, HTTP_GET, "/api/v1/vm.info", "vm.info", 200);
	ask_as(8, HTTP_GET, "/api/v1/vm.info", "vm.info", 200);
	ck_assert_uint_eq(read_lines(), 1);
	loop_timer_set(loop, &later, loop_now_ns() + 20 * UINT64_C(1000000));
	loop_run(loop);
	ck_assert_uint_eq(read_lines(), 2);
	ck_assert_int_eq(number(1, "count"), 1);
	ck_assert_uint_eq(log_.ncounted, 0);
	end();
	ck_assert_uint_eq(read_lines(), 2);
}
END_TEST

START_TEST(without_a_log_nothing_is_done)
{
	struct counter_readings all = { 0 };
	struct err e;

	ck_assert_int_eq(loop_new(&loop, &e), 0);
	audit_log_begin(&log_, loop, NULL);
	ask_as(8, HTTP_GET, "/api/v1/vm.info", "vm.info", 200);
	ck_assert_int_eq(audit_log_count(&log_, &all), 0);
	ck_assert_uint_eq(all.n, 0);
	end();
}
END_TEST

START_TEST(the_counters_say_what_was_lost)
{
	struct counter_readings all = { 0 };

	begin();
	ask_as(8, HTTP_PUT, "/api/v1/vm.pause", "vm.pause", 204);
	ck_assert_int_eq(audit_log_count(&log_, &all), 0);
	ck_assert_uint_eq(all.n, 1);
	ck_assert_str_eq(all.reading[0].id, "_audit");
	ck_assert_uint_eq(counter_value(&all.reading[0], &audit_counter_table.counter[0]), 1);
	ck_assert_uint_eq(counter_value(&all.reading[0], &audit_counter_table.counter[1]), 0);
	counters_free(&all);
	end();
}
END_TEST

static Suite *audit_suite(void)
{
	Suite *s = suite_create("audit");
	TCase *t = tcase_create("audit");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_file_is_private_and_appended_to);
	tcase_add_test(t, only_a_plain_file_is_one);
	tcase_add_test(t, a_full_disk_is_counted);
	tcase_add_test(t, the_journal_has_fields);
	tcase_add_test(t, what_changes_something_has_its_line);
	tcase_add_test(t, what_comes_again_is_counted);
	tcase_add_test(t, no_client_fills_the_disk);
	tcase_add_test(t, so_many_are_counted_at_once);
	tcase_add_test(t, a_path_is_cut_and_made_text);
	tcase_add_test(t, after_a_while_the_count_is_written);
	tcase_add_test(t, without_a_log_nothing_is_done);
	tcase_add_test(t, the_counters_say_what_was_lost);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(audit_suite)

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check_main.h"
#include "events.h"
#include "thread.h"

static struct events *ev;
static char line[EVENT_BYTES_MAX];

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(events_new(&ev, &e), 0);
}

static void teardown(void)
{
	events_free(ev);
}

static json_t *next(uint64_t *seq)
{
	size_t len = events_next(ev, seq, line);
	json_t *json;

	if (!len)
		return NULL;
	ck_assert_uint_eq(strlen(line), len);
	ck_assert_int_eq(line[len - 1], '\n');
	json = json_loads(line, 0, NULL);
	ck_assert_ptr_nonnull(json);
	return json;
}

static const char *text_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

START_TEST(an_event_is_a_line)
{
	uint64_t seq = 0;
	json_t *json;

	events_add(ev, "vm", "booted", NULL);
	events_add(ev, "virtio-device", "activated", json_pack("{s:s}", "id", "disk0"));
	json = next(&seq);
	ck_assert_str_eq(text_of(json, "source"), "vm");
	ck_assert_str_eq(text_of(json, "event"), "booted");
	ck_assert(json_is_null(json_object_get(json, "properties")));
	ck_assert(json_is_integer(json_object_get(json_object_get(json, "timestamp"), "nanos")));
	ck_assert_int_eq(json_integer_value(json_object_get(json, "seq")), 1);
	json_decref(json);
	json = next(&seq);
	ck_assert_str_eq(text_of(json_object_get(json, "properties"), "id"), "disk0");
	ck_assert_uint_eq(seq, 2);
	json_decref(json);
	ck_assert_ptr_null(next(&seq));
	ck_assert_uint_eq(seq, 2);
}
END_TEST

START_TEST(strings_hold_no_braces)
{
	static const char why[] = "a {\"b\\\"} \xc3\xa9\n";
	uint64_t seq = 0;
	int depth = 0;
	json_t *json;

	events_add(ev, "vm", "failed", json_pack("{s:s}", "error", why));
	json = next(&seq);
	ck_assert_str_eq(text_of(json_object_get(json, "properties"), "error"), why);
	json_decref(json);
	for (const char *p = line; *p; p++) {
		depth += (*p == '{') - (*p == '}');
		ck_assert_int_gt(*p, 0);
		ck_assert(depth > 0 || p[1] == '\n' || !p[1]);
	}
	ck_assert_int_eq(depth, 0);
}
END_TEST

START_TEST(the_oldest_are_forgotten)
{
	uint64_t seq = 5;
	json_t *json;

	for (int i = 0; i < EVENTS_KEPT + 10; i++)
		events_add(ev, "vm", "reset", NULL);
	json = next(&seq);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "seq")), 11);
	ck_assert_uint_eq(seq, 11);
	json_decref(json);
	seq = UINT64_MAX;
	ck_assert_ptr_null(next(&seq));
}
END_TEST

START_TEST(a_long_one_loses_its_properties)
{
	static char path[2 * EVENT_BYTES_MAX];
	uint64_t seq = 0;
	json_t *json;

	memset(path, 'x', sizeof(path) - 1);
	events_add(ev, "vm", "failed", json_pack("{s:s}", "error", path));
	json = next(&seq);
	ck_assert_str_eq(text_of(json, "event"), "failed");
	ck_assert(json_is_null(json_object_get(json, "properties")));
	json_decref(json);
}
END_TEST

struct reader {
	struct events_listener listener;
	uint64_t seq;
	unsigned n;
};

static void read_some(void *arg)
{
	struct reader *r = arg;
	json_t *json;

	while ((json = next(&r->seq))) {
		r->n++;
		json_decref(json);
	}
	if (r->n == 2 * 100)
		loop_quit(r->listener.loop);
}

static void quit(void *arg)
{
	loop_quit(arg);
}

static void *add_some(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++)
		events_add(ev, "vm", "reset", NULL);
	return NULL;
}

START_TEST(listeners_hear_of_all_threads)
{
	struct reader r = { .listener.added = { .run = read_some, .arg = &r } };
	struct work end = { .run = quit };
	pthread_t thread[2];
	struct err e;

	ck_assert_int_eq(loop_new(&r.listener.loop, &e), 0);
	end.arg = r.listener.loop;
	events_listen(ev, &r.listener);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(thread_new(&thread[i], "adds", SANDBOX_MAIN, 0, add_some, NULL),
				 0);
	loop_run(r.listener.loop);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(r.n, 200);
	events_add(ev, "vm", "reset", NULL);
	events_unlisten(ev, &r.listener);
	events_add(ev, "vm", "reset", NULL);
	loop_post(r.listener.loop, &end);
	loop_run(r.listener.loop);
	ck_assert_uint_eq(r.n, 200);
	loop_free(r.listener.loop);
}
END_TEST

static Suite *events_suite(void)
{
	Suite *s = suite_create("events");
	TCase *t = tcase_create("events");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, an_event_is_a_line);
	tcase_add_test(t, strings_hold_no_braces);
	tcase_add_test(t, the_oldest_are_forgotten);
	tcase_add_test(t, a_long_one_loses_its_properties);
	tcase_add_test(t, listeners_hear_of_all_threads);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(events_suite)

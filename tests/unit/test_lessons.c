/* SPDX-License-Identifier: Apache-2.0 */
/* What moves teach is kept, and told once both hosts have been seen without the move. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "lessons.h"
#include "planner/fields.h"
#include "planner/snapshot.h"
#include "record.h"

enum { NOW = 1700000000 };

static char folder[] = "/tmp/lessons-XXXXXX";
static int store;
static struct lessons *lessons;
static struct snapshot snapshot;
static struct err e;

static void setup(void)
{
	strcpy(folder, "/tmp/lessons-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	store = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(lessons_new(&lessons, store, &e), 0);
}

static void teardown(void)
{
	char command[64];

	lessons_free(lessons);
	snapshot_free(&snapshot);
	snapshot = (struct snapshot){ 0 };
	close(store);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

/* Two hosts, and a VM on the first that waits for such a share of its time. */
static void look(uint64_t time, const char *host, double delay)
{
	char text[2048];
	FILE *f;

	snapshot_free(&snapshot);
	snprintf(
		text, sizeof(text),
		"{\"snapshot\":{\"version\":1,\"time\":%lu}}\n"
		"{\"host\":{\"id\":\"a\",\"at\":%lu,\"cores\":2,\"memory\":4096,\"available\":4096,"
		"\"link\":1000,\"use\":[0.5]}}\n"
		"{\"host\":{\"id\":\"b\",\"at\":%lu,\"cores\":2,\"memory\":4096,\"available\":4096,"
		"\"link\":1000,\"use\":[0.5]}}\n"
		"{\"vm\":{\"id\":\"v\",\"host\":\"%s\",\"at\":%lu,\"vcpus\":4,\"memory\":1024,"
		"\"resident\":512,\"run\":[%g],\"delay\":[%g],\"cpu_mean\":1}}\n",
		time, time, time, host, time, 1 - delay, delay);
	f = fmemopen(text, strlen(text), "r");
	ck_assert_int_eq(snapshot_read(&snapshot, f, &e), 0);
	fclose(f);
	ck_assert_msg(!snapshot.nrefused, "%s",
		      snapshot.nrefused ? snapshot.refused[0].sentence : "");
}

/* v moves from a to b, as a plan has it. */
static void order(void)
{
	const struct plan plan = { .snapshot = &snapshot };
	const struct plan_move move = {
		.to = 1,
		.judged = { .load = { .bytes = 500, .rate = 1000 },
			    .move = { .time_s = 0.5, .blackout_s = 0.02, .bytes = 500 } }
	};

	look(NOW, "a", 0.5);
	lessons_promise(lessons, &plan, &move);
}

static void end_from(const char *from, bool moved, double time_s)
{
	json_auto_t *outcome = json_pack("{s:b, s:f, s:f, s:f, s:f, s:f}", "moved", moved, "time_s",
					 time_s, "sending_s", time_s, "blackout_s", 0.02, "bytes",
					 500.0, "rate", 1000.0);

	lessons_outcome(lessons, "v", from, outcome, NOW);
}

static void end(bool moved, double time_s)
{
	end_from("a", moved, time_s);
}

static double rate(const struct lessons *l)
{
	json_auto_t *head = json_object();

	lessons_head(l, head);
	return json_number_value(json_object_get(head, "rate"));
}

START_TEST(gain)
{
	struct lesson_gain g;

	order();
	ck_assert(!lessons_gain(lessons, &snapshot, &g)); /* it is not over */
	end(true, 0.5);
	look(NOW + 179, "b", 0.1);
	ck_assert(!lessons_gain(lessons, &snapshot, &g)); /* windows are partly older */
	look(NOW + 180, "b", 0.1);
	ck_assert(lessons_gain(lessons, &snapshot, &g));
	ck_assert_str_eq(g.vm, "v");
	ck_assert_str_eq(g.to, "b");
	ck_assert_double_eq_tol(g.gain, 4 * 0.5 - 4 * 0.1, 1e-6);
	ck_assert(!lessons_gain(lessons, &snapshot, &g)); /* it was told */
}
END_TEST

START_TEST(not_moved)
{
	struct lesson_gain g;
	double before = rate(lessons);

	order();
	end(false, 0);
	look(NOW + 1000, "a", 0.5);
	ck_assert(!lessons_gain(lessons, &snapshot, &g));
	ck_assert_double_eq(rate(lessons), before);
}
END_TEST

/* One that a person asked for teaches, too. */
START_TEST(not_promised)
{
	struct lesson_gain g;
	double before = rate(lessons);

	end(true, 5);
	ck_assert_double_lt(rate(lessons), before);
	look(NOW + 1000, "b", 0.5);
	ck_assert(!lessons_gain(lessons, &snapshot, &g));
}
END_TEST

START_TEST(kept)
{
	struct lessons *again;
	json_auto_t *file = NULL;
	double before = rate(lessons);
	char *text = NULL;
	size_t len;
	FILE *f;

	order();
	end(true, 5); /* ten times as long */
	ck_assert_double_lt(rate(lessons), before);
	lessons_see(lessons, &snapshot);
	ck_assert_int_eq(lessons_new(&again, store, &e), 0);
	ck_assert_double_eq_tol(rate(again), rate(lessons), 1e-9);
	f = open_memstream(&text, &len);
	lessons_curves(again, f);
	fclose(f);
	ck_assert_msg(!strncmp(text, "{\"curve\":{\"delay\":[", 19), "%s", text);
	free(text);
	lessons_free(again);
	ck_assert_int_eq(record_read(store, "lessons.json", &file), 0);
}
END_TEST

START_TEST(only_its_host)
{
	struct lesson_gain g;

	order();
	end_from("b", true, 5);
	end_from("b", false, 0);
	look(NOW + 180, "b", 0.1);
	ck_assert(!lessons_gain(lessons, &snapshot, &g));
	end(true, 5);
	ck_assert(lessons_gain(lessons, &snapshot, &g));
}
END_TEST

/* The agent that was to tell of the first one ended. */
START_TEST(never_told)
{
	struct lesson_gain g;

	order();
	order();
	end(true, 5);
	look(NOW + 180, "b", 0.1);
	ck_assert(lessons_gain(lessons, &snapshot, &g));
	end(true, 5);
	ck_assert(!lessons_gain(lessons, &snapshot, &g));
}
END_TEST

static Suite *lessons_suite(void)
{
	Suite *s = suite_create("lessons");
	TCase *c = tcase_create("moves");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, gain);
	tcase_add_test(c, not_moved);
	tcase_add_test(c, not_promised);
	tcase_add_test(c, kept);
	tcase_add_test(c, only_its_host);
	tcase_add_test(c, never_told);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(lessons_suite)

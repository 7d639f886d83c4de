/* SPDX-License-Identifier: Apache-2.0 */
/* What VMs use at each hour of the day, and what yesterday tells of today. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "check_main.h"
#include "daily.h"
#include "days.h"
#include "record.h"
#include "signals.h"

enum { HOUR = 3600, STEP = 600, DAY = 24 };

#define BEGIN UINT64_C(1800000000) /* an hour's begin */

static double wave(uint64_t hour)
{
	return 2 + cos((double)(hour % DAY) * M_PI / 12);
}

/* One day has nothing to do with the next. */
static double noise(uint64_t hour)
{
	return (double)(hour * hour * 7919 % 101) / 25;
}

/* So many hours of it from the begin on; the last reading is at the begin of the hour after. */
static void live(struct daily *d, double (*cores)(uint64_t), uint64_t from, uint64_t hours)
{
	for (uint64_t h = from; h < from + hours; h++)
		for (unsigned s = STEP; s <= HOUR; s += STEP)
			daily_add(d, BEGIN + h * HOUR + s - 1, cores(h), STEP);
}

static bool expects(const struct daily *d, uint64_t hour, unsigned into, double *cores,
		    double *weight)
{
	return daily_expects(d, BEGIN + hour * HOUR + into, cores, weight);
}

START_TEST(days_alike)
{
	struct daily d = { 0 };
	double cores, weight;

	/* As soon as three quarters of a day have one before them. */
	for (unsigned h = 0; h < 48; h++) {
		live(&d, wave, h, 1);
		ck_assert_int_eq(expects(&d, h, HOUR - 1, &cores, &weight), h >= 42);
	}
	ck_assert(daily_add(&d, BEGIN + 48 * HOUR, 1, 1));
	ck_assert(!daily_add(&d, BEGIN + 48 * HOUR + 1, 1, 1));
	ck_assert(expects(&d, 48, 0, &cores, &weight));
	ck_assert_double_eq_tol(cores, wave(0), 1e-9);
	ck_assert_double_eq_tol(weight, 1, 1e-9);
	ck_assert(expects(&d, 48, HOUR / 4, &cores, &weight));
	ck_assert_double_eq_tol(cores, 0.75 * wave(0) + 0.25 * wave(1), 1e-9);
	live(&d, wave, 48, 70);
	daily_add(&d, BEGIN + 118 * HOUR, 1, 1);
	ck_assert(expects(&d, 118, 0, &cores, &weight));
	ck_assert_double_eq_tol(cores, wave(118), 1e-9);
	ck_assert(!expects(&d, 119, 0, &cores, &weight)); /* nothing was seen since */
}
END_TEST

START_TEST(days_that_differ)
{
	struct daily d = { 0 };
	double cores, weight;

	live(&d, noise, 0, 48);
	daily_add(&d, BEGIN + 48 * HOUR, 1, 1);
	ck_assert(!expects(&d, 48, 0, &cores, &weight));
}
END_TEST

static double same(uint64_t hour)
{
	(void)hour;
	return 0.1;
}

START_TEST(days_of_one_kind_of_hour)
{
	struct daily d = { 0 };
	double cores, weight;

	live(&d, same, 0, 48);
	daily_add(&d, BEGIN + 48 * HOUR, 1, 1);
	ck_assert(!expects(&d, 48, 0, &cores, &weight) || weight <= 1);
}
END_TEST

START_TEST(hours_not_seen)
{
	double cores, weight;

	for (unsigned away = 6; away <= 7; away++) {
		struct daily d = { 0 };

		live(&d, wave, 0, 30);
		live(&d, wave, 30 + away, 18 - away);
		daily_add(&d, BEGIN + 48 * HOUR, 1, 1);
		ck_assert_int_eq(expects(&d, 48, 0, &cores, &weight), away == 6);
		/* Of one that was seen for less than its half nothing is known either. */
		live(&d, wave, 48, 10);
		daily_add(&d, BEGIN + 58 * HOUR, 1, 1);
		ck_assert(!expects(&d, 58, 0, &cores, &weight));
	}
}
END_TEST

START_TEST(clocks)
{
	struct daily d = { 0 };
	double cores, weight;

	live(&d, wave, 0, 48);
	daily_add(&d, BEGIN + 48 * HOUR, 1, 1);
	daily_add(&d, BEGIN + 48 * HOUR - 2, 1, 1);
	ck_assert(expects(&d, 48, 0, &cores, &weight));
	daily_add(&d, BEGIN + 40 * HOUR, 1, 1); /* it was set */
	ck_assert(!expects(&d, 40, 0, &cores, &weight));
	live(&d, wave, 41, 48);
	daily_add(&d, BEGIN + 89 * HOUR, 1, 1);
	ck_assert(expects(&d, 89, 0, &cores, &weight));
	daily_add(&d, BEGIN + 1000 * HOUR, 1, 1);
	live(&d, wave, 1000, 24);
	ck_assert(!expects(&d, 1023, 0, &cores, &weight));
}
END_TEST

START_TEST(as_json)
{
	struct daily d = { 0 }, back;
	double cores, weight;
	json_t *json;

	live(&d, wave, 0, 30);
	live(&d, wave, 32, 16);
	daily_add(&d, BEGIN + 48 * HOUR, 1, 1);
	json = daily_json(&d);
	ck_assert_uint_eq(json_array_size(json_object_get(json, "cores")), DAILY_HOURS);
	ck_assert(json_is_null(json_array_get(json_object_get(json, "cores"), 16)));
	ck_assert_int_eq(daily_read(&back, json), 0);
	for (unsigned i = 0; i < DAILY_HOURS; i++)
		ck_assert_double_eq(back.cores[i], d.cores[i]);
	ck_assert(expects(&back, 48, 0, &cores, &weight));
	ck_assert_double_eq_tol(cores, wave(48), 1e-9);
	json_decref(json);
}
END_TEST

static const char *const lies[] = {
	"{}",
	"[]",
	"{\"hour\": 500000}",
	"{\"cores\": []}",
	"{\"hour\": 47, \"cores\": []}",
	"{\"hour\": -1, \"cores\": []}",
	"{\"hour\": 9223372036854775807, \"cores\": []}",
	"{\"hour\": 1.5, \"cores\": []}",
	"{\"hour\": 500000, \"cores\": {}}",
	"{\"hour\": 500000, \"cores\": [], \"more\": 1}",
	"{\"hour\": 500000, \"cores\": [1, -0.5]}",
	"{\"hour\": 500000, \"cores\": [1e300]}",
	"{\"hour\": 500000, \"cores\": [\"1\"]}",
	("{\"hour\": 500000, \"cores\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
	 "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}"),
};

START_TEST(refused)
{
	json_t *json = json_loads(lies[_i], 0, NULL);
	struct daily d;

	ck_assert_ptr_nonnull(json);
	ck_assert_int_eq(daily_read(&d, json), -EINVAL);
	json_decref(json);
}
END_TEST

START_TEST(what_it_uses)
{
	struct signals s = { .cpu_mean = 1 };
	struct daily d = { 0 };
	uint64_t now = BEGIN + 60 * HOUR; /* the middle of the day has least */

	live(&d, wave, 0, 60);
	daily_add(&d, now, 1, 1);
	ck_assert_double_eq(signals_cores(&s, 4, 3, NULL, now), 1);
	ck_assert_double_eq_tol(signals_cores(&s, 4, 3, &d, now), wave(12), 1e-9);
	s.cpu_mean = 3;
	ck_assert_double_eq_tol(signals_cores(&s, 4, 3, &d, now), wave(12), 1e-9);
	windows_push(&s.run, 0.5);
	ck_assert_double_eq_tol(signals_cores(&s, 4, 3, &d, now), 2, 1e-9); /* of late */
	ck_assert_double_eq(signals_cores(&s, 4, 3, &d, now + 2 * HOUR), 3);
	ck_assert_double_eq(signals_cores(&s, 2, 3, &d, now + 2 * HOUR), 2); /* all there are */
}
END_TEST

static char folder[64];
static int store;

static void open_store(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%.32s/godwit-days-XXXXXX", tmp ? tmp : "/var/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	store = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void close_store(void)
{
	unlinkat(store, "days.json", 0);
	close(store);
	rmdir(folder);
}

static struct days *read_days(void)
{
	struct days *d;
	struct err e;

	ck_assert_int_eq(days_new(&d, store, &e), 0);
	return d;
}

START_TEST(kept)
{
	struct days *d = read_days();
	double cores, weight;
	uint64_t now = 0;
	json_t *file;

	ck_assert_ptr_null(days_of(d, "web"));
	days_keep(d, BEGIN);
	ck_assert_int_eq(record_read(store, "days.json", &file), -ENOENT);
	for (unsigned i = 0; i <= 48 * HOUR / STEP; i++) {
		now = BEGIN + i * STEP;
		days_add(d, "web", now, wave((i - (i > 0)) * STEP / HOUR), STEP);
		if (i < 60)
			days_add(d, "gone", now, 1, STEP);
		days_keep(d, now);
	}
	days_free(d);
	d = read_days();
	ck_assert_ptr_nonnull(days_of(d, "gone"));
	ck_assert(daily_expects(days_of(d, "web"), now, &cores, &weight));
	days_set(d, "db", days_of(d, "web"));
	days_set(d, "web", NULL);
	days_keep(d, now + 20 * HOUR);
	days_free(d);
	d = read_days();
	ck_assert_ptr_null(days_of(d, "web"));
	ck_assert_ptr_null(days_of(d, "gone")); /* nothing was heard of it for two days */
	ck_assert(daily_expects(days_of(d, "db"), now, &cores, &weight));
	days_free(d);
}
END_TEST

START_TEST(damaged)
{
	json_t *file = json_pack("{s:{s:i, s:s}}", "web", "hour", 500000, "cores", "many");
	struct days *d;
	struct err e;

	ck_assert_int_eq(record_write(store, "days.json", 0600, file), 0);
	json_decref(file);
	ck_assert_int_eq(days_new(&d, store, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "days.json is damaged"));
	days_free(d);
}
END_TEST

static Suite *daily_suite(void)
{
	Suite *s = suite_create("daily");
	TCase *pure = tcase_create("pure"), *kept_ones = tcase_create("kept");

	tcase_add_test(pure, days_alike);
	tcase_add_test(pure, days_that_differ);
	tcase_add_test(pure, days_of_one_kind_of_hour);
	tcase_add_test(pure, hours_not_seen);
	tcase_add_test(pure, clocks);
	tcase_add_test(pure, as_json);
	tcase_add_loop_test(pure, refused, 0, (int)(sizeof(lies) / sizeof(lies[0])));
	tcase_add_test(pure, what_it_uses);
	suite_add_tcase(s, pure);
	tcase_add_checked_fixture(kept_ones, open_store, close_store);
	tcase_add_test(kept_ones, kept);
	tcase_add_test(kept_ones, damaged);
	suite_add_tcase(s, kept_ones);
	return s;
}

CHECK_MAIN(daily_suite)

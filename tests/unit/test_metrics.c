/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters as text and JSON, to the letter.  With METRICS_DUMP=DIR the text of all tables that
 * there are is left there, for tests/unit/metrics.py.
 */
#include <stdio.h>

#include "audit_log.h"
#include "check_main.h"
#include "classes.h"
#include "cleanup.h"
#include "contract_counters.h"
#include "memory_use.h"
#include "metrics.h"
#include "migration.h"
#include "vmm_signals.h"

struct toy_counters {
	_Atomic uint64_t left, bytes, right, run_ns;
	struct latency wait;
};

static const struct counter toy_rows[] = {
	COUNTER(struct toy_counters, left, .metric = "godwit_toy_turns", .label = "way",
		.label_value = "left", .help = "Turns."),
	COUNTER(struct toy_counters, bytes, .metric = "godwit_toy_bytes", .unit = COUNTER_BYTES,
		.help = "Bytes of toys."),
	COUNTER(struct toy_counters, right, .metric = "godwit_toy_turns", .label = "way",
		.label_value = "right", .help = "Turns."),
	COUNTER(struct toy_counters, run_ns, .metric = "godwit_toy_run_seconds",
		.unit = COUNTER_NANOSECONDS, .help = "Time."),
	COUNTER_LATENCY_OF(struct toy_counters, wait, .metric = "godwit_toy_wait_seconds",
			   .help = "Waits."),
};
static const struct counter_table toy_table = COUNTER_TABLE(struct toy_counters, toy_rows);

struct part_counters {
	_Atomic uint64_t level, off_ns;
};

static const struct counter part_rows[] = {
	COUNTER_GAUGE_OF(struct part_counters, level, .metric = "godwit_part_level",
			 .help = "How high it stands."),
	COUNTER_GAUGE_OF(struct part_counters, off_ns, .metric = "godwit_part_off_seconds",
			 .unit = COUNTER_SIGNED_NANOSECONDS, .help = "How far off it is."),
};
static const struct counter_table part_table = COUNTER_TABLE(struct part_counters, part_rows,
							     .is_machine = true);

static struct toy_counters toy[2];
static struct part_counters part;
static struct counter_reading three[] = {
	{ .id = "toy0", .table = &toy_table, .sum = &toy[0] },
	{ .id = "_part", .table = &part_table, .sum = &part },
	{ .id = "a\"b\\c\nd", .table = &toy_table, .sum = &toy[1] },
};
static const struct counter_readings readings = { .reading = three, .n = ARRAY_SIZE(three) };

static void setup(void)
{
	toy[0] = (struct toy_counters){ .left = 1, .bytes = UINT64_C(5000000000), .right = 2 };
	toy[0].run_ns = UINT64_C(12000000034);
	latency_add(&toy[0].wait, 50000);
	latency_add(&toy[0].wait, 1000001);
	latency_add(&toy[0].wait, UINT64_C(60000000000));
	toy[1] = (struct toy_counters){ .left = 3 };
	part = (struct part_counters){ 7, (uint64_t)-1500000000 };
}

#define DEVICE_0 "{device=\"toy0\""
#define DEVICE_1 "{device=\"a\\\"b\\\\c\\nd\""

#define TURNS                                                                                      \
	"godwit_toy_turns_total" DEVICE_0 ",way=\"left\"} 1\n"                                     \
	"godwit_toy_turns_total" DEVICE_0 ",way=\"right\"} 2\n"                                    \
	"godwit_toy_turns_total" DEVICE_1 ",way=\"left\"} 3\n"                                     \
	"godwit_toy_turns_total" DEVICE_1 ",way=\"right\"} 0\n"
#define BYTES                                                                                      \
	"godwit_toy_bytes_total" DEVICE_0 "} 5000000000\n"                                         \
	"godwit_toy_bytes_total" DEVICE_1 "} 0\n"
#define RUN                                                                                        \
	"godwit_toy_run_seconds_total" DEVICE_0 "} 12.000000034\n"                                 \
	"godwit_toy_run_seconds_total" DEVICE_1 "} 0.000000000\n"
#define BUCKET(device, le, n) "godwit_toy_wait_seconds_bucket" device ",le=\"" le "\"} " n "\n"
#define WAIT(device, a, b, c, sum)                                                                 \
	BUCKET(device, "5e-05", a)                                                                 \
	BUCKET(device, "0.0001", a)                                                                \
	BUCKET(device, "0.0002", a)                                                                \
	BUCKET(device, "0.0005", a)                                                                \
	BUCKET(device, "0.001", a)                                                                 \
	BUCKET(device, "0.002", b)                                                                 \
	BUCKET(device, "0.005", b)                                                                 \
	BUCKET(device, "0.01", b)                                                                  \
	BUCKET(device, "0.02", b)                                                                  \
	BUCKET(device, "0.05", b)                                                                  \
	BUCKET(device, "0.1", b)                                                                   \
	BUCKET(device, "0.2", b)                                                                   \
	BUCKET(device, "0.5", b)                                                                   \
	BUCKET(device, "1.0", b)                                                                   \
	BUCKET(device, "2.0", b)                                                                   \
	BUCKET(device, "5.0", b)                                                                   \
	BUCKET(device, "10.0", b)                                                                  \
	BUCKET(device, "+Inf", c)                                                                  \
	"godwit_toy_wait_seconds_sum" device "} " sum "\n"                                         \
	"godwit_toy_wait_seconds_count" device "} " c "\n"
#define WAITS                                                                                      \
	WAIT(DEVICE_0, "1", "2", "3", "60.001050001")                                              \
	WAIT(DEVICE_1, "0", "0", "0", "0.000000000")
#define LEVEL "godwit_part_level{device=\"part\"} 7\n"
#define OFF "godwit_part_off_seconds{device=\"part\"} -1.500000000\n"

START_TEST(test_prometheus)
{
	CLEANUP(free) char *text = metrics_text(METRICS_PROMETHEUS, &readings);

	ck_assert_str_eq(text, "# HELP godwit_toy_turns_total Turns.\n"
			       "# TYPE godwit_toy_turns_total counter\n" TURNS
			       "# HELP godwit_toy_bytes_total Bytes of toys.\n"
			       "# TYPE godwit_toy_bytes_total counter\n" BYTES
			       "# HELP godwit_toy_run_seconds_total Time.\n"
			       "# TYPE godwit_toy_run_seconds_total counter\n" RUN
			       "# HELP godwit_toy_wait_seconds Waits.\n"
			       "# TYPE godwit_toy_wait_seconds histogram\n" WAITS
			       "# HELP godwit_part_level How high it stands.\n"
			       "# TYPE godwit_part_level gauge\n" LEVEL
			       "# HELP godwit_part_off_seconds How far off it is.\n"
			       "# TYPE godwit_part_off_seconds gauge\n" OFF);
	ck_assert_str_eq(metrics_content_type[METRICS_PROMETHEUS],
			 "text/plain; version=0.0.4; charset=utf-8");
}
END_TEST

START_TEST(test_openmetrics)
{
	CLEANUP(free) char *text = metrics_text(METRICS_OPENMETRICS, &readings);

	ck_assert_str_eq(text, "# HELP godwit_toy_turns Turns.\n"
			       "# TYPE godwit_toy_turns counter\n" TURNS
			       "# HELP godwit_toy_bytes Bytes of toys.\n"
			       "# TYPE godwit_toy_bytes counter\n"
			       "# UNIT godwit_toy_bytes bytes\n" BYTES
			       "# HELP godwit_toy_run_seconds Time.\n"
			       "# TYPE godwit_toy_run_seconds counter\n"
			       "# UNIT godwit_toy_run_seconds seconds\n" RUN
			       "# HELP godwit_toy_wait_seconds Waits.\n"
			       "# TYPE godwit_toy_wait_seconds histogram\n"
			       "# UNIT godwit_toy_wait_seconds seconds\n" WAITS
			       "# HELP godwit_part_level How high it stands.\n"
			       "# TYPE godwit_part_level gauge\n" LEVEL
			       "# HELP godwit_part_off_seconds How far off it is.\n"
			       "# TYPE godwit_part_off_seconds gauge\n"
			       "# UNIT godwit_part_off_seconds seconds\n" OFF "# EOF\n");
	ck_assert_str_eq(metrics_content_type[METRICS_OPENMETRICS],
			 "application/openmetrics-text; version=1.0.0; charset=utf-8");
}
END_TEST

START_TEST(test_nothing)
{
	const struct counter_readings none = { 0 };
	CLEANUP(free) char *text = metrics_text(METRICS_PROMETHEUS, &none);
	CLEANUP(free) char *open = metrics_text(METRICS_OPENMETRICS, &none);
	json_t *json = metrics_json(&none);

	ck_assert_str_eq(text, "");
	ck_assert_str_eq(open, "# EOF\n");
	ck_assert(json_is_object(json) && !json_object_size(json));
	json_decref(json);
}
END_TEST

START_TEST(test_json)
{
	json_t *expected = json_pack(
		"{s: {s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s: {s:I, s:I}, "
		"s: {s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
		"toy0", "left", (json_int_t)1, "bytes", (json_int_t)5000000000, "right",
		(json_int_t)2, "run_ns", (json_int_t)12000000034, "wait_min", (json_int_t)50,
		"wait_max", (json_int_t)60000000, "wait_avg", (json_int_t)20000350, "_part",
		"level", (json_int_t)7, "off_ns", (json_int_t)-1500000000, "a\"b\\c\nd", "left",
		(json_int_t)3, "bytes", (json_int_t)0, "right", (json_int_t)0, "run_ns",
		(json_int_t)0, "wait_min", (json_int_t)0, "wait_max", (json_int_t)0, "wait_avg",
		(json_int_t)0);
	json_t *json = metrics_json(&readings);
	CLEANUP(free) char *text = json_dumps(json, JSON_INDENT(1));

	ck_assert_msg(json_equal(json, expected), "%s", text);
	json_decref(json);
	json_decref(expected);
}
END_TEST

static void dump(const char *dir, const char *name, enum metrics_format format,
		 const struct counter_readings *all)
{
	CLEANUP(free) char *text = metrics_text(format, all);
	CLEANUP(file) FILE *f = NULL;
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	ck_assert_msg(f && fputs(text, f) >= 0, "%s", path);
}

static const struct counter_table *const other_tables[] = { &audit_counter_table, &memory_use_table,
							    &migration_counter_table,
							    &move_counter_table,
							    &pressure_counter_table };

static const struct counter_table *table_of(size_t i)
{
	if (i < ndevice_classes)
		return device_classes[i]->counters;
	return other_tables[i - ndevice_classes];
}

/* All different. */
static void fill(const struct counter_reading *r, size_t i)
{
	const struct counter_table *t = r->table;

	for (size_t k = 0; k < t->block_bytes / sizeof(uint64_t); k++)
		((uint64_t *)r->sum)[k] = 1000000007 * i + k;
	for (size_t k = 0; k < t->n; k++)
		if (t->counter[k].unit == COUNTER_SIGNED_NANOSECONDS)
			*(int64_t *)((char *)r->sum + t->counter[k].offset) = -(int64_t)i;
}

/* Every table that there is, twice. */
START_TEST(test_dump)
{
	enum { TABLES_MAX = 64 };
	static struct counter_reading reading[2 * TABLES_MAX];
	struct counter_readings all = { .reading = reading };
	const char *dir = getenv("METRICS_DUMP");

	for (size_t i = 0; i < 2 * (ndevice_classes + ARRAY_SIZE(other_tables)); i++) {
		const struct counter_table *t = table_of(i / 2);
		struct counter_reading *r = &reading[all.n];

		if (!t)
			continue;
		r->table = t;
		snprintf(r->id, sizeof(r->id), "%sid \\%zu\"\n", t->is_machine ? "_" : "", i);
		r->sum = calloc(1, t->block_bytes);
		fill(r, i);
		all.n++;
	}
	ck_assert_uint_gt(all.n, 8);
	if (dir) {
		dump(dir, "prometheus", METRICS_PROMETHEUS, &all);
		dump(dir, "openmetrics", METRICS_OPENMETRICS, &all);
	}
	for (size_t i = 0; i < all.n; i++)
		free(reading[i].sum);
}
END_TEST

/* Hundredths of a percent are parts of one. */
START_TEST(test_ratio)
{
	_Atomic uint64_t busy = 1205;
	static const struct counter row = { .name = "busy",
					    .metric = "godwit_busy_ratio",
					    .help = "How busy it is.",
					    .kind = COUNTER_GAUGE,
					    .unit = COUNTER_TEN_THOUSANDTHS };
	const struct counter_table table = { .counter = &row, .n = 1, .block_bytes = sizeof(busy) };
	struct counter_reading one = { .id = "d", .table = &table, .sum = &busy };
	CLEANUP(free)
	char *text = metrics_text(METRICS_OPENMETRICS, &(struct counter_readings){ &one, 1 });

	ck_assert_str_eq(text, "# HELP godwit_busy_ratio How busy it is.\n"
			       "# TYPE godwit_busy_ratio gauge\n"
			       "# UNIT godwit_busy_ratio ratio\n"
			       "godwit_busy_ratio{device=\"d\"} 0.1205\n# EOF\n");
}
END_TEST

/* Those that are no layer's below. */
START_TEST(test_signals)
{
	static const struct counter_table *const tables[] = { &audit_counter_table,
							      &move_counter_table,
							      &pressure_counter_table };

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		check_counter_table("signals", tables[i]);
		for (size_t k = 0; k < ndevice_classes + ARRAY_SIZE(other_tables); k++)
			check_families_apart(tables[i], table_of(k));
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("metrics");
	TCase *tc = tcase_create("metrics");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_prometheus);
	tcase_add_test(tc, test_openmetrics);
	tcase_add_test(tc, test_nothing);
	tcase_add_test(tc, test_json);
	tcase_add_test(tc, test_dump);
	tcase_add_test(tc, test_ratio);
	tcase_add_test(tc, test_signals);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

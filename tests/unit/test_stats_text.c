/* SPDX-License-Identifier: Apache-2.0 */
/* Counters as a table for people. */
#include <math.h>
#include <stdlib.h>

#include "bits.h"
#include "check_main.h"
#include "stats_text.h"
#include "command/units.h"

static void check_printed(const char *metrics, bool utf8, const char *expected)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	stats_text_print(f, metrics, utf8);
	fclose(f);
	ck_assert_str_eq(text, expected);
	free(text);
}

#define BUCKETS(d)                                                                                 \
	"godwit_block_read_latency_seconds_bucket{device=\"" d "\",le=\"0.0001\"} 50\n"            \
	"godwit_block_read_latency_seconds_bucket{device=\"" d "\",le=\"0.001\"} 90\n"             \
	"godwit_block_read_latency_seconds_bucket{device=\"" d "\",le=\"2.0\"} 98\n"               \
	"godwit_block_read_latency_seconds_bucket{device=\"" d "\",le=\"+Inf\"} 100\n"             \
	"godwit_block_read_latency_seconds_sum{device=\"" d "\"} 3.000000000\n"                    \
	"godwit_block_read_latency_seconds_count{device=\"" d "\"} 100\n"

/* Each device once, in order of appearance; units as the names say. */
START_TEST(table)
{
	check_printed(
		"# HELP godwit_block_read_bytes_total Bytes that the guest read.\n"
		"# TYPE godwit_block_read_bytes_total counter\n"
		"godwit_block_read_bytes_total{device=\"disk0\"} 1610612736\n"
		"godwit_block_read_bytes_total{device=\"disk1\"} 0\n"
		"godwit_block_reads_total{device=\"disk0\"} 12345\n" BUCKETS(
			"disk0") "godwit_rng_bytes_total{device=\"rng\"} 64\n"
				 "godwit_vcpu_exits_total{device=\"vcpu0\",reason=\"hlt\"} 7\n"
				 "godwit_vcpu_run_seconds_total{device=\"vcpu0\"} 61.500000000\n",
		true,
		"  disk0\n"
		"    read bytes                   1.5 GiB\n"
		"    reads                          12345\n"
		"    read latency            "
		"average 30 ms  p50 under 100 µs  p95 1.3 s  p99 over 2.0 s\n"
		"  disk1\n"
		"    read bytes                   0 bytes\n"
		"  rng\n"
		"    bytes                       64 bytes\n"
		"  vcpu0\n"
		"    exits hlt                          7\n"
		"    run                           61.5 s\n");
}
END_TEST

START_TEST(rates_and_parts)
{
	check_printed("godwit_move_dirty_bytes_per_second{device=\"move\"} 1048576\n"
		      "godwit_pressure_avg10_ratio{device=\"pressure\",what=\"io-full\"} 0.1205\n",
		      false,
		      "  move\n"
		      "    dirty bytes per second         1 MiB\n"
		      "  pressure\n"
		      "    avg10 ratio io-full          12.05 %\n");
}
END_TEST

START_TEST(no_latency_yet)
{
	check_printed("godwit_block_read_latency_seconds_bucket{device=\"d\",le=\"+Inf\"} 0\n"
		      "godwit_block_read_latency_seconds_sum{device=\"d\"} 0.000000000\n"
		      "godwit_block_read_latency_seconds_count{device=\"d\"} 0\n" BUCKETS("e"),
		      false,
		      "  d\n"
		      "    read latency            none yet\n"
		      "  e\n"
		      "    read latency            "
		      "average 30 ms  p50 under 100 us  p95 1.3 s  p99 over 2.0 s\n");
}
END_TEST

START_TEST(nonsense)
{
	check_printed("", true, "");
	check_printed("\n\n{\nx\nx{\nx{a\nx{a=\nx{a=\"\nx{a=\"b\nx{a=\"b\"\nx 5\n", true, "");
	check_printed("{}", true, "  \n                                       0\n");
}
END_TEST

START_TEST(units)
{
	static const struct {
		double n;
		const char *by_1000, *by_1024, *bytes, *seconds;
	} cases[] = {
		{ 0, "0", "0", "0 bytes", "0 us" },
		{ 1, "1", "1", "1 bytes", "1.0 s" },
		{ 999, "999", "999", "999 bytes", "999.0 s" },
		{ 1000, "1.0k", "1.0k", "1000 bytes", "1000.0 s" },
		{ 1048576, "1.0M", "1.0M", "1 MiB", "1048576.0 s" },
		{ 12345678, "12M", "12M", "11.8 MiB", "12345678.0 s" },
		{ 0.0000312, "0", "0", "0.0 bytes", "31 us" },
		{ 0.0025, "0", "0", "0.0 bytes", "2.5 ms" },
		{ 0.139, "0", "0", "0.1 bytes", "139 ms" },
	};
	static const struct {
		double n;
		const char *text;
	} cores[] = { { 0.5, "0.5" }, { 4, "4" },   { 9.94, "9.9" },
		      { 12.5, "12" }, { NAN, "-" }, { 1500, "1.5k" } };
	char text[UNITS_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		units_short(text, cases[i].n, 1000);
		ck_assert_str_eq(text, cases[i].by_1000);
		units_short(text, cases[i].n, 1024);
		ck_assert_str_eq(text, cases[i].by_1024);
		units_bytes(text, cases[i].n);
		ck_assert_str_eq(text, cases[i].bytes);
		units_seconds(text, cases[i].n, false);
		ck_assert_str_eq(text, cases[i].seconds);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cores); i++) {
		units_cores(text, cores[i].n);
		ck_assert_str_eq(text, cores[i].text);
	}
	units_short(text, NAN, 1000);
	ck_assert_str_eq(text, "-");
	for (double n = 1; n < 1e20; n *= 1.01) {
		units_short(text, n, 1024);
		ck_assert_uint_le(strlen(text), UNITS_SHORT);
	}
}
END_TEST

static Suite *stats_text_suite(void)
{
	Suite *s = suite_create("stats_text");
	TCase *c = tcase_create("table");

	tcase_add_test(c, table);
	tcase_add_test(c, rates_and_parts);
	tcase_add_test(c, no_latency_yet);
	tcase_add_test(c, nonsense);
	tcase_add_test(c, units);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(stats_text_suite)

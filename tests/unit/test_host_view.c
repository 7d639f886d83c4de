/* SPDX-License-Identifier: Apache-2.0 */
/* What a host says of itself, in files as it has them. */
#include "bits.h"
#include "cgroup_tree.h"
#include "host_view.h"

START_TEST(cpus)
{
	struct cpu_ticks ticks[4];
	struct host_reading r;

	tree_new("", "");
	tree_put("proc/stat", "cpu  100 0 30 400 50 6 7 8 9 9\n"
			      "cpu0 10 1 2 30 4 5 6 7 8 9\n"
			      "cpu2 1 0 0 1 0 0 0 0 0 0\n"
			      "cpu4 1 0 0 1 0 0 0 0 0 0\n"
			      "intr 1 2 3\n");
	tree_put("sys/devices/system/cpu/cpu2/cpufreq", "");
	tree_put("sys/devices/system/cpu/cpu2/node3", "");
	tree_put("sys/devices/system/cpu/cpu0/online", "");
	host_read(&r, tree);
	ck_assert_uint_eq(r.all_ticks, 601);
	ck_assert_uint_eq(r.busy_ticks, 151);
	host_read_cpus(ticks, ARRAY_SIZE(ticks), tree);
	ck_assert_uint_eq(ticks[0].all, 65);
	ck_assert_uint_eq(ticks[0].busy, 31);
	ck_assert_uint_eq(ticks[1].all, 0);
	ck_assert_uint_eq(ticks[2].all, 2);
	ck_assert_uint_eq(ticks[3].all, 0);
	ck_assert_uint_eq(host_node_of(2, tree), 3);
	ck_assert_uint_eq(host_node_of(0, tree), 0);
	ck_assert_uint_eq(host_node_of(1, tree), 0);
	tree_remove();
}
END_TEST

START_TEST(memory)
{
	struct host_reading r;

	tree_new("", "");
	tree_put("proc/meminfo", "MemTotal:        4000 kB\nMemFree:          100 kB\n"
				 "MemAvailable:    3000 kB\nSwapCached:         1 kB\n"
				 "SwapTotal:        600 kB\nSwapFree:         500 kB\n");
	host_read(&r, tree);
	ck_assert_uint_eq(r.memory, 4000 * KIB);
	ck_assert_uint_eq(r.available, 3000 * KIB);
	ck_assert_uint_eq(r.swap, 500 * KIB);
	ck_assert_uint_eq(r.all_ticks, 0);
	tree_remove();
}
END_TEST

static Suite *host_view_suite(void)
{
	Suite *suite = suite_create("host_view");
	TCase *tcase = tcase_create("host_view");

	tcase_add_test(tcase, cpus);
	tcase_add_test(tcase, memory);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(host_view_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* The weight of another process's cgroup, in files that look like one. */
#include <errno.h>

#include "cgroup_tree.h"
#include "cpu_weight.h"

#define V2 "cgroup2 cgroup2 rw"

/* A file is written over from its beginning, where a real one takes each write as a whole. */
START_TEST(version_2)
{
	struct cpu_weight w = { .root = tree };

	tree_new("3:cpuset:/x\n0::/vm\n", V2);
	tree_put("cg/vm/cpu.weight", "100\n");
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 4), 0);
	ck_assert(w.held && w.was == 100 && w.set == 400);
	ck_assert_str_eq(cpu_weight_file(&w), "cpu.weight");
	tree_has("cg/vm/cpu.weight", "400\n");
	cpu_weight_put_back(&w);
	ck_assert(!w.held);
	tree_has("cg/vm/cpu.weight", "100\n");
	tree_remove();
}
END_TEST

/* Version 2 is mounted, too, but the processors are version 1's. */
START_TEST(version_1)
{
	struct cpu_weight w = { .root = tree };

	tree_new("2:cpuacct,cpu:/vm\n0::/vm\n",
		 "cgroup cgroup rw,cpuacct,cpu\n41 22 0:32 / /none rw - cgroup2 cgroup2 rw");
	tree_put("none/vm/cgroup.procs", "77\n");
	tree_put("cg/vm/cpu.shares", "1024\n");
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 1.5), 0);
	ck_assert_str_eq(cpu_weight_file(&w), "cpu.shares");
	tree_has("cg/vm/cpu.shares", "1536\n");
	cpu_weight_put_back(&w);
	tree_has("cg/vm/cpu.shares", "1024\n");
	tree_remove();
}
END_TEST

START_TEST(range)
{
	struct cpu_weight w = { .root = tree };

	tree_new("0::/vm\n", V2);
	tree_put("cg/vm/cpu.weight", "7");
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 1000), 0);
	tree_has("cg/vm/cpu.weight", "10000");
	w.held = false;
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 0.001), 0);
	ck_assert_uint_eq(w.set, 1);
	tree_remove();
}
END_TEST

/* What somebody else has set meanwhile stays. */
START_TEST(of_others)
{
	struct cpu_weight w = { .root = tree };

	tree_new("0::/vm\n", V2);
	tree_put("cg/vm/cpu.weight", "100");
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 2), 0);
	tree_put("cg/vm/cpu.weight", "300");
	cpu_weight_put_back(&w);
	tree_has("cg/vm/cpu.weight", "300");
	/* And so does what is as it should be. */
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 3), -EALREADY);
	ck_assert(!w.held);
	tree_remove();
}
END_TEST

START_TEST(not_its_own)
{
	static const char *const procs[] = { "", "1\n77\n", "77\n78\n", "78\n" };
	struct cpu_weight w = { .root = tree };

	tree_new("0::/vm\n", V2);
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 2), -ENOENT);
	tree_put("cg/vm/cpu.weight", "100");
	for (size_t i = 0; i < sizeof(procs) / sizeof(*procs); i++) {
		tree_put("cg/vm/cgroup.procs", "%s", procs[i]);
		ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 2), -ENOENT);
	}
	tree_put("cg/vm/cgroup.procs", "77\n");
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID + 1, 2), -ENOENT);
	tree_put("proc/77/cgroup", "0::/\n");
	ck_assert_int_eq(cpu_weight_set(&w, TREE_PID, 2), -ENOENT);
	cpu_weight_put_back(&w);
	tree_has("cg/vm/cpu.weight", "100");
	tree_remove();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpu_weight");
	TCase *tc = tcase_create("cpu_weight");

	tcase_add_test(tc, version_2);
	tcase_add_test(tc, version_1);
	tcase_add_test(tc, range);
	tcase_add_test(tc, of_others);
	tcase_add_test(tc, not_its_own);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

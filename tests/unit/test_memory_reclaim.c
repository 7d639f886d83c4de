/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the kernel, in files that look like those of a cgroup; it does nothing here. */
#include <errno.h>

#include "cgroup_tree.h"
#include "memory_reclaim.h"

static char folder[PATH_MAX];

static void setup(void)
{
	tree_new("4:memory:/other\n0::/vm\n", "cgroup2 cgroup2 rw");
	tree_put("cg/vm/memory.reclaim", "");
	tree_put("cg/vm/memory.current", "10485760\n");
}

START_TEST(asks)
{
	uint64_t took = 1;

	ck_assert(memory_reclaim_find(tree, TREE_PID, folder));
	ck_assert_int_eq(memory_reclaim(folder, 5 << 20, &took), 0);
	tree_has("cg/vm/memory.reclaim", "5242880");
	ck_assert_uint_eq(took, 0);
}
END_TEST

START_TEST(not_its_own)
{
	uint64_t took = 1;

	tree_put("cg/vm/cgroup.procs", "77\n78\n");
	ck_assert(!memory_reclaim_find(tree, TREE_PID, folder));
	tree_put("cg/vm/cgroup.procs", "77\n");
	ck_assert(memory_reclaim_find(tree, TREE_PID, folder));
	/* It is gone meanwhile; an old kernel. */
	tree_remove();
	ck_assert_int_eq(memory_reclaim(folder, 1 << 20, &took), -ENOENT);
	ck_assert_uint_eq(took, 0);
	tree_new("0::/vm\n", "cgroup2 cgroup2 rw");
	ck_assert(!memory_reclaim_find(tree, TREE_PID, folder));
	/* Version 1 knows no such thing. */
	tree_put("proc/77/cgroup", "1:memory:/vm\n");
	tree_put("cg/vm/memory.reclaim", "");
	ck_assert(!memory_reclaim_find(tree, TREE_PID, folder));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("memory_reclaim");
	TCase *tc = tcase_create("memory_reclaim");

	tcase_add_checked_fixture(tc, setup, tree_remove);
	tcase_add_test(tc, asks);
	tcase_add_test(tc, not_its_own);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

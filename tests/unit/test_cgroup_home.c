/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the kernel, in files that look like those of a cgroup; it does nothing here. */
#include <errno.h>
#include <unistd.h>

#include "cgroup_home.h"
#include "cgroup_tree.h"

static const char *const files[] = { "procs", "subtree_control" };
static const char *const limits[] = { "memory.max", "memory.high", "cpu.max",
				      "cpu.weight", "io.max",      "pids.max" };
static struct cgroup_home home;
static struct err e;

static void setup(void)
{
	tree_new("0::/vm\n", "cgroup2 cgroup2 rw");
	tree_put("proc/self/cgroup", "0::/vm\n");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), "cg/vm/cgroup.%s", files[i]);
		tree_put(name, "");
		snprintf(name, sizeof(name), "cg/vm/godwit-web/cgroup.%s", files[i]);
		tree_put(name, "");
	}
}

START_TEST(sets)
{
	const struct cgroup_limits l = { .path = "auto",
					 .memory_max = 1 << 30,
					 .memory_high = 1 << 29,
					 .cpu_max = 1500,
					 .cpu_weight = 50,
					 .io_max = "8:0 wbps=1048576",
					 .pids_max = 64,
					 .strict = true };
	static const char *const wanted[] = { "1073741824", "536870912",        "150000 100000",
					      "50",         "8:0 wbps=1048576", "64" };
	char name[64];

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		snprintf(name, sizeof(name), "cg/vm/godwit-web/%s", limits[i]);
		tree_put(name, "");
	}
	ck_assert_int_eq(cgroup_join(&home, tree, &l, "web", &e), 0);
	ck_assert(home.joined && home.made);
	tree_has("cg/vm/godwit-web/cgroup.procs", "0");
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		snprintf(name, sizeof(name), "cg/vm/godwit-web/%s", limits[i]);
		tree_has(name, wanted[i]);
	}
}
END_TEST

START_TEST(is_strict)
{
	struct cgroup_limits l = { .path = "/vm/godwit-web", .pids_max = 64 };

	ck_assert_int_eq(cgroup_join(&home, tree, &l, "web", &e), 0);
	ck_assert(home.joined && !home.made);
	tree_has("cg/vm/cgroup.subtree_control", "+pids");
	l.strict = true;
	ck_assert_int_eq(cgroup_join(&home, tree, &l, "web", &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "the controller pids is not handed on"));
	l.path = NULL;
	ck_assert_int_eq(cgroup_join(&home, tree, &l, "web", &e), 0);
	ck_assert(!home.joined);
}
END_TEST

START_TEST(needs_version_2)
{
	struct cgroup_limits l = { .path = "auto", .strict = true };

	tree_put("proc/self/cgroup", "4:memory:/vm\n");
	ck_assert_int_eq(cgroup_join(&home, tree, &l, "web", &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "not mounted here"));
	l.strict = false;
	ck_assert_int_eq(cgroup_join(&home, tree, &l, "web", &e), 0);
	ck_assert(!home.joined);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cgroup_home");
	TCase *tc = tcase_create("cgroup_home");

	tcase_add_checked_fixture(tc, setup, tree_remove);
	tcase_add_test(tc, sets);
	tcase_add_test(tc, is_strict);
	tcase_add_test(tc, needs_version_2);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

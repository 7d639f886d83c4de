/* SPDX-License-Identifier: Apache-2.0 */
/* A quota of a cgroup, in files that look like one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "cpu_quota.h"

static char top[] = "/tmp/test_cpu_quota.XXXXXX", proc[64], own[64];

static void put(const char *dir, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert(f && fputs(text, f) >= 0 && !fclose(f));
}

static void assert_has(const char *name, const char *wanted)
{
	char path[128], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", own, name);
	f = fopen(path, "r");
	ck_assert(f && fgets(text, sizeof(text), f) && !fclose(f));
	ck_assert_str_eq(text, wanted);
}

/* A file is written over from its beginning, where a real one takes each write as a whole. */
static void begin(const char *cgroup, const char *mount)
{
	char text[256];

	strcpy(top + strlen(top) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(proc, sizeof(proc), "%s/proc", top);
	ck_assert(!mkdir(proc, 0700));
	snprintf(proc, sizeof(proc), "%s/proc/self", top);
	snprintf(own, sizeof(own), "%s/vm", top);
	ck_assert(!mkdir(proc, 0700) && !mkdir(own, 0700));
	put(proc, "cgroup", cgroup);
	snprintf(text, sizeof(text), "20 1 0:5 / /proc rw - proc proc rw\n");
	snprintf(text + strlen(text), sizeof(text) - strlen(text), mount, "/");
	put(proc, "mountinfo", text);
	snprintf(text, sizeof(text), "%d\n", getpid());
	put(own, "cgroup.procs", text);
}

static void end(void)
{
	static const char *const files[] = { "proc/self/cgroup",
					     "proc/self/mountinfo",
					     "vm/cgroup.procs",
					     "vm/cpu.max",
					     "vm/cpu.cfs_quota_us",
					     "vm/cpu.cfs_period_us",
					     "vm/cpu.stat",
					     "vm",
					     "proc/self",
					     "proc",
					     "" };
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", top, files[i]);
		remove(path);
	}
}

START_TEST(version_2)
{
	struct cpu_quota q = { .root = top };

	begin("3:cpuset:/x\n0::/machine/vm\n",
	      "31 23 0:27 /machine %s rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
	put(own, "cpu.max", "max 100000\n");
	put(own, "cpu.stat", "usage_usec 7\nnr_throttled 1\nthrottled_usec 40\n");
	ck_assert_int_eq(cpu_quota_set(&q, 2500), 0);
	assert_has("cpu.max", "250000 100000");
	ck_assert_uint_eq(cpu_quota_throttled_ns(&q), 0);
	put(own, "cpu.stat", "usage_usec 9\nnr_throttled 2\nthrottled_usec 45\n");
	ck_assert_uint_eq(cpu_quota_throttled_ns(&q), 5000);
	put(own, "cpu.max", "");
	ck_assert_int_eq(cpu_quota_set(&q, 500), 0);
	assert_has("cpu.max", "50000 100000");
	put(own, "cpu.max", "");
	ck_assert_int_eq(cpu_quota_set(&q, 0), 0);
	assert_has("cpu.max", "max 100000");
	/* What was counted stays. */
	ck_assert_uint_eq(cpu_quota_throttled_ns(&q), 5000);
	end();
}
END_TEST

START_TEST(version_1)
{
	struct cpu_quota q = { .root = top };

	begin("2:cpuacct,cpu:/vm\n1:cpuset:/\n0::/\n",
	      "31 23 0:27 / %s rw - cgroup cgroup rw,cpuacct,cpu\n");
	put(own, "cpu.cfs_quota_us", "-1\n");
	put(own, "cpu.cfs_period_us", "50000\n");
	put(own, "cpu.stat", "nr_periods 3\nthrottled_time 1000\n");
	ck_assert_int_eq(cpu_quota_set(&q, 1500), 0);
	assert_has("cpu.cfs_quota_us", "75000");
	put(own, "cpu.stat", "nr_periods 3\nthrottled_time 1700\n");
	ck_assert_uint_eq(cpu_quota_throttled_ns(&q), 700);
	put(own, "cpu.cfs_quota_us", "");
	ck_assert_int_eq(cpu_quota_set(&q, 0), 0);
	assert_has("cpu.cfs_quota_us", "-1");
	end();
}
END_TEST

/* The administrator's quota is not raised. */
START_TEST(there_is_one)
{
	struct cpu_quota q = { .root = top };

	begin("0::/vm\n", "31 23 0:27 / %s rw - cgroup2 cgroup2 rw\n");
	put(own, "cpu.max", "20000 10000\n");
	ck_assert_int_eq(cpu_quota_set(&q, 3000), 0);
	assert_has("cpu.max", "20000 10000\n");
	ck_assert_int_eq(cpu_quota_set(&q, 1000), 0);
	assert_has("cpu.max", "10000 10000\n");
	ck_assert_int_eq(cpu_quota_set(&q, 0), 0);
	assert_has("cpu.max", "20000 10000\n");
	end();
}
END_TEST

START_TEST(not_its_own)
{
	struct cpu_quota q = { .root = top };
	char pids[64];

	begin("0::/vm\n", "31 23 0:27 / %s rw - cgroup2 cgroup2 rw\n");
	ck_assert_int_eq(cpu_quota_set(&q, 1000), -ENOENT); /* the root of all has no cpu.max */
	put(own, "cpu.max", "max 100000\n");
	snprintf(pids, sizeof(pids), "1\n%d\n", getpid());
	put(own, "cgroup.procs", pids);
	ck_assert_int_eq(cpu_quota_set(&q, 1000), -ENOENT);
	put(own, "cgroup.procs", "1\n");
	ck_assert_int_eq(cpu_quota_set(&q, 1000), -ENOENT);
	put(proc, "cgroup", "0::/vmx\n");
	ck_assert_int_eq(cpu_quota_set(&q, 1000), -ENOENT);
	put(proc, "cgroup", "");
	ck_assert_int_eq(cpu_quota_set(&q, 1000), -ENOENT);
	q.root = "/nonexistent";
	ck_assert_int_eq(cpu_quota_set(&q, 1000), -ENOENT);
	ck_assert_int_eq(cpu_quota_set(&q, 0), 0);
	assert_has("cpu.max", "max 100000\n");
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpu_quota");
	TCase *tc = tcase_create("cpu_quota");

	tcase_add_test(tc, version_2);
	tcase_add_test(tc, version_1);
	tcase_add_test(tc, there_is_one);
	tcase_add_test(tc, not_its_own);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

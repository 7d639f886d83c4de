/* SPDX-License-Identifier: Apache-2.0 */
/* The control group's pressure, from files as a host has them; and of a group that is made here. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_tree.h"
#include "check_main.h"
#include "cleanup.h"
#include "pressure.h"

static struct pressure_group group;
static struct pressure now;

#define MOUNTS                                                                                     \
	"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"                                                    \
	"31 22 0:26 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu\n"

static void setup(void)
{
	strcpy(tree, "/tmp/test_pressure.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(tree));
	group = (struct pressure_group){ .root = tree };
	tree_put("proc/self/cgroup", "4:memory:/other\n0::/vms/web\n");
	tree_put("proc/self/mountinfo",
		 MOUNTS "40 22 0:31 / /cg shared:9 rw - cgroup2 cgroup2 rw\n");
	tree_put("cg/vms/web/cpu.pressure",
		 "some avg10=12.05 avg60=3.00 avg300=0.10 total=9876543210\n"
		 "full avg10=1.00 avg60=1.00 avg300=1.00 total=1\n");
	tree_put("cg/vms/web/memory.pressure",
		 "some avg10=0.01 avg60=0.00 avg300=0.00 total=17\n"
		 "full avg10=100.00 avg60=0.00 avg300=0.00 total=16\n");
	tree_put("cg/vms/web/io.pressure", "some avg10=9.00 avg60=0.00 avg300=0.00 total=3\n"
					   "full avg10=0.50 avg60=0.00 avg300=0.00 total=2\n");
}

START_TEST(own_group)
{
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(pressure_read(&group, &now));
		ck_assert_uint_eq(now.stalled_ns[PRESSURE_CPU_SOME], UINT64_C(9876543210000));
		ck_assert_uint_eq(now.avg10[PRESSURE_CPU_SOME], 1205);
		ck_assert_uint_eq(now.stalled_ns[PRESSURE_MEMORY_SOME], 17000);
		ck_assert_uint_eq(now.avg10[PRESSURE_MEMORY_SOME], 1);
		ck_assert_uint_eq(now.stalled_ns[PRESSURE_MEMORY_FULL], 16000);
		ck_assert_uint_eq(now.avg10[PRESSURE_MEMORY_FULL], 10000);
		ck_assert_uint_eq(now.stalled_ns[PRESSURE_IO_FULL], 2000);
		ck_assert_uint_eq(now.avg10[PRESSURE_IO_FULL], 50);
	}
}
END_TEST

/* Only a part of the tree is mounted; the group is in it, or beside it. */
START_TEST(part_of_the_tree)
{
	tree_put("proc/self/mountinfo", MOUNTS "40 22 0:31 /v /cg rw - cgroup2 cgroup2 rw\n"
					       "41 22 0:31 /vms /cg/vms rw - cgroup2 cgroup2 rw\n");
	ck_assert(pressure_read(&group, &now));
	ck_assert_uint_eq(now.avg10[PRESSURE_CPU_SOME], 1205);
	tree_put("proc/self/cgroup", "0::/elsewhere\n");
	ck_assert(!pressure_read(&group, &now));
	tree_put("proc/self/cgroup", "0::/vms/web\n");
	ck_assert(pressure_read(&group, &now));
}
END_TEST

/* The host's own, or that of a container, is no VM's, unless nobody else is there. */
START_TEST(root_group)
{
	tree_put("proc/self/cgroup", "0::/\n");
	tree_put("cg/cpu.pressure", "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n");
	tree_put("cg/cgroup.procs", "1\n%d\n", (int)getpid());
	ck_assert(!pressure_read(&group, &now));
	group = (struct pressure_group){ .root = tree };
	tree_put("cg/cgroup.procs", "%d\n", (int)getpid());
	ck_assert(pressure_read(&group, &now));
	ck_assert_uint_eq(now.stalled_ns[PRESSURE_CPU_SOME], 5000);
	ck_assert_uint_eq(now.stalled_ns[PRESSURE_IO_FULL], 0);
}
END_TEST

START_TEST(nothing_to_read)
{
	tree_put("proc/self/cgroup", "0::/without\n");
	ck_assert(!pressure_read(&group, &now));
	tree_put("proc/self/cgroup", "3:cpu:/vms/web\n");
	ck_assert(!pressure_read(&group, &now));
	tree_put("proc/self/cgroup", "0::/vms/web\n");
	tree_put("proc/self/mountinfo", MOUNTS);
	group = (struct pressure_group){ .root = tree };
	ck_assert(!pressure_read(&group, &now));
	group = (struct pressure_group){ .root = "/nonexistent" };
	ck_assert(!pressure_read(&group, &now));
}
END_TEST

START_TEST(other_words)
{
	static const char *const damaged[] = { "", "some", "some avg10=x",
					       "some avg10=1.00 total=3",
					       "full avg10=1.00 avg60=0.00 avg300=0.00 total=3" };

	tree_put("cg/vms/web/memory.pressure", "");
	tree_put("cg/vms/web/io.pressure", "");
	for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
		tree_put("cg/vms/web/cpu.pressure", "%s", damaged[i]);
		ck_assert(!pressure_read(&group, &now));
	}
}
END_TEST

static bool join(const char *folder)
{
	char path[128];
	CLEANUP(file) FILE *f = NULL;

	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	f = fopen(path, "we");
	return f && fprintf(f, "%d\n", (int)getpid()) > 0 && !fflush(f);
}

/* Of the kernel itself, where it can be asked: in a group that is gone afterwards. */
START_TEST(real_group)
{
	struct pressure_group real = { .root = "" };
	char at[96], folder[128], file[160];

	snprintf(at, sizeof(at), "%s/real", tree);
	snprintf(folder, sizeof(folder), "%s/test_pressure_%d", at, (int)getpid());
	mkdir(at, 0755);
	if (mount("none", at, "cgroup2", 0, NULL)) {
		printf("skipped: cannot mount cgroup2: %s\n", strerror(errno));
		return;
	}
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	snprintf(file, sizeof(file), "%s/cpu.pressure", folder);
	if (access(file, R_OK) || !join(folder)) {
		printf("skipped: no pressure of groups, or no right to be in one\n");
	} else {
		ck_assert(pressure_read(&real, &now));
		ck_assert(strstr(real.folder, "/test_pressure_"));
		ck_assert(join(at));
	}
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_int_eq(umount(at), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pressure");
	TCase *t = tcase_create("pressure");

	tcase_add_checked_fixture(t, setup, tree_remove);
	tcase_add_test(t, own_group);
	tcase_add_test(t, part_of_the_tree);
	tcase_add_test(t, root_group);
	tcase_add_test(t, nothing_to_read);
	tcase_add_test(t, other_words);
	tcase_add_test(t, real_group);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

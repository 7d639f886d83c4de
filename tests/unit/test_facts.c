/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "check_main.h"
#include "cleanup.h"
#include "facts.h"
#include "kvm_caps.h"
#include "kvm_ring0.h"

/* A host made of files. */
struct root {
	char path[64];
	json_t *facts;
};

static void root_open(struct root *r)
{
	strcpy(r->path, "/tmp/test_facts.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->path));
}

static void root_write(const struct root *r, const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", r->path, name);
	for (char *slash = path + strlen(r->path) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void root_close(struct root *r)
{
	char command[128];

	json_decref(r->facts);
	snprintf(command, sizeof(command), "rm -rf %s", r->path);
	ck_assert_int_eq(system(command), 0);
}

static json_t *section(const struct root *r, const char *name)
{
	json_t *found = json_object_get(r->facts, name);

	ck_assert_msg(json_is_object(found), "no section %s", name);
	return found;
}

/* The value is this JSON text. */
static void check_json(const json_t *value, const char *expected)
{
	char *got = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	ck_assert_ptr_nonnull(got);
	ck_assert_str_eq(got, expected);
	free(got);
}

static void check_fact(const struct root *r, const char *name, const char *key,
		       const char *expected)
{
	const json_t *value = json_object_get(section(r, name), key);

	ck_assert_msg(value, "%s has no %s", name, key);
	check_json(value, expected);
}

#define NODE "/sys/devices/system/node"
#define CPU "/sys/devices/system/cpu"

START_TEST(memory)
{
	struct root r;

	root_open(&r);
	root_write(&r, "/proc/meminfo",
		   "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n"
		   "SwapTotal:  0 kB\n");
	root_write(&r, "/proc/sys/vm/overcommit_memory", "2\n");
	root_write(&r, "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	root_write(&r, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", "[always] never\n");
	root_write(&r, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "12\n");
	root_write(&r, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "7\n");
	r.facts = facts_collect(r.path);
	check_fact(&r, "memory", "total_bytes", "16777216");
	check_fact(&r, "memory", "available_bytes", "8388608");
	check_fact(&r, "memory", "swap_bytes", "0");
	ck_assert_ptr_null(json_object_get(section(&r, "memory"), "swap_free_bytes"));
	check_fact(&r, "memory", "overcommit", "\"never\"");
	check_fact(&r, "memory", "transparent_huge_pages", "\"madvise\"");
	check_fact(&r, "memory", "transparent_huge_pages_shared", "\"always\"");
	check_fact(&r, "memory", "huge_pages",
		   "[{\"page_bytes\":2097152,\"total\":12,\"free\":7}]");
	root_close(&r);
}
END_TEST

START_TEST(numa)
{
	struct root r;

	root_open(&r);
	root_write(&r, NODE "/online", "0-1,3\n");
	root_write(&r, NODE "/node0/cpulist", "0-3\n");
	root_write(&r, NODE "/node1/cpulist", "\n");
	root_write(&r, NODE "/node3/meminfo", "Node 3 MemTotal:  64 kB\nNode 3 MemFree:   32 kB\n");
	r.facts = facts_collect(r.path);
	check_fact(&r, "numa", "nodes",
		   "[{\"id\":0,\"cpus\":\"0-3\",\"huge_pages\":[]},"
		   "{\"id\":1,\"cpus\":\"\",\"huge_pages\":[]},"
		   "{\"id\":3,\"total_bytes\":65536,\"free_bytes\":32768,\"huge_pages\":[]}]");
	root_close(&r);
}
END_TEST

/* Two packages, three cores, one of them with two threads. */
START_TEST(processors)
{
	static const struct {
		const char *core, *package;
	} cpus[] = {
		{ "0-1\n", "0-2\n" }, { "0-1\n", "0-2\n" }, { "2\n", "0-2\n" }, { "3\n", "3\n" }
	};
	struct root r;
	char path[128];

	root_open(&r);
	root_write(&r, CPU "/present", "0-3,8-9\n");
	root_write(&r, CPU "/online", "0-3\n");
	for (unsigned i = 0; i < ARRAY_SIZE(cpus); i++) {
		snprintf(path, sizeof(path), CPU "/cpu%u/topology/core_cpus_list", i);
		root_write(&r, path, cpus[i].core);
		snprintf(path, sizeof(path), CPU "/cpu%u/topology/package_cpus_list", i);
		root_write(&r, path, cpus[i].package);
	}
	r.facts = facts_collect(r.path);
	check_fact(&r, "cpu", "present_cpus", "6");
	check_fact(&r, "cpu", "online_cpus", "4");
	check_fact(&r, "cpu", "cores", "3");
	check_fact(&r, "cpu", "packages", "2");
	root_close(&r);
}
END_TEST

START_TEST(cgroups_and_pressure)
{
	struct root r;

	root_open(&r);
	root_write(&r, "/proc/self/cgroup", "4:memory:/x\n0::/vms/web\n");
	root_write(&r, "/sys/fs/cgroup/cgroup.controllers", "cpu memory io\n");
	root_write(&r, "/sys/fs/cgroup/vms/web/cgroup.controllers", "cpu io\n");
	root_write(&r, "/proc/pressure/cpu", "some avg10=0.00\n");
	root_write(&r, "/proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n");
	r.facts = facts_collect(r.path);
	check_fact(&r, "cgroup", "v2", "true");
	check_fact(&r, "cgroup", "path", "\"/vms/web\"");
	check_fact(&r, "cgroup", "writable", "true");
	check_fact(&r, "cgroup", "controllers", "[\"cpu\",\"io\"]");
	check_fact(&r, "pressure", "cpu", "true");
	ck_assert(json_is_string(json_object_get(section(&r, "pressure"), "io")));
	ck_assert(json_is_string(json_object_get(section(&r, "network"), "new_taps")));
	json_decref(r.facts);
	root_write(&r, "/proc/self/status", "CapEff:\t0000000000001000\n"); /* CAP_NET_ADMIN */
	r.facts = facts_collect(r.path);
	check_fact(&r, "network", "new_taps", "true");
	root_close(&r);
}
END_TEST

/* What is not there is absent or says why; nothing is made up. */
START_TEST(nothing)
{
	static const char *const absent[][2] = {
		{ "memory", "total_bytes" }, { "memory", "overcommit" }, { "cpu", "cores" },
		{ "cpu", "online_cpus" },    { "cgroup", "path" },       { "network", "new_taps" },
	};
	struct root r;

	root_open(&r);
	r.facts = facts_collect(r.path);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		ck_assert_msg(!json_object_get(section(&r, absent[i][0]), absent[i][1]), "%s.%s",
			      absent[i][0], absent[i][1]);
	check_fact(&r, "numa", "nodes", "[]");
	check_fact(&r, "kvm", "modules", "[]");
	ck_assert(json_is_string(json_object_get(section(&r, "cgroup"), "v2")));
	ck_assert(json_is_string(json_object_get(section(&r, "pressure"), "memory")));
	root_close(&r);
}
END_TEST

START_TEST(this_host)
{
	struct root r = { .path = "", .facts = facts_collect("") };
	const json_t *kvm = section(&r, "kvm");
	const json_t *capabilities = json_object_get(kvm, "capabilities");

	ck_assert_int_gt(json_integer_value(json_object_get(section(&r, "cpu"), "online_cpus")), 0);
	ck_assert_int_gt(json_integer_value(json_object_get(section(&r, "memory"), "total_bytes")),
			 0);
	ck_assert_uint_eq(json_string_length(json_object_get(section(&r, "cpu"), "vendor")), 12);
	if (json_is_true(json_object_get(kvm, "usable"))) {
		check_fact(&r, "kvm", "api_version", "12");
		ck_assert(json_is_string(json_object_get(kvm, "ring0")));
		ck_assert_uint_gt(
			json_array_size(json_object_get(section(&r, "cpu"), "guest_flags")), 0);
	}
	if (capabilities)
		ck_assert_uint_eq(json_object_size(capabilities), nkvm_caps);
	json_decref(r.facts);
}
END_TEST

START_TEST(capability_table)
{
	for (size_t i = 0; i < nkvm_caps; i++) {
		ck_assert(!strncmp(kvm_caps[i].name, "KVM_CAP_", 8));
		for (size_t j = 0; j < i; j++) {
			ck_assert_int_ne(kvm_caps[i].cap, kvm_caps[j].cap);
			ck_assert_str_ne(kvm_caps[i].name, kvm_caps[j].name);
		}
	}
}
END_TEST

START_TEST(ring0)
{
	CLEANUP(fd) int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	enum kvm_ring0 found = 77;
	struct err e = { "" };

	ck_assert_int_lt(kvm_ring0(fd, &found, &e), 0);
	ck_assert_int_eq(found, 77);
	ck_assert_str_ne(e.text, "");
}
END_TEST

/* Verdicts */

static const struct {
	const char *facts, *verdict;
} verdicts[] = {
	{ "{\"kvm\":{\"usable\":true,\"ring0\":\"hardware\"},\"cpu\":{\"allowed_cpus\":4},"
	  "\"memory\":{\"available_bytes\":17179869184}}",
	  "{\"guests\":\"stock\",\"sentence\":\"Stock Linux kernels run here, in hardware; 4 CPUs "
	  "and 16.0 GiB of memory are free for them.\"}" },
	{ "{\"kvm\":{\"usable\":true,\"ring0\":\"hardware\"},\"cpu\":{\"allowed_cpus\":1},"
	  "\"memory\":{\"available_bytes\":805306368}}",
	  "{\"guests\":\"stock\",\"sentence\":\"Stock Linux kernels run here, in hardware; 1 CPU "
	  "and 0.8 GiB of memory are free for them.\"}" },
	{ "{\"kvm\":{\"usable\":true,\"ring0\":\"hardware\"}}",
	  "{\"guests\":\"stock\",\"sentence\":\"Stock Linux kernels run here, in hardware.\"}" },
	{ "{\"kvm\":{\"usable\":true,\"ring0\":\"emulator\"}}",
	  "{\"guests\":\"small\",\"sentence\":\"Only small programs that stay in ring 3 run well "
	  "here: " KVM_RING0_EMULATOR_MEANS ".\"}" },
	{ "{\"kvm\":{\"usable\":\"/dev/kvm is missing: do this\"}}",
	  "{\"guests\":\"none\",\"sentence\":\"No guest can run here: /dev/kvm is missing: do "
	  "this.\"}" },
	{ "{\"kvm\":{\"usable\":\"KVM lacks it\",\"ring0\":\"hardware\"}}",
	  "{\"guests\":\"none\",\"sentence\":\"No guest can run here: KVM lacks it.\"}" },
	{ "{}",
	  "{\"guests\":\"none\",\"sentence\":\"No guest can run here: KVM was not found.\"}" },
};

START_TEST(verdict)
{
	json_t *facts = json_loads(verdicts[_i].facts, 0, NULL);
	json_t *got;

	ck_assert_ptr_nonnull(facts);
	got = facts_verdict(facts);
	check_json(got, verdicts[_i].verdict);
	json_decref(got);
	json_decref(facts);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("facts");
	TCase *t = tcase_create("facts");

	tcase_add_test(t, memory);
	tcase_add_test(t, numa);
	tcase_add_test(t, processors);
	tcase_add_test(t, cgroups_and_pressure);
	tcase_add_test(t, nothing);
	tcase_add_test(t, this_host);
	tcase_add_test(t, capability_table);
	tcase_add_test(t, ring0);
	tcase_add_loop_test(t, verdict, 0, ARRAY_SIZE(verdicts));
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a guest: in its configuration, over its memory, and byte by byte in its tables. */
#include <errno.h>
#include <stdio.h>

#include "acpi_numa.h"
#include "bits.h"
#include "check_main.h"
#include "config_of.h"
#include "numa.h"
#include "platform.h"

static uint8_t data[16384];

static void refuses(const char *rest, const char *sentence)
{
	struct config c = { .json = NULL };
	struct err e = { "" };
	char text[256];

	snprintf(text, sizeof(text), "{" KERNEL ",'cpus':{'boot_vcpus':4},'numa':%s}", rest);
	ck_assert_msg(load(&c, text, &e) == -EINVAL, "%s", text);
	ck_assert_str_eq(e.text, sentence);
}

START_TEST(configured)
{
	static const uint8_t far[] = { 10, 30, 20, 30, 10, 15, 20, 16, 10 };
	struct config c, again;
	struct err e;

	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':4},'memory':{'size':'1G'},'numa':["
			 "{'guest_numa_id':2,'distances':[{'destination':1,'distance':16}]},"
			 "{'guest_numa_id':0,'cpus':[0,1],"
			 "'distances':[{'destination':1,'distance':30}]},"
			 "{'guest_numa_id':1,'cpus':[2],'memory':'256M',"
			 "'distances':[{'destination':2,'distance':15}]}]}");
	ck_assert_uint_eq(c.numa.n, 3);
	ck_assert_mem_eq(c.numa.distance, far, sizeof(far));
	ck_assert_uint_eq(c.numa.node[0].memory, 384 * MIB);
	ck_assert_uint_eq(c.numa.node[1].memory, 256 * MIB);
	ck_assert_uint_eq(c.numa.node[2].memory, 384 * MIB);
	ck_assert_uint_eq(json_array_size(c.numa.node[0].cpus), 2);
	ck_assert_ptr_null(c.numa.node[2].cpus);
	ck_assert_msg(!config_load(&again, c.json, &e), "%s", e.text);
	ck_assert(json_equal(c.json, again.json));
	ck_assert_mem_eq(again.numa.distance, far, sizeof(far));
	config_free(&again);
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'numa':null}");
	ck_assert_uint_eq(c.numa.n, 0);
	config_free(&c);
}
END_TEST

START_TEST(refused)
{
	refuses("{}", "numa: must be an array of objects, [ { ... } ]");
	refuses("[{}]", "numa[0]: guest_numa_id is missing and must be given");
	refuses("[{'guest_numa_id':1}]",
		"numa: guest_numa_id 1 is too high; number the 1 nodes from 0 on");
	refuses("[{'guest_numa_id':0},{'guest_numa_id':0}]",
		"numa: guest_numa_id 0 is there twice; number the 2 nodes from 0 on");
	refuses("[{'guest_numa_id':0,'cpus':[4]}]",
		"numa: node 0: there is no vCPU 4; the last is 3");
	refuses("[{'guest_numa_id':0,'cpus':[1]},{'guest_numa_id':1,'cpus':[1]}]",
		"numa: vCPU 1 is in two nodes");
	refuses("[{'guest_numa_id':0,'distances':[{'destination':1,'distance':20}]}]",
		"numa: node 0: there is no node 1");
	refuses("[{'guest_numa_id':0,'distances':[{'destination':0,'distance':11}]}]",
		"numa: node 0: the distance to node 0 must be above 10, and to itself 10");
	refuses("[{'guest_numa_id':0,'memory':'1G'}]",
		"numa: the memory of the nodes must be whole pages, and no more than the guest's "
		"512 MiB together");
	refuses("[{'guest_numa_id':0,'memory':'511M'}]",
		"numa: 1024 KiB of the guest's memory are in no node; leave memory out of one of "
		"them");
	refuses("[{'guest_numa_id':0,'memory_zones':['a']}]",
		"numa[0]: memory_zones is not supported by this version; use memory");
}
END_TEST

/* What the guest knows is not another on another host. */
START_TEST(elsewhere)
{
	json_auto_t *saved = json_of("{'numa':[]}"), *local = json_of("{'numa':[{}]}");
	struct err e = { "" };

	ck_assert_int_eq(config_relocate(saved, local, &e), -EINVAL);
	ck_assert_str_eq(e.text, "numa: the guest knows what it has; leave it out");
}
END_TEST

/* 5 GiB in two nodes, of which the first ends behind the PCI hole, and some more in front of it. */
START_TEST(divided)
{
	static const struct acpi_range wanted[] = {
		{ .base = 0, .bytes = UINT64_C(3) * GIB, .node = 0 },
		{ .base = UINT64_C(4) * GIB, .bytes = GIB / 2, .node = 0 },
		{ .base = UINT64_C(4) * GIB + GIB / 2, .bytes = GIB + GIB / 2, .node = 2 },
		{ .base = UINT64_C(8) * GIB, .bytes = GIB, .node = 0, .pluggable = true },
	};
	struct guest_mem mem = { .region = { { .base = 0, .size_bytes = PLATFORM_LOW_RAM_END },
					     { .base = UINT64_C(4) * GIB,
					       .size_bytes = UINT64_C(2) * GIB },
					     { .base = UINT64_C(8) * GIB,
					       .size_bytes = GIB,
					       .block_bytes = 2 * MIB } },
				 .nregions = 3 };
	struct acpi_machine acpi = { .ncpus = 4 };
	struct config c;
	struct numa n;

	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':1,'max_vcpus':4},"
			 "'memory':{'size':'5G','reserve':false},'numa':["
			 "{'guest_numa_id':0,'memory':'3584M'},"
			 "{'guest_numa_id':1,'memory':0,'cpus':[3]},"
			 "{'guest_numa_id':2,'cpus':[1]}]}");
	numa_describe(&n, &c, &mem, &acpi);
	ck_assert_uint_eq(acpi.nnodes, 3);
	ck_assert_uint_eq(acpi.nranges, ARRAY_SIZE(wanted));
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		ck_assert_uint_eq(acpi.range[i].base, wanted[i].base);
		ck_assert_uint_eq(acpi.range[i].bytes, wanted[i].bytes);
		ck_assert_uint_eq(acpi.range[i].node, wanted[i].node);
		ck_assert(acpi.range[i].pluggable == wanted[i].pluggable);
	}
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(acpi.cpu_node[i], i == 1 ? 2 : i == 3 ? 1 : 0);
	config_free(&c);
}
END_TEST

START_TEST(bytes)
{
	static const uint32_t apic_id[] = { 7, 254, 4000 }, node[] = { 0, 0x123, 1 };
	static const struct acpi_range range[] = {
		{ .base = 0, .bytes = 0xc0000000, .node = 1 },
		{ .base = UINT64_C(0x1122334455667000),
		  .bytes = 0x8000,
		  .node = 0x203,
		  .pluggable = true },
	};
	static const uint8_t srat[] = {
		1,    0,    0,    0,    0,    0, 0,    0,  0, 0, 0, 0,  0,  16,   0,   7,    1,
		0,    0,    0,    0,    0,    0, 0,    0,  0, 0, 0, 0,  16, 0x23, 254, 1,    0,
		0,    0,    0,    1,    0,    0, 0,    0,  0, 0, 2, 24, 0,  0,    1,   0,    0,
		0,    0xa0, 0xf,  0,    0,    1, 0,    0,  0, 0, 0, 0,  0,  0,    0,   0,    0,
		1,    40,   1,    0,    0,    0, 0,    0,  0, 0, 0, 0,  0,  0,    0,   0,    0,
		0,    0,    0xc0, 0,    0,    0, 0,    0,  0, 0, 0, 1,  0,  0,    0,   0,    0,
		0,    0,    0,    0,    0,    0, 1,    40, 3, 2, 0, 0,  0,  0,    0,   0x70, 0x66,
		0x55, 0x44, 0x33, 0x22, 0x11, 0, 0x80, 0,  0, 0, 0, 0,  0,  0,    0,   0,    0,
		3,    0,    0,    0,    0,    0, 0,    0,  0, 0, 0, 0,
	};
	static const uint8_t slit[] = { 2, 0, 0, 0, 0, 0, 0, 0, 10, 21, 31, 10 };
	const struct acpi_machine m = { .ncpus = 3,
					.apic_id = apic_id,
					.cpu_node = node,
					.range = range,
					.nranges = 2,
					.distance = slit + 8,
					.nnodes = 2 };
	struct aml a = { .data = data, .capacity = sizeof(data) };

	acpi_numa_srat(&a, &m);
	ck_assert(!a.overflow);
	ck_assert_uint_eq(a.len, sizeof(srat));
	ck_assert_mem_eq(data, srat, sizeof(srat));
	a.len = 0;
	acpi_numa_slit(&a, &m);
	ck_assert_uint_eq(a.len, sizeof(slit));
	ck_assert_mem_eq(data, slit, sizeof(slit));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("numa");
	TCase *tc = tcase_create("numa");

	tcase_add_test(tc, configured);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, elsewhere);
	tcase_add_test(tc, divided);
	tcase_add_test(tc, bytes);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

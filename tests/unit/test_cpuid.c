/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "cpuid.h"

enum { INTEL, AMD };

static void add(struct cpuid *c, uint32_t leaf, uint32_t index, uint32_t eax, uint32_t ebx,
		uint32_t ecx, uint32_t edx)
{
	c->entry[c->nent++] = (struct kvm_cpuid_entry2){
		.function = leaf, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx
	};
}

/* A host of four threads per core and 64 processors, none of which may shine through. */
static void host(struct cpuid *c, int vendor, uint32_t highest)
{
	*c = (struct cpuid){ 0 };
	if (vendor == INTEL)
		add(c, 0, 0, highest, 0x756e6547, 0x6c65746e, 0x49656e69);
	else
		add(c, 0, 0, highest, 0x68747541, 0x444d4163, 0x69746e65);
	add(c, 1, 0, 0x000906ea, 0x55400800, 0x80000000, 0x1783fbff);
	if (vendor == INTEL) {
		add(c, 4, 0, 0xfc01c121, 0x01c0003f, 63, 0);
		add(c, 4, 1, 0xfc01c122, 0x01c0003f, 63, 0);
		add(c, 4, 2, 0xfc01c143, 0x00c0003f, 1023, 0);
		add(c, 4, 3, 0xfc1fc163, 0x03c0003f, 8191, 6);
		add(c, 4, 4, 0, 0, 0, 0);
	}
	if (highest >= 0xb)
		for (uint32_t i = 0; i < 2; i++)
			add(c, 0xb, i, 7, 64, 0x100 | i, 0x55);
	add(c, 0x80000001, 0, 0, 0, 0x3, 0);
	add(c, 0x80000008, 0, 0x3030, 0, 0x703f, 0);
	if (vendor == AMD) {
		add(c, 0x8000001d, 0, 0x0000c121, 0x01c0003f, 63, 0);
		add(c, 0x8000001d, 1, 0x000fc163, 0x03c0003f, 8191, 1);
		add(c, 0x8000001d, 2, 0, 0, 0, 0);
		add(c, 0x8000001e, 0, 0x55, 0x0315, 0x0102, 0);
	}
}

static const struct kvm_cpuid_entry2 *leaf(const struct cpuid *c, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entry[i].function == function && c->entry[i].index == index)
			return &c->entry[i];
	ck_abort_msg("no leaf %#x, %u", function, index);
	return NULL;
}

static bool has_leaf(const struct cpuid *c, uint32_t function)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entry[i].function == function)
			return true;
	return false;
}

static const struct config_cpus plain1 = { .boot_vcpus = 1, .max_vcpus = 1, .max_phys_bits = 46 };
static const struct config_cpus plain4 = { .boot_vcpus = 4, .max_vcpus = 4 };
static const struct config_cpus plain255 = { .boot_vcpus = 255, .max_vcpus = 255 };
/* 2 packages of 2 dies of 3 cores of 2 threads */
static const struct config_cpus nested = { .boot_vcpus = 24,
					   .max_vcpus = 24,
					   .topology = { 2, 3, 2, 2 } };
/* As many packages as processors: ids are dense */
static const struct config_cpus packages = { .boot_vcpus = 3,
					     .max_vcpus = 3,
					     .topology = { 1, 1, 1, 3 } };
/* 3 threads and 5 cores leave gaps: the last of 255 has an id beyond 8 bits */
static const struct config_cpus sparse = { .boot_vcpus = 255,
					   .max_vcpus = 255,
					   .topology = { 3, 5, 1, 17 } };

START_TEST(apic_ids)
{
	for (unsigned i = 0; i < 255; i++)
		ck_assert_uint_eq(cpuid_apic_id(&plain255, i), i);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(cpuid_apic_id(&packages, i), i);
	ck_assert_uint_eq(cpuid_apic_id(&nested, 0), 0);
	ck_assert_uint_eq(cpuid_apic_id(&nested, 1), 1);
	ck_assert_uint_eq(cpuid_apic_id(&nested, 5), 5); /* core 2, thread 1 */
	ck_assert_uint_eq(cpuid_apic_id(&nested, 6), 8); /* die 1 */
	ck_assert_uint_eq(cpuid_apic_id(&nested, 12), 16); /* package 1 */
	ck_assert_uint_eq(cpuid_apic_id(&nested, 23), 16 + 8 + 4 + 1);
	ck_assert_uint_eq(cpuid_apic_id(&sparse, 254), 16 << 5 | 4 << 2 | 2);
}
END_TEST

START_TEST(leaf_1)
{
	struct cpuid c;

	for (unsigned i = 0; i < 4; i++) {
		host(&c, INTEL, 0x1f);
		cpuid_for_vcpu(&c, &plain4, i);
		ck_assert_uint_eq(leaf(&c, 1, 0)->ebx, i << 24 | 4 << 16 | 0x0800);
		ck_assert_uint_eq(leaf(&c, 1, 0)->edx, 0x1783fbff);
		ck_assert_uint_eq(leaf(&c, 1, 0)->ecx, UINT32_C(0x80200000));
	}
	host(&c, INTEL, 0x1f);
	cpuid_for_vcpu(&c, &plain1, 0);
	ck_assert_uint_eq(leaf(&c, 1, 0)->ebx, 1 << 16 | 0x0800);
	ck_assert_uint_eq(leaf(&c, 1, 0)->edx, 0x0783fbff);
	host(&c, INTEL, 0x1f);
	cpuid_for_vcpu(&c, &plain255, 254);
	ck_assert_uint_eq(leaf(&c, 1, 0)->ebx, UINT32_C(254) << 24 | 255 << 16 | 0x0800);
	host(&c, INTEL, 0x1f);
	cpuid_for_vcpu(&c, &sparse, 254);
	ck_assert_uint_eq(leaf(&c, 1, 0)->ebx >> 24, (16 << 5 | 4 << 2 | 2) & 0xff);
}
END_TEST

static void check_level(const struct kvm_cpuid_entry2 *x, uint32_t shift, uint32_t n, uint32_t type,
			uint32_t id)
{
	ck_assert_uint_eq(x->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	ck_assert_uint_eq(x->eax, shift);
	ck_assert_uint_eq(x->ebx, n);
	ck_assert_uint_eq(x->ecx, type << 8 | x->index);
	ck_assert_uint_eq(x->edx, id);
}

START_TEST(topology_leaves)
{
	struct cpuid c;

	host(&c, INTEL, 0x1f);
	cpuid_for_vcpu(&c, &nested, 23);
	check_level(leaf(&c, 0xb, 0), 1, 2, 1, 29);
	check_level(leaf(&c, 0xb, 1), 4, 12, 2, 29);
	check_level(leaf(&c, 0xb, 2), 0, 0, 0, 29);
	check_level(leaf(&c, 0x1f, 0), 1, 2, 1, 29);
	check_level(leaf(&c, 0x1f, 1), 3, 6, 2, 29);
	check_level(leaf(&c, 0x1f, 2), 4, 12, 5, 29);
	check_level(leaf(&c, 0x1f, 3), 0, 0, 0, 29);

	host(&c, INTEL, 0x16);
	cpuid_for_vcpu(&c, &plain4, 2);
	check_level(leaf(&c, 0xb, 0), 0, 1, 1, 2);
	check_level(leaf(&c, 0xb, 1), 2, 4, 2, 2);
	ck_assert(!has_leaf(&c, 0x1f));

	host(&c, AMD, 0x7);
	cpuid_for_vcpu(&c, &sparse, 254);
	ck_assert_uint_eq(leaf(&c, 0, 0)->eax, 0xb);
	check_level(leaf(&c, 0xb, 1), 5, 15, 2, 16 << 5 | 4 << 2 | 2);
}
END_TEST

START_TEST(intel_caches)
{
	struct cpuid c;

	host(&c, INTEL, 0x1f);
	cpuid_for_vcpu(&c, &nested, 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(leaf(&c, 4, i)->eax >> 14 & 0xfff, 1);
	ck_assert_uint_eq(leaf(&c, 4, 3)->eax >> 14 & 0xfff, 7);
	ck_assert_uint_eq(leaf(&c, 4, 3)->eax >> 26, 7);
	ck_assert_uint_eq(leaf(&c, 4, 3)->eax & 0x3fff, 0xfc1fc163 & 0x3fff);
	ck_assert_uint_eq(leaf(&c, 4, 4)->eax, 0);
	host(&c, INTEL, 0x1f);
	cpuid_for_vcpu(&c, &plain255, 0);
	ck_assert_uint_eq(leaf(&c, 4, 3)->eax >> 14 & 0xfff, 255);
	ck_assert_uint_eq(leaf(&c, 4, 3)->eax >> 26, 63); /* all the field holds */
	ck_assert_uint_eq(leaf(&c, 0x80000008, 0)->ecx, 0x703f); /* reserved on Intel */
}
END_TEST

START_TEST(amd_leaves)
{
	struct cpuid c;

	host(&c, AMD, 0x10);
	cpuid_for_vcpu(&c, &nested, 23);
	ck_assert_uint_eq(leaf(&c, 0x80000001, 0)->ecx, 3);
	ck_assert_uint_eq(leaf(&c, 0x80000008, 0)->ecx, 4 << 12 | 11);
	ck_assert_uint_eq(leaf(&c, 0x8000001d, 0)->eax, 1 << 14 | 0x121);
	ck_assert_uint_eq(leaf(&c, 0x8000001d, 1)->eax, 7 << 14 | 0x163);
	ck_assert_uint_eq(leaf(&c, 0x8000001d, 2)->eax, 0);
	ck_assert_uint_eq(leaf(&c, 0x8000001e, 0)->eax, 29);
	ck_assert_uint_eq(leaf(&c, 0x8000001e, 0)->ebx, 1 << 8 | 14);
	ck_assert_uint_eq(leaf(&c, 0x8000001e, 0)->ecx, 1 << 8 | 3);
	host(&c, AMD, 0x10);
	cpuid_for_vcpu(&c, &plain1, 0);
	ck_assert_uint_eq(leaf(&c, 0x80000001, 0)->ecx, 1); /* a single core */
	ck_assert_uint_eq(leaf(&c, 0x80000008, 0)->ecx, 0);
}
END_TEST

START_TEST(phys_bits)
{
	static const struct {
		uint32_t host, max, guest;
	} cases[] = { { 0x302e, 52, 0x302e }, { 0x3030, 46, 0x302e }, { 0x2f3934, 36, 0x243924 } };
	struct cpuid c;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_cpus cpus = plain1;

		cpus.max_phys_bits = (uint8_t)cases[i].max;
		c = (struct cpuid){ 0 };
		add(&c, 0x80000008, 0, cases[i].host, 0, 0, 0);
		cpuid_for_vcpu(&c, &cpus, 0);
		ck_assert_uint_eq(leaf(&c, 0x80000008, 0)->eax, cases[i].guest);
	}
}
END_TEST

START_TEST(full_table)
{
	struct cpuid c;

	host(&c, INTEL, 0x1f);
	while (c.nent < CPUID_ENTRIES_MAX)
		add(&c, 0x40000000, 0, 0, 0, 0, 0);
	cpuid_for_vcpu(&c, &nested, 1);
	ck_assert_uint_eq(c.nent, CPUID_ENTRIES_MAX);
	c = (struct cpuid){ 0 };
	cpuid_for_vcpu(&c, &nested, 1);
}
END_TEST

START_TEST(not_kvm)
{
	struct err e = { "" };
	struct cpuid c;

	ck_assert_int_lt(cpuid_supported(-1, &c, &e), 0);
	ck_assert_str_ne(e.text, "");
}
END_TEST

START_TEST(this_host)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct err e = { "" };
	struct cpuid c;

	if (fd < 0)
		return;
	ck_assert_msg(!cpuid_supported(fd, &c, &e), "%s", e.text);
	ck_assert_uint_ge(leaf(&c, 0, 0)->eax, 1);
	ck_assert_uint_eq(leaf(&c, 0x40000000, 0)->ebx, 0x4b4d564b); /* "KVMK" */
	cpuid_for_vcpu(&c, &plain4, 3);
	ck_assert_uint_eq(leaf(&c, 1, 0)->ebx >> 24, 3);
	ck_assert_uint_eq(leaf(&c, 1, 0)->ecx >> 31, 1);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpuid");
	TCase *t = tcase_create("cpuid");

	tcase_add_test(t, apic_ids);
	tcase_add_test(t, leaf_1);
	tcase_add_test(t, topology_leaves);
	tcase_add_test(t, intel_caches);
	tcase_add_test(t, amd_leaves);
	tcase_add_test(t, phys_bits);
	tcase_add_test(t, full_table);
	tcase_add_test(t, not_kvm);
	tcase_add_test(t, this_host);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "cleanup.h"
#include "config_of.h"
#include "cpu_compat.h"
#include "cpu_host.h"
#include "kvm.h"

#define FEATURES LEVEL_3 "hypervisor x2apic rdtscp xcr0_x87 xcr0_sse xcr0_avx"

/* A guest, and a host that is just enough for it. */
struct pair {
	struct config config;
	struct cpuid cpuid;
	struct cpu_compat_guest guest;
	struct cpu_compat_host host;
	json_t *needs;
};

static const uint32_t guest_msrs[] = { 0x10, 0x48, 0x174, 0xda0, 0x40000000, 0xc0000103 };
static uint32_t host_msrs[] = { 0x10, 0x174, 0x175, 0xc0000103 };

static void pair_open(struct pair *p, const char *config)
{
	*p = (struct pair){ 0 };
	assert_loads(&p->config, config);
	cpu_host(&p->cpuid, FEATURES);
	p->guest = (struct cpu_compat_guest){ .config = &p->config,
					      .cpuid = p->cpuid.entry,
					      .ncpuid = p->cpuid.nent,
					      .msr = guest_msrs,
					      .nmsrs = ARRAY_SIZE(guest_msrs),
					      .xsave_bytes = 4096,
					      .tsc_khz = 2900000 };
	p->host = (struct cpu_compat_host){ .features = features_of(FEATURES),
					    .vendor = "GenuineIntel",
					    .phys_bits = p->config.cpus.max_phys_bits,
					    .max_vcpus = 4,
					    .xsave_bytes = 4096,
					    .tsc_khz = 2900000,
					    .msr = host_msrs,
					    .nmsrs = ARRAY_SIZE(host_msrs),
					    .caps = (uint32_t)BIT(ncpu_compat_caps) - 1,
					    .free_bytes = GIB };
	p->needs = cpu_compat_needs(&p->guest);
	ck_assert_ptr_nonnull(p->needs);
}

static void pair_close(struct pair *p)
{
	json_decref(p->needs);
	config_free(&p->config);
}

#define ONE_GIB                                                                                    \
	"{" KERNEL ",'cpus':{'boot_vcpus':4,'max_phys_bits':36},'memory':{'size':'1G',"            \
	"'reserve':true"
#define PLAIN ONE_GIB "}}"

/* The sentences, a line each. */
static void assert_blocked(const json_t *needs, const struct cpu_compat_host *host,
			   const char *expected)
{
	json_t *blockers = json_array(), *sentence;
	char text[4096] = "";
	size_t i;
	int r = cpu_compat_check(needs, host, blockers);

	json_array_foreach(blockers, i, sentence)
	{
		const char *said = json_string_value(sentence);

		ck_assert_ptr_nonnull(said);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "\n" : "",
			 said);
	}
	ck_assert_str_eq(text, expected);
	ck_assert_int_eq(r, *expected ? -ENOTSUP : 0);
	json_decref(blockers);
}

static void assert_pair(struct pair *p, const char *expected)
{
	assert_blocked(p->needs, &p->host, expected);
}

START_TEST(just_enough)
{
	struct pair p;

	pair_open(&p, PLAIN);
	assert_pair(&p, "");
	pair_close(&p);
}
END_TEST

START_TEST(features)
{
	struct pair p;

	pair_open(&p, PLAIN);
	p.host.features = features_of(LEVEL_2 "hypervisor x2apic rdtscp xsave xcr0_x87 xcr0_sse "
					      "abm bmi1 bmi2 f16c movbe fma");
	assert_pair(&p, "destination lacks avx\ndestination lacks avx2\n"
			"destination lacks xcr0_avx");
	pair_close(&p);
	pair_open(&p, PLAIN);
	p.host.features.word[CPU_80000007_EDX] = UINT32_MAX; /* more does no harm */
	assert_pair(&p, "");
	strcpy(p.host.vendor, "AuthenticAMD");
	assert_pair(&p, "destination's processor is by AuthenticAMD, the guest's by GenuineIntel");
	pair_close(&p);
}
END_TEST

START_TEST(unnamed_feature)
{
	struct pair p;

	pair_open(&p, PLAIN);
	for (unsigned i = 0; i < p.cpuid.nent; i++)
		if (p.cpuid.entry[i].function == 0x80000007)
			p.cpuid.entry[i].edx = BIT(3);
	json_decref(p.needs);
	p.needs = cpu_compat_needs(&p.guest);
	assert_pair(&p, "destination lacks bit 3 of CPUID 80000007.edx");
	pair_close(&p);
}
END_TEST

/* The guest has neither spec_ctrl nor xsaves, and nobody has Hyper-V's. */
START_TEST(msrs)
{
	struct pair p;
	json_t *want;

	pair_open(&p, PLAIN);
	want = json_pack("[i,i,I]", 0x10, 0x174, (json_int_t)0xc0000103);
	ck_assert(json_equal(json_object_get(p.needs, "msrs"), want));
	json_decref(want);
	p.host.nmsrs = 1;
	assert_pair(&p, "destination lacks MSR 0x174, which the guest's state holds\n"
			"destination lacks MSR 0xc0000103, which the guest's state holds");
	json_decref(p.needs);
	cpu_host(&p.cpuid, FEATURES " spec_ctrl");
	p.needs = cpu_compat_needs(&p.guest);
	want = json_pack("[i,i,i,I]", 0x10, 0x48, 0x174, (json_int_t)0xc0000103);
	ck_assert(json_equal(json_object_get(p.needs, "msrs"), want));
	json_decref(want);
	pair_close(&p);
}
END_TEST

START_TEST(tsc)
{
	static const struct {
		uint32_t khz;
		bool scaling, blocked;
	} cases[] = { { 2900000, false, false }, { 2900725, false, false },
		      { 2899275, false, false }, { 2900726, false, true },
		      { 2899274, false, true },  { 2100000, true, false },
		      { 0, false, false } };
	struct pair p;
	char sentence[128];

	pair_open(&p, PLAIN);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		p.host.tsc_khz = cases[i].khz;
		p.host.tsc_scaling = cases[i].scaling;
		snprintf(sentence, sizeof(sentence),
			 "destination's TSC runs at %u kHz, the guest's at 2900000, and this "
			 "processor cannot scale it",
			 cases[i].khz);
		assert_pair(&p, cases[i].blocked ? sentence : "");
	}
	p.host.tsc_khz = 1;
	p.host.tsc_scaling = false;
	json_object_set_new(p.needs, "tsc_khz", json_integer(0)); /* the source does not know */
	assert_pair(&p, "");
	pair_close(&p);
}
END_TEST

START_TEST(capabilities)
{
	struct pair p;

	pair_open(&p, PLAIN);
	for (size_t i = 0; i < ncpu_compat_caps; i++)
		if (!strcmp(cpu_compat_caps[i].name, "KVM_CAP_ADJUST_CLOCK"))
			p.host.caps &= ~(uint32_t)BIT(i);
	assert_pair(&p, "destination's KVM lacks KVM_CAP_ADJUST_CLOCK for the guest's clock");
	pair_close(&p);
}
END_TEST

START_TEST(sizes)
{
	struct pair p;

	pair_open(&p, PLAIN);
	p.host.xsave_bytes = 2696;
	p.host.phys_bits = 35;
	p.host.max_vcpus = 3;
	assert_pair(&p, "destination holds 2696 bytes of a vCPU's vector registers, the guest has "
			"4096\n"
			"destination's physical addresses have 35 bits, the guest's 36\n"
			"destination's KVM runs up to 3 vCPUs, the VM has 4");
	pair_close(&p);
}
END_TEST

START_TEST(memory)
{
	struct pair p;

	pair_open(&p, PLAIN);
	p.host.free_bytes = 1000ULL * MIB;
	assert_pair(&p, "destination has 1000 MiB of memory free, the VM needs 1024");
	pair_close(&p);
	pair_open(&p, ONE_GIB ",'hugepages':true}}");
	assert_pair(&p, "destination has 0 MiB of memory free in huge pages of 2 MiB, the VM needs "
			"1024");
	p.host.free_2m_bytes = GIB;
	assert_pair(&p, "");
	pair_close(&p);
	pair_open(&p, ONE_GIB ",'hugepages':true,'hugepage_size':'1G'}}");
	p.host.free_2m_bytes = GIB;
	assert_pair(&p, "destination has 0 MiB of memory free in huge pages of 1 GiB, the VM "
			"needs 1024");
	p.host.free_1g_bytes = GIB;
	assert_pair(&p, "");
	pair_close(&p);
	pair_open(&p, "{" KERNEL ",'cpus':{'max_phys_bits':36},'memory':{'size':'1G',"
		      "'reserve':false}}");
	p.host.free_bytes = 0;
	assert_pair(&p, "");
	pair_close(&p);
}
END_TEST

/* What arrives may be anything: each key in turn is missing, and is each kind of thing. */
START_TEST(hostile)
{
	static const char *const junk[] = { "null",
					    "true",
					    "-1",
					    "1e300",
					    "'x'",
					    "[]",
					    "{}",
					    "[null]",
					    "[-1]",
					    "['\\n']",
					    "[[]]",
					    "[{}]",
					    "9223372036854775807",
					    "[9223372036854775807]",
					    "[[1,0,0,0,0,0,-1]]",
					    "[[1,0,0,0,0,0,4294967296]]",
					    "[[0,0,0,0,10,10,10]]" };
	struct pair p;
	const char *key;
	json_t *value;

	pair_open(&p, PLAIN);
	json_object_foreach(p.needs, key, value)
	{
		json_t *without = json_copy(p.needs), *blockers = json_array();

		json_object_del(without, key);
		ck_assert_int_eq(cpu_compat_check(without, &p.host, blockers), -ENOTSUP);
		ck_assert_uint_eq(json_array_size(blockers), 1);
		json_decref(blockers);
		json_decref(without);
		for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
			json_t *with = json_copy(p.needs);

			blockers = json_array();
			json_object_set_new(with, key, json_of(junk[i]));
			/* No MSR is needed, and no capability: that may be. */
			if (strcmp(junk[i], "[]") || !strcmp(key, "cpuid"))
				ck_assert_msg(cpu_compat_check(with, &p.host, blockers) == -ENOTSUP,
					      "%s: %s", key, junk[i]);
			json_decref(blockers);
			json_decref(with);
		}
	}
	assert_blocked(NULL, &p.host, "the source does not say what its guest needs");
	pair_close(&p);
}
END_TEST

START_TEST(wrong_needs)
{
	static const struct {
		const char *key, *value, *sentence;
	} cases[] = {
		{ "tsc_khz", "'fast'",
		  "the source does not say tsc_khz of its guest, as a number up to 4294967295" },
		{ "msrs", "7", "the source does not say msrs of its guest, as a list" },
		{ "msrs", "[16,'a']", "the source says an MSR that is none" },
		{ "capabilities", "['KVM_CAP_TELEPATHY']",
		  "the guest needs a capability of KVM that this version does not know; run a "
		  "newer one at the destination" },
		{ "page_bytes", "16384",
		  "the source says pages of 16384 bytes, which there are "
		  "not" },
		{ "cpuid", "[[1]]",
		  "the source does not say the CPUID of its guest: entry 0 is not of 7 numbers of "
		  "32 bits" },
		{ "cpuid", "[[0,0,0,0,0,27,0]]",
		  "the source does not say the vendor of its guest's processor" },
	};
	struct pair p;

	pair_open(&p, PLAIN);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *with = json_copy(p.needs);

		json_object_set_new(with, cases[i].key, json_of(cases[i].value));
		assert_blocked(with, &p.host, cases[i].sentence);
		json_decref(with);
	}
	pair_close(&p);
}
END_TEST

/* As many entries as KVM takes, and not one more. */
START_TEST(many_entries)
{
	json_t *all = json_array();
	struct err e = { "" };
	struct cpuid c;

	while (json_array_size(all) < 240)
		json_array_append_new(all, json_pack("[i,i,i,i,i,i,i]", 1, 0, 0, 0, 0, 0, 0));
	ck_assert_int_eq(cpuid_parse(&c, all, &e), 0);
	ck_assert_uint_eq(c.nent, 240);
	json_array_append(all, json_array_get(all, 0));
	ck_assert_int_eq(cpuid_parse(&c, all, &e), -EINVAL);
	json_decref(all);
}
END_TEST

START_TEST(cpuid_and_back)
{
	struct cpuid c, again;
	struct err e = { "" };
	json_t *json;

	cpu_host(&c, LEVEL_4 "hypervisor");
	c.entry[3].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	c.entry[3].edx = UINT32_MAX;
	json = cpuid_json(c.entry, c.nent);
	ck_assert_msg(!cpuid_parse(&again, json, &e), "%s", e.text);
	ck_assert_mem_eq(&c, &again, sizeof(c));
	json_decref(json);
}
END_TEST

START_TEST(this_host)
{
	CLEANUP(fd) int kvm_fd = -1;
	CLEANUP(fd) int vm_fd = -1;
	struct cpu_compat_host h;
	struct err e = { "" };

	if (access("/dev/kvm", R_OK | W_OK))
		return;
	ck_assert_msg(!kvm_open(&kvm_fd, &e) && !kvm_new_vm(kvm_fd, &vm_fd, &e), "%s", e.text);
	ck_assert_msg(!cpu_compat_host_read(&h, kvm_fd, vm_fd, &e), "%s", e.text);
	ck_assert(cpu_features_have(&h.features, "lm sse2 x2apic hypervisor"));
	ck_assert_uint_eq(strlen(h.vendor), 12);
	ck_assert_uint_gt(h.nmsrs, 10);
	ck_assert_uint_ge(h.xsave_bytes, 4096);
	ck_assert_uint_gt(h.max_vcpus, 0);
	ck_assert_uint_gt(h.free_bytes, 0);
	ck_assert_uint_eq(h.caps, (uint32_t)BIT(ncpu_compat_caps) - 1);
	cpu_compat_host_free(&h);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpu_compat");
	TCase *t = tcase_create("cpu_compat");

	tcase_add_test(t, just_enough);
	tcase_add_test(t, features);
	tcase_add_test(t, unnamed_feature);
	tcase_add_test(t, msrs);
	tcase_add_test(t, tsc);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, sizes);
	tcase_add_test(t, memory);
	tcase_add_test(t, hostile);
	tcase_add_test(t, wrong_needs);
	tcase_add_test(t, many_entries);
	tcase_add_test(t, cpuid_and_back);
	tcase_add_test(t, this_host);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

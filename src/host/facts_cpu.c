/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E. */
#include <cpuid.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "cleanup.h"
#include "facts_internal.h"

enum { CPUID_ENTRIES = 256 };

enum cpu_register { EAX, EBX, ECX, EDX };

/* Named as in /proc/cpuinfo. */
static const struct cpu_flag {
	uint32_t leaf, subleaf;
	enum cpu_register reg;
	unsigned bit;
	const char *name;
} cpu_flags[] = {
	{ 1, 0, EDX, 4, "tsc" },
	{ 1, 0, EDX, 6, "pae" },
	{ 1, 0, EDX, 9, "apic" },
	{ 1, 0, EDX, 25, "sse" },
	{ 1, 0, EDX, 26, "sse2" },
	{ 1, 0, ECX, 0, "pni" },
	{ 1, 0, ECX, 1, "pclmulqdq" },
	{ 1, 0, ECX, 5, "vmx" },
	{ 1, 0, ECX, 9, "ssse3" },
	{ 1, 0, ECX, 12, "fma" },
	{ 1, 0, ECX, 13, "cx16" },
	{ 1, 0, ECX, 17, "pcid" },
	{ 1, 0, ECX, 19, "sse4_1" },
	{ 1, 0, ECX, 20, "sse4_2" },
	{ 1, 0, ECX, 21, "x2apic" },
	{ 1, 0, ECX, 22, "movbe" },
	{ 1, 0, ECX, 23, "popcnt" },
	{ 1, 0, ECX, 24, "tsc_deadline_timer" },
	{ 1, 0, ECX, 25, "aes" },
	{ 1, 0, ECX, 26, "xsave" },
	{ 1, 0, ECX, 28, "avx" },
	{ 1, 0, ECX, 29, "f16c" },
	{ 1, 0, ECX, 30, "rdrand" },
	{ 6, 0, EAX, 2, "arat" },
	{ 7, 0, EBX, 0, "fsgsbase" },
	{ 7, 0, EBX, 3, "bmi1" },
	{ 7, 0, EBX, 5, "avx2" },
	{ 7, 0, EBX, 7, "smep" },
	{ 7, 0, EBX, 8, "bmi2" },
	{ 7, 0, EBX, 9, "erms" },
	{ 7, 0, EBX, 10, "invpcid" },
	{ 7, 0, EBX, 16, "avx512f" },
	{ 7, 0, EBX, 17, "avx512dq" },
	{ 7, 0, EBX, 18, "rdseed" },
	{ 7, 0, EBX, 19, "adx" },
	{ 7, 0, EBX, 20, "smap" },
	{ 7, 0, EBX, 23, "clflushopt" },
	{ 7, 0, EBX, 24, "clwb" },
	{ 7, 0, EBX, 28, "avx512cd" },
	{ 7, 0, EBX, 29, "sha_ni" },
	{ 7, 0, EBX, 30, "avx512bw" },
	{ 7, 0, EBX, 31, "avx512vl" },
	{ 7, 0, ECX, 2, "umip" },
	{ 7, 0, ECX, 3, "pku" },
	{ 7, 0, ECX, 8, "gfni" },
	{ 7, 0, ECX, 9, "vaes" },
	{ 7, 0, ECX, 10, "vpclmulqdq" },
	{ 7, 0, ECX, 11, "avx512_vnni" },
	{ 7, 0, ECX, 16, "la57" },
	{ 7, 0, ECX, 22, "rdpid" },
	{ 7, 0, EDX, 4, "fsrm" },
	{ 7, 0, EDX, 24, "amx_tile" },
	{ 7, 0, EDX, 29, "arch_capabilities" },
	{ 7, 0, EDX, 31, "ssbd" },
	{ 7, 1, EAX, 4, "avx_vnni" },
	{ 7, 1, EAX, 5, "avx512_bf16" },
	{ 0xd, 1, EAX, 0, "xsaveopt" },
	{ 0xd, 1, EAX, 1, "xsavec" },
	{ 0xd, 1, EAX, 3, "xsaves" },
	{ 0x80000001, 0, ECX, 0, "lahf_lm" },
	{ 0x80000001, 0, ECX, 2, "svm" },
	{ 0x80000001, 0, ECX, 5, "abm" },
	{ 0x80000001, 0, ECX, 8, "3dnowprefetch" },
	{ 0x80000001, 0, EDX, 20, "nx" },
	{ 0x80000001, 0, EDX, 26, "pdpe1gb" },
	{ 0x80000001, 0, EDX, 27, "rdtscp" },
	{ 0x80000001, 0, EDX, 29, "lm" },
	{ 0x80000007, 0, EDX, 8, "constant_tsc" },
	{ 0x80000008, 0, EBX, 0, "clzero" },
	{ 0x80000008, 0, EBX, 12, "ibpb" },
};

static bool has_flag(const struct kvm_cpuid2 *set, const struct cpu_flag *f)
{
	for (uint32_t i = 0; i < set->nent; i++) {
		const struct kvm_cpuid_entry2 *x = &set->entries[i];
		const uint32_t reg[] = { x->eax, x->ebx, x->ecx, x->edx };

		if (x->function == f->leaf && x->index == f->subleaf)
			return reg[f->reg] & BIT(f->bit);
	}
	return false;
}

/* What KVM can give a guest of it, which differs from what this host's programs see. */
static json_t *guest_flags(int kvm_fd)
{
	CLEANUP(free) struct kvm_cpuid2 *set = NULL;
	json_t *names;

	set = calloc(1, sizeof(*set) + CPUID_ENTRIES * sizeof(set->entries[0]));
	if (!set)
		return NULL;
	set->nent = CPUID_ENTRIES;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, set) < 0)
		return NULL;
	names = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(cpu_flags); i++)
		if (has_flag(set, &cpu_flags[i]))
			json_array_append_new(names, json_string(cpu_flags[i].name));
	return names;
}

static json_t *vendor(void)
{
	unsigned eax, name[3];

	__cpuid(0, eax, name[0], name[2], name[1]);
	return json_stringn((const char *)name, sizeof(name));
}

static json_t *model_name(void)
{
	unsigned word[13] = { 0 };
	const char *text = (const char *)word;

	for (unsigned i = 0; i < 3; i++)
		if (!__get_cpuid(0x80000002 + i, &word[4 * i], &word[4 * i + 1], &word[4 * i + 2],
				 &word[4 * i + 3]))
			return NULL;
	return json_string(text + strspn(text, " "));
}

/* The extended fields count where the plain ones are at their end. */
static void put_signature(json_t *cpu)
{
	unsigned eax, ebx, ecx, edx, family, model;

	__cpuid(1, eax, ebx, ecx, edx);
	family = eax >> 8 & 0xf;
	model = eax >> 4 & 0xf;
	if (family == 6 || family == 0xf)
		model |= eax >> 12 & 0xf0;
	if (family == 0xf)
		family += eax >> 20 & 0xff;
	json_object_set_new(cpu, "family", json_integer(family));
	json_object_set_new(cpu, "model", json_integer(model));
	json_object_set_new(cpu, "stepping", json_integer(eax & 0xf));
}

static void put_address_bits(json_t *cpu)
{
	unsigned eax, ebx, ecx, edx;

	if (!__get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx))
		return;
	json_object_set_new(cpu, "physical_address_bits", json_integer(eax & 0xff));
	json_object_set_new(cpu, "virtual_address_bits", json_integer(eax >> 8 & 0xff));
}

static unsigned count_listed(const char *list)
{
	unsigned n = 0, first, last;

	while (facts_range(&list, &first, &last))
		n += last >= first ? last - first + 1 : 0;
	return n;
}

/* How many groups there are: each has one CPU that comes first in its list. */
static json_t *count_groups(const struct facts_host *host, const char *list)
{
	unsigned n = 0, first;
	char text[256];

	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (!facts_read(host, text, sizeof(text),
				"/sys/devices/system/cpu/cpu%u/topology/%s", cpu, list))
			n += sscanf(text, "%u", &first) == 1 && first == cpu;
	return n ? json_integer(n) : NULL;
}

static void put_counts(const struct facts_host *host, json_t *cpu)
{
	static const char *const states[] = { "present", "online" };
	char list[1024], key[32];
	cpu_set_t allowed;

	json_object_set_new(cpu, "packages", count_groups(host, "package_cpus_list"));
	json_object_set_new(cpu, "cores", count_groups(host, "core_cpus_list"));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (facts_read(host, list, sizeof(list), "/sys/devices/system/cpu/%s", states[i]))
			continue;
		snprintf(key, sizeof(key), "%s_cpus", states[i]);
		json_object_set_new(cpu, key, json_integer(count_listed(list)));
	}
	if (!sched_getaffinity(0, sizeof(allowed), &allowed))
		json_object_set_new(cpu, "allowed_cpus", json_integer(CPU_COUNT(&allowed)));
}

json_t *facts_cpu(const struct facts_host *host)
{
	json_t *cpu = json_object();

	json_object_set_new(cpu, "vendor", vendor());
	json_object_set_new(cpu, "model_name", model_name());
	put_signature(cpu);
	put_address_bits(cpu);
	put_counts(host, cpu);
	if (host->kvm_fd >= 0)
		json_object_set_new(cpu, "guest_flags", guest_flags(host->kvm_fd));
	return cpu;
}

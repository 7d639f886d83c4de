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
#include "cpu_features.h"
#include "facts_internal.h"

enum { CPUID_ENTRIES = 256 };

static void put_name(void *names, const char *name)
{
	if (!strchr(name, ' ')) /* a bit that has no name */
		json_array_append_new(names, json_string(name));
}

/* What KVM can give a guest of them, which differs from what this host's programs see. */
static void put_features(json_t *cpu, int kvm_fd)
{
	CLEANUP(free) struct kvm_cpuid2 *set = NULL;
	struct cpu_features nothing = { 0 }, features;
	json_t *names = json_array();

	set = calloc(1, sizeof(*set) + CPUID_ENTRIES * sizeof(set->entries[0]));
	if (set)
		set->nent = CPUID_ENTRIES;
	if (set && !ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, set)) {
		cpu_features_get(&features, set->entries, set->nent);
		json_object_set_new(cpu, "features", cpu_features_json(&features));
		features.word[CPU_80000001_EDX] &= ~CPU_REPEATED_BITS;
		cpu_features_missing(&nothing, &features, put_name, names);
		json_object_set(cpu, "guest_flags", names);
	}
	json_decref(names);
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
		put_features(cpu, host->kvm_fd);
	return cpu;
}

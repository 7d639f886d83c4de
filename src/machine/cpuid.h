/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's CPUID instruction says: the host's supported set, cut down to a profile
 * (cpu_profile.h), with each vCPU's APIC id and topology written in.
 */
#ifndef CPUID_H
#define CPUID_H

#include <jansson.h>
#include <linux/kvm.h>

#include "config.h"
#include "err.h"

enum { CPUID_ENTRIES_MAX = 256 };

struct cpuid {
	uint32_t nent, padding; /* as struct kvm_cpuid2 */
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES_MAX];
};

/* Features that every guest has, or that its topology decides, whatever the host's are. */
#define CPUID_OWN_FEATURES "hypervisor x2apic ht cmp_legacy"

/* Supported by the host, hypervisor leaves included. */
int cpuid_supported(int kvm_fd, struct cpuid *, struct err *);
/* APIC id of a vCPU under the topology (threads, cores, dies, packages in bit fields). */
uint32_t cpuid_apic_id(const struct config_cpus *, unsigned vcpu);
void cpuid_remove(struct cpuid *, uint32_t leaf); /* all its subleaves */
/* As JSON, an array of [leaf, subleaf, flags, eax, ebx, ecx, edx]: a new reference. */
json_t *cpuid_json(const struct kvm_cpuid_entry2 *, size_t n);
/* The other way; the JSON may be anyone's. */
int cpuid_parse(struct cpuid *, const json_t *, struct err *);
/* The set for one vCPU. */
void cpuid_for_vcpu(struct cpuid *, const struct config_cpus *, unsigned vcpu);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's CPUID instruction says: the host's supported set, with this vCPU's APIC id
 * and topology written in.
 */
#ifndef CPUID_H
#define CPUID_H

#include <linux/kvm.h>

#include "config.h"
#include "err.h"

enum { CPUID_ENTRIES_MAX = 256 };

struct cpuid {
	uint32_t nent, padding; /* as struct kvm_cpuid2 */
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES_MAX];
};

/* Supported by the host, hypervisor leaves included. */
int cpuid_supported(int kvm_fd, struct cpuid *, struct err *);
/* APIC id of a vCPU under the topology (threads, cores, dies, packages in bit fields). */
uint32_t cpuid_apic_id(const struct config_cpus *, unsigned vcpu);
/* The set for one vCPU. */
void cpuid_for_vcpu(struct cpuid *, const struct config_cpus *, unsigned vcpu);

#endif

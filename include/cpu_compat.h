/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a guest's CPU and memory have a place on another host.  The host where it is says what
 * it needs, as JSON (cpu_compat_needs()); the other one names what it lacks, in sentences.
 * Checking is a function of the two and nothing else.  Any thread.
 */
#ifndef CPU_COMPAT_H
#define CPU_COMPAT_H

#include <jansson.h>

#include "config.h"
#include "cpu_features.h"

/* A capability of KVM without which the state of a guest of this monitor cannot be put back. */
struct cpu_compat_cap {
	int cap;
	const char *name;
	const char *holds; /* what of the guest it is for */
};

extern const struct cpu_compat_cap cpu_compat_caps[];
extern const size_t ncpu_compat_caps;

struct cpu_compat_guest {
	const struct config *config;
	const struct kvm_cpuid_entry2 *cpuid; /* of every vCPU, but for its APIC id and topology */
	size_t ncpuid;
	const uint32_t *msr; /* indices of those that a vCPU's state holds */
	size_t nmsrs;
	uint32_t xsave_bytes;
	uint32_t tsc_khz; /* 0: KVM does not say */
};

struct cpu_compat_host {
	struct cpu_features features; /* that a guest can have here */
	char vendor[CPU_VENDOR];
	uint8_t phys_bits;
	uint32_t max_vcpus;
	uint32_t xsave_bytes; /* most that a vCPU may have */
	uint32_t tsc_khz; /* 0: KVM does not say */
	bool tsc_scaling; /* a guest's TSC may run at another rate */
	uint32_t *msr;
	size_t nmsrs;
	uint32_t caps; /* BIT(i): of cpu_compat_caps[i] */
	uint64_t free_bytes; /* memory */
	uint64_t free_2m_bytes, free_1g_bytes; /* in huge pages of that size */
};

/* A new reference. */
json_t *cpu_compat_needs(const struct cpu_compat_guest *);

/*
 * Append a sentence to the array blockers for each thing that the host lacks; needs may come from
 * anyone, and what is wrong with it is a sentence, too.  0: nothing stands in the way; -ENOTSUP.
 */
int cpu_compat_check(const json_t *needs, const struct cpu_compat_host *, json_t *blockers);

/* What this host has; vm_fd: a VM of KVM's that may have no vCPUs yet. */
int cpu_compat_host_read(struct cpu_compat_host *, int kvm_fd, int vm_fd, struct err *);
void cpu_compat_host_free(struct cpu_compat_host *);

#endif

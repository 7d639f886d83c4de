/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/kvm.h>

#include "bits.h"
#include "kvm_caps.h"

#define CAP(c)                                                                                     \
	{                                                                                          \
		.cap = c, .name = #c                                                               \
	}
#define NEEDED(c)                                                                                  \
	{                                                                                          \
		.cap = c, .name = #c, .needed = true                                               \
	}
/* Younger than some headers */
#define CAP_NUMBER(number, c)                                                                      \
	{                                                                                          \
		.cap = number, .name = c                                                           \
	}

const struct kvm_cap kvm_caps[] = {
	NEEDED(KVM_CAP_IRQCHIP),
	NEEDED(KVM_CAP_USER_MEMORY),
	NEEDED(KVM_CAP_SET_TSS_ADDR),
	NEEDED(KVM_CAP_SET_IDENTITY_MAP_ADDR),
	NEEDED(KVM_CAP_EXT_CPUID),
	NEEDED(KVM_CAP_MP_STATE),
	NEEDED(KVM_CAP_IRQ_ROUTING),
	NEEDED(KVM_CAP_SIGNAL_MSI),
	NEEDED(KVM_CAP_IRQFD),
	NEEDED(KVM_CAP_IOEVENTFD),
	NEEDED(KVM_CAP_IOEVENTFD_ANY_LENGTH),
	NEEDED(KVM_CAP_PIT2),
	NEEDED(KVM_CAP_PIT_STATE2),
	NEEDED(KVM_CAP_ADJUST_CLOCK),
	NEEDED(KVM_CAP_VCPU_EVENTS),
	NEEDED(KVM_CAP_DEBUGREGS),
	NEEDED(KVM_CAP_XSAVE),
	NEEDED(KVM_CAP_XCRS),
	NEEDED(KVM_CAP_IMMEDIATE_EXIT),
	CAP(KVM_CAP_NR_VCPUS),
	CAP(KVM_CAP_MAX_VCPUS),
	CAP(KVM_CAP_MAX_VCPU_ID),
	CAP(KVM_CAP_NR_MEMSLOTS),
	CAP(KVM_CAP_MULTI_ADDRESS_SPACE),
	CAP(KVM_CAP_SYNC_MMU),
	CAP(KVM_CAP_READONLY_MEM),
	CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2),
	CAP(KVM_CAP_DIRTY_LOG_RING),
	CAP(KVM_CAP_DIRTY_LOG_RING_ACQ_REL),
	CAP_NUMBER(231, "KVM_CAP_USER_MEMORY2"),
	CAP_NUMBER(233, "KVM_CAP_MEMORY_ATTRIBUTES"),
	CAP_NUMBER(234, "KVM_CAP_GUEST_MEMFD"),
	CAP_NUMBER(235, "KVM_CAP_VM_TYPES"),
	CAP_NUMBER(236, "KVM_CAP_PRE_FAULT_MEMORY"),
	CAP(KVM_CAP_COALESCED_MMIO),
	CAP(KVM_CAP_COALESCED_PIO),
	CAP(KVM_CAP_SPLIT_IRQCHIP),
	CAP(KVM_CAP_X2APIC_API),
	CAP(KVM_CAP_MSI_DEVID),
	CAP(KVM_CAP_IRQFD_RESAMPLE),
	CAP(KVM_CAP_HALT_POLL),
	CAP(KVM_CAP_X86_DISABLE_EXITS),
	CAP(KVM_CAP_TSC_CONTROL),
	CAP(KVM_CAP_GET_TSC_KHZ),
	CAP(KVM_CAP_TSC_DEADLINE_TIMER),
	CAP(KVM_CAP_KVMCLOCK_CTRL),
	CAP(KVM_CAP_STEAL_TIME),
	CAP(KVM_CAP_XSAVE2),
	CAP(KVM_CAP_SYNC_REGS),
	CAP(KVM_CAP_NESTED_STATE),
	CAP(KVM_CAP_GET_MSR_FEATURES),
	CAP(KVM_CAP_X86_USER_SPACE_MSR),
	CAP(KVM_CAP_X86_MSR_FILTER),
	CAP(KVM_CAP_EXIT_HYPERCALL),
	CAP(KVM_CAP_EXIT_ON_EMULATION_FAILURE),
	CAP(KVM_CAP_SET_GUEST_DEBUG),
	CAP(KVM_CAP_PMU_CAPABILITY),
	CAP(KVM_CAP_HYPERV),
	CAP(KVM_CAP_BINARY_STATS_FD),
};
const size_t nkvm_caps = ARRAY_SIZE(kvm_caps);

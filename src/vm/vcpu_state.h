/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU carries from host to host: KVM's own register structures, which are part of
 * KVM's ABI, and the MSRs by number.
 */
#ifndef VCPU_STATE_H
#define VCPU_STATE_H

#include <linux/kvm.h>
#include <stdint.h>

#include "err.h"
#include "state.h"

enum { VCPU_MSRS_MAX = 512, VCPU_XSAVE_MAX = 16384 };
enum { MSR_TSC = 0x10 }; /* Intel SDM 4, 2.1 */

struct vcpu_msr {
	uint32_t index;
	uint64_t value;
};

struct vcpu_state {
	_Alignas(8) uint8_t sregs[sizeof(struct kvm_sregs)];
	_Alignas(8) uint8_t regs[sizeof(struct kvm_regs)];
	_Alignas(8) uint8_t xcrs[sizeof(struct kvm_xcrs)];
	_Alignas(8) uint8_t debugregs[sizeof(struct kvm_debugregs)];
	_Alignas(8) uint8_t lapic[sizeof(struct kvm_lapic_state)];
	_Alignas(8) uint8_t events[sizeof(struct kvm_vcpu_events)];
	_Alignas(8) uint8_t xsave[VCPU_XSAVE_MAX];
	_Alignas(8) uint8_t mp_state[sizeof(struct kvm_mp_state)];
	uint32_t xsave_bytes;
	uint32_t nmsrs;
	struct vcpu_msr msr[VCPU_MSRS_MAX];
	uint64_t read_ns; /* the host's wall clock after all that was read; 0: unknown */
};

extern const struct state_desc vcpu_state_desc;

/*
 * Registers and MSRs from and to KVM, in the one order that works.  kvm_fd: /dev/kvm.  An MSR
 * that the host advertises and refuses is skipped, with a warning unless *warned.  The TSC is set
 * before, by vcpu_tsc_restore(): a TSC deadline is measured against it.
 */
int vcpu_state_get(struct vcpu_state *, int kvm_fd, int vm_fd, int vcpu_fd, bool *warned,
		   struct err *);
int vcpu_state_set(struct vcpu_state *, int vcpu_fd, bool *warned, struct err *);

#endif

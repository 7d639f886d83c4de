/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time-stamp counters of a VM's vCPUs are one clock: all have the same offset to the host's,
 * but for what the guest has added to one of them (IA32_TSC_ADJUST).  KVM, given the values of one
 * vCPU after another, has to guess which were meant to be one: it takes those for it that are
 * within a second of each other, and kernels before 6.7 also a first value within a second of what
 * the VM has counted since it was made, which is then what the guest goes on with: its time may go
 * back.  So the first vCPU is told an offset, and the others are told the same one.
 *
 * Source: Linux Documentation/virt/kvm/devices/vcpu.rst, 4.1.
 */
#ifndef VCPU_TSC_H
#define VCPU_TSC_H

#include "vcpu_state.h"

/* Have the vCPU count on from the TSC in this state, and from away_ns later.  first_fd: the first
 * vCPU's, which was restored before, or is this one. */
int vcpu_tsc_restore(const struct vcpu_state *, int fd, int first_fd, uint64_t away_ns,
		     struct err *);
/* What the guest added to it is taken away.  No other vCPU is asked, so they may run. */
int vcpu_tsc_reset(int fd, struct err *);

#endif

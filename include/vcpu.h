/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: a device like the others, with a thread "vcpuN" that owns the vCPU's fd and
 * kvm_run while it is RUNNING.  While STOPPED the thread is parked, and main may use them.
 * Each exit is dispatched under the machine lock.
 */
#ifndef VCPU_H
#define VCPU_H

#include <linux/kvm.h>

#include "device.h"

/* Registers of a STOPPED vCPU, on main. */
int vcpu_get_registers(struct device *, struct kvm_regs *, struct kvm_sregs *, struct err *);
int vcpu_set_registers(struct device *, const struct kvm_regs *, const struct kvm_sregs *,
		       struct err *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: a device like the others, with a thread "vcpuN" that owns the vCPU's fd and
 * kvm_run while it is RUNNING.  While STOPPED the thread is parked, and main may use them.
 * Each exit is dispatched under the machine lock.
 *
 * A vCPU may be absent: there is none, as far as the guest can tell.  It has all phases as the
 * others, but its thread never enters the guest, whatever interrupts that sends to it.
 */
#ifndef VCPU_H
#define VCPU_H

#include <linux/kvm.h>
#include <sched.h>

#include "counters.h"
#include "device.h"

/* The MSRs that this host's KVM has for a vCPU: to be freed. */
int vcpu_msr_list(int kvm_fd, struct kvm_msr_list **, struct err *);

bool vcpu_is_present(const struct device *);
/* On main: it comes, in any phase, or goes, STOPPED.  Either way it has its power-on values then,
 * and waits for the guest to start it. */
void vcpu_set_present(struct device *, bool present);

/* What a vCPU's state takes of a host, known since it was made; in any phase, on main. */
uint32_t vcpu_tsc_khz(const struct device *);
uint32_t vcpu_xsave_bytes(const struct device *);
/* Indices of the MSRs that its state holds, up to max of them: how many. */
size_t vcpu_msrs(const struct device *, uint32_t *index, size_t max);

/*
 * On main: each vCPU of the VM sleeps for that much of the time that it would run, at most 99; 0:
 * for none.  No sleep is longer than a few milliseconds, and a stop ends it; the setting stays.
 */
void vcpu_throttle(struct vm *, unsigned percent);
/* On main: how long each that is present has slept so, in order of creation, up to max of them: how
 * many. */
unsigned vcpu_throttled_ns(struct vm *, uint64_t *ns, unsigned max);

/*
 * On main: all of them together run for at most so many thousandths of a core, whichever of them
 * run; 0: no limit.  all_threads: the kernel sees to it if it can (cpu_quota.h), for all threads of
 * the process.  Else the time of vCPUs' threads counts, in the monitor too, and what others do for
 * them does not.
 */
void vcpu_limit(struct vm *, uint32_t thousandths, bool all_threads);
/* Main.  The limit, and what the kernel did for it: "_cpus".  -ENOMEM. */
int vcpu_limit_read(const struct vm *, struct counter_readings *);

/* On main, in any phase: its thread runs on these CPUs of the host only.  -errno: on none of them,
 * and it stays where it was. */
int vcpu_pin(struct device *, const cpu_set_t *);

/* On main: sums over those that are present.  The first two are 0 where the host does not tell. */
struct vcpu_times {
	uint64_t run_ns, wait_ns; /* a processor ran it; it waited for one */
	uint64_t throttled_ns; /* as above; in neither of the others */
};
struct vcpu_times vcpu_times(struct vm *);

/* Registers of a STOPPED vCPU, on main. */
int vcpu_get_registers(struct device *, struct kvm_regs *, struct kvm_sregs *, struct err *);
int vcpu_set_registers(struct device *, const struct kvm_regs *, const struct kvm_sregs *,
		       struct err *);

#endif

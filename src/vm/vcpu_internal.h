/* SPDX-License-Identifier: Apache-2.0 */
/* The two files that a vCPU consists of: what main does with it, and its thread. */
#ifndef VCPU_INTERNAL_H
#define VCPU_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

#include "vcpu.h"
#include "vcpu_limit.h"
#include "vcpu_state.h"
#include "vcpu_throttle.h"
#include "vm.h"

/* Interrupts KVM_RUN; its handler does nothing. */
#define VCPU_SIGNAL SIGUSR1

struct vcpu_counters {
	_Atomic uint64_t exits_other; /* first: what has no place in exit_counters */
	_Atomic uint64_t exits_io, exits_mmio, exits_hlt, exits_intr, exits_shutdown, exits_debug;
	_Atomic uint64_t exits_system_event;
	_Atomic uint64_t run_ns, wait_ns; /* main's: the kernel counts them */
	_Atomic uint64_t throttled_ns; /* in all */
};

struct vcpu {
	struct device dev;
	uint32_t index, apic_id; /* options */
	/* An option; then written by main under the machine lock: its thread stays parked. */
	bool absent;
	int fd;
	struct kvm_run *run; /* the thread's while RUNNING; immediate_exit: any thread */
	size_t run_bytes;
	pthread_t thread;
	_Atomic pid_t tid; /* written by the thread, read by main; 0: it has not begun */
	int schedstat_fd; /* main's, from when it was first read; -1: not yet */
	struct vcpu_counters *counters;
	pthread_cond_t go; /* with the machine lock: running or quit changed */
	bool running, quit; /* written by main under the machine lock */
	atomic_bool stop_asked; /* written by main, read by the thread without the lock */
	struct vcpu_throttle throttle;
	_Atomic uint64_t slowed_ns; /* by it, of what is counted as throttled; the thread's */
	struct vcpu_limit limit; /* the thread's */
	struct work parked; /* the thread tells main that it is parked */
	bool msr_warned; /* one vCPU's warning is enough */
	bool was_paused; /* the guest has lost time since it last ran */
	uint32_t tsc_khz; /* 0: KVM does not say */
	struct vcpu_state s, fresh;
};

void *vcpu_main(void *vcpu); /* of its thread */

#endif

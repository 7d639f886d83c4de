/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that come to a VM and leave it.  All that there may be are devices from the beginning, and
 * those beyond the present number are absent (vcpu.h).  One that comes is started, and the guest is
 * told; events tell whether it looks for it in time ("found", else "not-found"), or later.
 *
 * A removal goes by steps: the guest is asked for the vCPUs with the highest numbers, and given
 * some time; it gives one up, or refuses (VM_HOTPLUG); the vCPU stops and is absent.  What is
 * refused or not answered stays.  hotplug_cpus_settle() takes the steps that can be taken: it runs
 * when the posted step does, and never while the VM as a whole is stopping.  At a reset there is no
 * guest to ask.
 *
 * All calls on main, under the machine lock, outside callbacks of devices.
 */
#ifndef HOTPLUG_CPUS_H
#define HOTPLUG_CPUS_H

#include "cpu_hotplug.h"
#include "loop.h"
#include "vm.h"

enum hotplug_cpu {
	HOTPLUG_CPU_SETTLED,
	HOTPLUG_CPU_NEW, /* the guest was told and has not looked */
	HOTPLUG_CPU_LATE, /* nor has it in time */
	HOTPLUG_CPU_ASKED, /* the guest is to give it up */
	HOTPLUG_CPU_GOING, /* it has, or there is none */
};

struct hotplug_cpus {
	struct vm *vm;
	enum hotplug_cpu cpu[CPU_HOTPLUG_MAX];
	struct work *step; /* posted to main when there is something to settle */
	void (*stopped)(struct device *, void *arg); /* of device_stop() */
	void *stopped_arg;
	/* There are as many vCPUs now; NULL: nobody wants to know */
	void (*changed)(void *arg, unsigned count);
	void *changed_arg;
	uint64_t limit_ns; /* for the guest to answer */
	/* Of the request under way */
	bool active;
	unsigned want;
	struct timer limit;
	char why[128]; /* a vCPU stays; empty: none does */
	const char *advice;
	void (*done)(void *arg, int result, const char *why);
	void *arg;
};

/* changed is set afterwards. */
void hotplug_cpus_init(struct hotplug_cpus *, struct vm *, struct work *step,
		       void (*stopped)(struct device *, void *arg), void *arg);
/* Everything is left as it is; whoever waits is told -ECANCELED. */
void hotplug_cpus_cancel(struct hotplug_cpus *);

/* As machine_resize_cpus(). */
int hotplug_cpus_check(const struct hotplug_cpus *, unsigned want, struct err *);
int hotplug_cpus_resize(struct hotplug_cpus *, unsigned want,
			void (*done)(void *arg, int result, const char *why), void *arg,
			struct err *);
void hotplug_cpus_answered(struct hotplug_cpus *); /* VM_HOTPLUG */
/* The VM has stopped and is about to be reset. */
void hotplug_cpus_guest_is_gone(struct hotplug_cpus *);
void hotplug_cpus_settle(struct hotplug_cpus *, bool running); /* running: the VM is */

#endif

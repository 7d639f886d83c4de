/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that come to a VM and leave it.  Who adds one builds it; here its guest is told, and
 * events tell whether it looks for it in time ("found", else "not-found"), or later.  A reset ends
 * the waiting, as the guest then finds what there is by itself, and so does a move.
 *
 * A removal goes by steps: the guest is asked, and given some time; it gives the slot up
 * (VM_HOTPLUG); the device stops; it is freed, and whoever asked is told.  hotplug_settle() takes
 * the steps that can be taken: it runs when the posted step does, and never while the VM as a whole
 * is stopping.
 *
 * All calls on main, under the machine lock, outside callbacks of devices.
 */
#ifndef HOTPLUG_H
#define HOTPLUG_H

#include "loop.h"
#include "pci.h"
#include "vm.h"

/* A device that the guest was told of and has not looked for yet */
struct addition {
	struct hotplug *h;
	struct device *dev; /* NULL: there is none */
	unsigned slot;
	struct timer limit;
};

struct hotplug {
	struct vm *vm;
	struct addition added[PCI_SLOTS]; /* by slot */
	struct list removals; /* in the order of asking */
	struct work *step; /* posted to main when there is something to settle */
	void (*stopped)(struct device *, void *arg); /* of device_stop() */
	void *arg;
	uint64_t limit_ns; /* for the guest to answer; then for the device to stop */
};

void hotplug_init(struct hotplug *, struct vm *, struct work *step,
		  void (*stopped)(struct device *, void *arg), void *arg);
/* Everything is left as it is; whoever waits for a removal is told -ECANCELED. */
void hotplug_cancel(struct hotplug *);

void hotplug_added(struct hotplug *, struct device *);
/* As machine_remove_device(). */
int hotplug_remove(struct hotplug *, const char *id,
		   void (*done)(void *arg, int result, const char *why), void *arg, struct err *);

void hotplug_answered(struct hotplug *); /* VM_HOTPLUG */
/* The VM has stopped and is about to be reset: what its guest was asked for is its own no more. */
void hotplug_guest_is_gone(struct hotplug *);
void hotplug_settle(struct hotplug *);

#endif

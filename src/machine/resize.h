/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that change their size while the VM has them: each stops on its own, so that none of its
 * requests is in flight, is resized, and goes on if the VM runs.  What the host does for that may
 * take long, so a thread does it; vCPUs and other devices go on.  resize_settle() takes the steps
 * that can be taken: it runs when the posted step does, and never while the VM as a whole is
 * stopping.
 *
 * All calls on main, under the machine lock, outside callbacks of devices.
 */
#ifndef RESIZE_H
#define RESIZE_H

#include "loop.h"
#include "vm.h"

struct resize {
	struct vm *vm;
	struct list changes; /* in the order of asking */
	struct device *at_work; /* a thread resizes it: leave it alone; NULL: none */
	struct work *step; /* posted to main when there is something to settle */
	void (*stopped)(struct device *, void *arg); /* of device_stop() */
	void *arg;
};

void resize_init(struct resize *, struct vm *, struct work *step,
		 void (*stopped)(struct device *, void *arg), void *arg);
/* Everything is left as it is, and whoever waits is told -ECANCELED; at_work may stay. */
void resize_cancel(struct resize *);

/* As machine_resize_device(). */
int resize_device(struct resize *, const char *id, uint64_t bytes,
		  void (*done)(void *arg, int result, const char *why), void *arg, struct err *);
void resize_settle(struct resize *, bool running); /* running: the VM is */

#endif

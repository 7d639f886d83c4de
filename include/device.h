/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole contract between the core and a device model.  A device is a struct that begins
 * with struct device, tables (options, state, regions, counters) and a few verbs; the core drives
 * its life:
 *
 *	NEW --open, attach, reset--> STOPPED --start--> RUNNING --stop--> STOPPED
 *
 * Save, load, reset and resize happen in STOPPED only; free from anywhere, also half-attached.
 * What a device acquires it claims here, and device_free() releases in reverse: a device file
 * holds no close, no goto and no detach.  Everything runs on main or on a vCPU thread, under the
 * machine lock, unless said otherwise.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <jansson.h>
#include <stdatomic.h>

#include "bus.h"
#include "counters.h"
#include "irq.h"
#include "loop.h"
#include "option.h"
#include "pace.h"
#include "state.h"

struct device;
struct rate_limit;
struct vm;

struct device_class {
	const char *kind; /* in configurations and streams: never changes */
	size_t size; /* of the struct that begins with struct device */
	const struct option_table *options; /* NULL: none; fills the struct before attach */
	const struct state_desc *state; /* NULL: the guest cannot tell */
	size_t state_offset;
	const struct counter_table *counters; /* NULL: it counts nothing */

	/* Files and all else that may take its time, before attach; NULL: nothing.  On main, and
	 * without the lock if the VM runs. */
	int (*open)(struct device *, struct err *);
	int (*attach)(struct device *, struct err *); /* claim regions, lines, fds */
	void (*reset)(struct device *); /* power-on values; cannot fail */
	void (*start)(struct device *); /* may act from now on */
	void (*stop)(struct device *); /* asks; device_stopped() when nothing is in flight;
					* NULL: stopped at once */
	int (*loaded)(struct device *, struct err *); /* refuse, or re-derive, after a load */
	int (*fetch)(struct device *, struct err *); /* only where the kernel holds the state */
	/* vm->logged has changed.  done(), once all that writes to memory for it knows: during the
	 * call, or later on main.  NULL: nothing ever does but vCPUs and the monitor. */
	void (*log)(struct device *, void (*done)(void *arg), void *arg);
	/* What is behind it gets this size; NULL: it has none.  In STOPPED on any thread, without
	 * the lock: it may take its time.  Then the guest learns of it. */
	int (*resize)(struct device *, uint64_t bytes, struct err *);
	void (*resized)(struct device *);
};

enum device_phase { DEVICE_NEW, DEVICE_STOPPED, DEVICE_RUNNING, DEVICE_STOPPING };

struct device {
	const struct device_class *class;
	char id[32];
	enum device_phase phase;
	struct vm *vm;
	json_t *options; /* as it was made; strings in the struct point into it */
	struct claim *claims; /* newest first */
	struct list node; /* in vm->devices, in order of creation */
	void (*stopped)(struct device *, void *arg); /* the core's, while STOPPING */
	void *stopped_arg;
	struct pace notes; /* of device_note() */
	struct rate_limit *limit; /* NULL: nothing of it can be limited */
	void *fresh; /* its state after the first reset; NULL: all versions have the same fields */
	const char *host_path; /* where to connect to it: its pty or socket; NULL: nowhere */
	struct hub *port; /* whose listeners there may be; NULL: it is none */
	void *counters; /* ncounters blocks, see device_claim_counters() */
	unsigned ncounters;
};

/* Make, fill from options (an object, or NULL) and open. */
int device_open(struct device **, const struct device_class *, const char *id, struct vm *,
		const json_t *options, struct err *);
/* Attach and reset; appends to vm->devices.  If it fails, the device is freed. */
int device_attach(struct device *, struct err *);
/* Both. */
int device_new(struct device **, const struct device_class *, const char *id, struct vm *,
	       const json_t *options, struct err *);
void device_free(struct device *); /* NULL and half-attached are fine; RUNNING is not */

void device_reset(struct device *);
void device_start(struct device *);
/* Calls stopped() once the device is STOPPED: during the call, or later from the main loop. */
void device_stop(struct device *, void (*stopped)(struct device *, void *arg), void *arg);
/* The device's answer to class->stop; on main or during stop. */
void device_stopped(struct device *);

void *device_state(struct device *);
int device_fetch(struct device *, struct err *); /* brings device_state() up to date */
int device_loaded(struct device *, struct err *); /* after device_state() was replaced */
/* Of a class that can.  On any thread; and after that, if it was done, on main. */
int device_resize(struct device *, uint64_t bytes, struct err *);
void device_resized(struct device *);

/*
 * Claims.  On failure nothing was acquired and the sentence names the device.  Structs passed
 * in are embedded in the device and filled here; fds passed in belong to the device from
 * success on.
 */
int device_claim_pio(struct device *, uint16_t port, uint16_t len, const struct region_ops *,
		     struct err *);
int device_claim_mmio(struct device *, uint64_t base, uint64_t len, const struct region_ops *,
		      struct err *);
/* A memory region that is mapped later (PCI BAR). */
int device_claim_region(struct device *, struct region *, uint64_t len, const struct region_ops *,
			struct err *);
int device_claim_irq(struct device *, unsigned gsi, struct irq_line *, struct err *);
int device_claim_msi(struct device *, unsigned *gsi, struct err *);
int device_claim_eventfd(struct device *, int *fd, struct err *); /* non-blocking */
int device_claim_fd(struct device *, int fd, struct err *); /* closed on release */
int device_claim_ioeventfd(struct device *, struct region *, struct ioeventfd *, struct err *);
/* Watched by the main loop under the machine lock; the fd is not closed. */
int device_claim_watch(struct device *, struct watch *, uint32_t events, struct err *);
/* A timer of the main loop; set it with loop_timer_set(dev->vm->loop, ...). */
int device_claim_timer(struct device *, struct timer *, struct err *);
int device_claim_memory(struct device *, size_t bytes, void **zeroed, struct err *);
/* Anything else: release(arg) at the end.  Claim before you acquire. */
int device_claim(struct device *, void (*release)(void *arg), void *arg, struct err *);

/* The device that tells the guest of ACPI events, a set of PLATFORM_ACPI_EVENT_*: at most one. */
int device_claim_acpi_events(struct device *, void (*raise)(struct device *, uint8_t events),
			     struct err *);

/* A sentence about what the guest did wrong, at most a few a second per device. */
void device_note(struct device *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Any thread: something that others may want to know (events.h).  more, an object, is taken over
 * and gains the device's id. */
void device_tell(struct device *, const char *source, const char *event, json_t *more);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common part of every virtio device: a modern PCI function (virtio 1.2, 4.1) with status,
 * features and queues, described once.  A device supplies a struct virtio_class and its own
 * device_class whose verbs are virtio_attach() (from its attach), virtio_reset, virtio_start,
 * virtio_stop, virtio_fetch and virtio_loaded.
 *
 * Registers run under the machine lock.  At DRIVER_OK, or at start, each enabled queue is
 * handed over to an I/O thread and comes back drained on stop or reset; no request is in
 * flight in a stream, and of one that a disk has parked (src/virtio/blk_parked.h) its head.
 * The queues of a class that is on_main go to the main loop in the same way: where comments say
 * the queue's I/O thread, that is main for them, under the machine lock.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "device.h"
#include "msix.h"
#include "pci.h"
#include "virtqueue.h"
#include "vm.h"

enum { VIRTIO_QUEUES_MAX = 32 };

struct virtio_device;

/* Feature bits: the first is only valid together with the second. */
struct virtio_dependency {
	uint8_t feature, needs;
};

struct virtio_class {
	uint16_t id; /* virtio 1.2, 5 */
	uint32_t class_code; /* of the PCI function */
	const struct virtio_dependency *dependency; /* what FEATURES_OK checks; may be NULL */
	unsigned ndependencies;
	bool on_main; /* slow, and its back end is on the main loop: so are its queues */
	/* On the queue's I/O thread: when handed over and at a kick, not while it is called back.
	 * Pop, work, complete, flush; at most as many requests as the queue has entries. */
	void (*kick)(struct virtio_device *, struct virtqueue *);
	/* Before the queue's first kick, on its I/O thread; may be NULL.  It may set delegated. */
	int (*queue_start)(struct virtio_device *, struct virtqueue *, struct loop *, struct err *);
	/* After its last request, on its I/O thread; may be NULL. */
	void (*queue_stop)(struct virtio_device *, struct virtqueue *);
	/* Then on main, under the machine lock: what of it is state.  May be NULL. */
	void (*queue_returned)(struct virtio_device *, unsigned queue);
	/* The guest reset the device: what of its own state goes with that; may be NULL. */
	void (*driver_reset)(struct virtio_device *);
	/* The guest wrote v->config, which holds the new bytes; NULL: read-only. */
	void (*config_written)(struct virtio_device *, unsigned offset, unsigned size);
};

/* Guest-visible state of the common part; a device's own state struct nests it. */
struct virtio_state {
	struct pci_state pci[1];
	struct msix_state msix[1];
	uint64_t driver_features;
	uint32_t device_feature_select, driver_feature_select;
	uint16_t config_vector, queue_select;
	uint8_t status, config_generation, isr;
	uint32_t nqueues;
	struct virtqueue_state queue[VIRTIO_QUEUES_MAX]; /* the first nqueues */
};

extern const struct state_desc virtio_state_desc;

struct virtio_queue; /* a virtqueue, its kick and its way to and from the I/O thread */

struct virtio_device {
	struct device dev;
	const struct virtio_class *class;
	struct virtio_state *s;
	struct pci_function pci;
	unsigned window; /* configuration access capability (virtio 1.2, 4.1.4.9) */
	struct msix msix;
	uint64_t features; /* offered; VERSION_1, EVENT_IDX, INDIRECT_DESC are added */
	uint8_t *config; /* device configuration, little endian, owned by the device */
	unsigned config_bytes;
	unsigned nqueues;
	uint16_t queue_size; /* largest and default */
	struct virtio_queue *queue; /* nqueues of them */
	unsigned handed_over; /* queues that an I/O thread has, or is giving back */
	bool resetting; /* the guest's reset waits for queues */
	void (*restarted)(void *arg); /* of virtio_restart_queues(), while it goes on */
	void *restarted_arg;
	struct pace told; /* of events */
	struct ioeventfd kick[VIRTIO_QUEUES_MAX];
};

/* features, config, nqueues and queue_size are set before. */
int virtio_attach(struct virtio_device *, const struct virtio_class *, struct virtio_state *,
		  struct err *);
void virtio_reset(struct device *);
void virtio_start(struct device *);
void virtio_stop(struct device *);
int virtio_fetch(struct device *, struct err *);
int virtio_loaded(struct device *, struct err *);

/* Which a queue is handed to; NULL: to main. */
struct io_thread *virtio_thread(const struct virtio_device *, unsigned queue);
/* Have the class's kick run once more, after other work of that queue's I/O thread.  Any thread. */
void virtio_kick(struct virtio_device *, unsigned queue);
/* Take all queues back and hand them over anew, by the class's queue_stop and queue_start; main.
 * done(), once all were back: during the call, or later on main; NULL: it need not be known. */
void virtio_restart_queues(struct virtio_device *, void (*done)(void *arg), void *arg);
/* Eventfds for a queue that the kernel serves: what the guest's kicks signal, and what interrupts
 * the guest, by the vector that the queue has now; -1: none. */
int virtio_kick_fd(const struct virtio_device *, unsigned queue);
int virtio_signal_fd(const struct virtio_device *, unsigned queue);
bool virtio_is_driven(const struct virtio_device *); /* DRIVER_OK; main or vCPU */
/* Feature bit negotiated: any thread while queues are handed over. */
bool virtio_has(const struct virtio_device *, unsigned bit);
/* The device configuration changed: bumps the generation and interrupts; main or vCPU. */
void virtio_config_changed(struct virtio_device *);

#endif

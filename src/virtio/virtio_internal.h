/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the parts of the common virtio device meet: virtio.c decides (status, features, reset,
 * state), virtio_queue.c carries queues to I/O threads and back, virtio_pci.c is the register
 * layout.
 *
 * Who writes and who reads, apart from embedded work, which loop_post() orders:
 *	s->queue[i].next_avail, next_used: the queue's I/O thread while handed over
 *	s->queue[i].vector: written under the lock, read by the I/O thread; atomic
 *	s->isr: bits are set by I/O threads, read and cleared under the lock; atomic
 *	the rest of *s: under the lock; what I/O threads read of it (features, sizes and
 *	addresses of queues) is constant while handed over
 */
#ifndef VIRTIO_INTERNAL_H
#define VIRTIO_INTERNAL_H

#include "virtio.h"

struct virtio_queue {
	struct virtqueue vq;
	struct virtio_device *v;
	struct io_thread *thread; /* NULL: main */
	struct loop *loop; /* the thread's, or main's */
	struct watch kick;
	struct work give, recall, drained; /* run on the I/O thread */
	struct work broke, returned; /* run on main */
	struct err why; /* of broke: written before it is posted */
	bool handed_over, recalled; /* under the lock */
	enum { VIRTIO_QUEUE_IDLE, VIRTIO_QUEUE_LIVE, VIRTIO_QUEUE_DRAINING } phase; /* I/O thread */
};

/* virtio.c; under the lock */

/* Hand over, call back, finish a reset or a stop: whatever the device's state asks for now. */
void virtio_settle(struct virtio_device *);
void virtio_look_restarted(struct virtio_device *); /* whether all queues were back */
void virtio_set_status(struct virtio_device *, uint8_t status);
void virtio_needs_reset(struct virtio_device *, const char *why);

/* virtio_queue.c; under the lock */

int virtio_queue_attach(struct virtio_queue *, struct virtio_device *, unsigned index,
			struct err *);
void virtio_queue_hand_over(struct virtio_queue *);
void virtio_queue_recall(struct virtio_queue *); /* virtio_settle() follows on main */

/* virtio_pci.c */

int virtio_pci_attach(struct virtio_device *, struct err *);
int virtio_pci_claim_kick(struct virtio_device *, unsigned index, int fd, struct err *);
void virtio_pci_arm_kick(struct virtio_device *, unsigned index);

#endif

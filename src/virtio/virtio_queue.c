/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "virtio_internal.h"

static struct virtio_queue *queue_of(struct virtqueue *vq)
{
	return container_of(vq, struct virtio_queue, vq);
}

static void virtio_queue_signal(struct virtqueue *vq)
{
	struct virtio_device *v = queue_of(vq)->v;
	uint16_t vector = __atomic_load_n(&vq->s->vector, __ATOMIC_RELAXED);

	if (vector == MSIX_NO_VECTOR)
		__atomic_fetch_or(&v->s->isr, 1, __ATOMIC_RELAXED);
	else
		msix_signal(&v->msix, vector);
}

static void post_to_main(struct virtio_queue *q, struct work *work)
{
	loop_post(q->v->dev.vm->loop, work);
}

static void virtio_queue_broken(struct virtqueue *vq, const char *why)
{
	struct virtio_queue *q = queue_of(vq);

	err_set(&q->why, 0, "queue %u: %s", vq->index, why);
	post_to_main(q, &q->broke);
}

static void run_broke(void *arg)
{
	struct virtio_queue *q = arg;

	virtio_needs_reset(q->v, q->why.text);
}

static void kicked(void *arg, uint32_t events)
{
	struct virtio_queue *q = arg;
	uint16_t before = q->vq.s->next_avail;

	(void)events;
	q->v->class->kick(q->v, &q->vq);
	if (q->thread)
		io_thread_found(q->thread, (uint16_t)(q->vq.s->next_avail - before));
}

static int take_up(struct virtio_queue *q)
{
	struct virtio_device *v = q->v;
	int r = vq_start(&q->vq, v->dev.vm->mem, virtio_has(v, VIRTIO_RING_F_EVENT_IDX), &q->why);

	if (r)
		return r;
	if (v->class->queue_start)
		r = v->class->queue_start(v, &q->vq, q->loop, &q->why);
	if (r || q->vq.delegated)
		return r;
	/* Edge triggered, the counter need not be read: it will never be full. */
	r = loop_watch(q->loop, &q->kick, EPOLLIN | EPOLLET);
	if (!r)
		return 0;
	if (v->class->queue_stop)
		v->class->queue_stop(v, &q->vq);
	return err_set(&q->why, r, "queue %u: cannot watch its kicks: %s", q->vq.index,
		       strerror(-r));
}

static void run_give(void *arg)
{
	struct virtio_queue *q = arg;

	if (take_up(q)) {
		post_to_main(q, &q->broke);
		return;
	}
	q->phase = VIRTIO_QUEUE_LIVE;
	/* Kicks from before are lost if this queue was saved in another process. */
	if (q->vq.delegated)
		virtio_kick(q->v, q->vq.index);
	else
		q->v->class->kick(q->v, &q->vq);
}

static void run_recall(void *arg)
{
	struct virtio_queue *q = arg;

	if (q->phase == VIRTIO_QUEUE_IDLE) {
		post_to_main(q, &q->returned);
		return;
	}
	if (q->kick.active)
		loop_unwatch(q->loop, &q->kick);
	q->phase = VIRTIO_QUEUE_DRAINING;
	q->vq.stopped = true;
	vq_flush(&q->vq);
}

/* The device is in the middle of a completion: what follows waits until it is out of it. */
static void virtio_queue_drained(struct virtqueue *vq)
{
	struct virtio_queue *q = queue_of(vq);

	/* Once it was returned nothing may be left in the loop: the device can go away. */
	if (q->phase == VIRTIO_QUEUE_DRAINING)
		loop_post(q->loop, &q->drained);
}

static void run_drained(void *arg)
{
	struct virtio_queue *q = arg;

	q->phase = VIRTIO_QUEUE_IDLE;
	if (q->v->class->queue_stop)
		q->v->class->queue_stop(q->v, &q->vq);
	post_to_main(q, &q->returned);
}

static void run_returned(void *arg)
{
	struct virtio_queue *q = arg;

	q->handed_over = q->recalled = false;
	q->v->handed_over--;
	if (q->v->class->queue_returned)
		q->v->class->queue_returned(q->v, q->vq.index);
	virtio_settle(q->v);
	virtio_look_restarted(q->v);
}

void virtio_queue_hand_over(struct virtio_queue *q)
{
	q->handed_over = true;
	q->v->handed_over++;
	virtio_pci_arm_kick(q->v, q->vq.index);
	loop_post(q->loop, &q->give);
}

void virtio_queue_recall(struct virtio_queue *q)
{
	q->recalled = true;
	loop_post(q->loop, &q->recall);
}

void virtio_kick(struct virtio_device *v, unsigned queue)
{
	uint64_t one = 1;

	if (write(v->queue[queue].kick.fd, &one, sizeof(one)) < 0)
		return;
}

int virtio_kick_fd(const struct virtio_device *v, unsigned queue)
{
	return v->queue[queue].kick.fd;
}

int virtio_signal_fd(const struct virtio_device *v, unsigned queue)
{
	uint16_t vector = __atomic_load_n(&v->s->queue[queue].vector, __ATOMIC_RELAXED);

	return vector == MSIX_NO_VECTOR ? -1 : v->msix.vector[vector].fd;
}

/* The slot spreads devices that have one queue. */
struct io_thread *virtio_thread(const struct virtio_device *v, unsigned index)
{
	const struct vm *vm = v->dev.vm;

	return v->class->on_main ? NULL : vm->io_thread[(v->pci.slot + index) % vm->nio_threads];
}

int virtio_queue_attach(struct virtio_queue *q, struct virtio_device *v, unsigned index,
			struct err *e)
{
	int r;

	q->v = v;
	q->vq = (struct virtqueue){ .s = &v->s->queue[index],
				    .index = index,
				    .owner = v,
				    .broken = virtio_queue_broken,
				    .signal = virtio_queue_signal,
				    .drained = virtio_queue_drained };
	q->thread = virtio_thread(v, index);
	q->loop = q->thread ? io_thread_loop(q->thread) : v->dev.vm->loop;
	q->kick = (struct watch){ .ready = kicked, .arg = q };
	q->give = (struct work){ .run = run_give, .arg = q };
	q->recall = (struct work){ .run = run_recall, .arg = q };
	q->drained = (struct work){ .run = run_drained, .arg = q };
	q->broke = (struct work){ .run = run_broke, .arg = q };
	q->returned = (struct work){ .run = run_returned, .arg = q };
	r = device_claim_eventfd(&v->dev, &q->kick.fd, e);
	return r ? r : virtio_pci_claim_kick(v, index, q->kick.fd, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "throttle.h"

#define SILENCE_NS (UINT64_C(10) * 1000000000)

static void open_again(void *arg)
{
	struct throttle *t = arg;

	t->closed = false;
	virtio_kick(t->vq->owner, t->vq->index);
}

void throttle_start(struct throttle *t, struct limiter *limiter, struct virtqueue *vq,
		    struct loop *loop, _Atomic uint64_t *closings)
{
	t->limiter = limiter;
	t->closings = closings;
	t->vq = vq;
	t->loop = loop;
	t->opens = (struct timer){ .expired = open_again, .arg = t };
	if (t->closed)
		loop_timer_set(loop, &t->opens, t->opens_at_ns);
}

void throttle_stop(struct throttle *t)
{
	loop_timer_cancel(t->loop, &t->opens);
}

bool throttle_begin(struct throttle *t)
{
	unsigned changes = atomic_load(&t->limiter->changes);

	if (changes != t->changes) {
		t->changes = changes;
		t->closed = false;
		loop_timer_cancel(t->loop, &t->opens);
	}
	if (!t->closed && limiter_is_on(t->limiter))
		t->now_ns = loop_now_ns();
	return !t->closed;
}

void throttle_charge_now(struct throttle *t, uint64_t bytes)
{
	struct virtio_device *v = t->vq->owner;
	uint64_t wait_ns = limiter_charge(t->limiter, &t->taker, bytes, t->now_ns);

	if (!wait_ns)
		return;
	t->closed = true;
	if (t->now_ns >= t->silent_until_ns)
		device_tell(&v->dev, "virtio-device", "throttled", json_object());
	t->silent_until_ns = t->now_ns + SILENCE_NS;
	counter_add(t->closings, 1);
	t->opens_at_ns = t->now_ns + wait_ns;
	loop_timer_set(t->loop, &t->opens, t->opens_at_ns);
}

void throttle_changed(struct device *dev)
{
	struct virtio_device *v = container_of(dev, struct virtio_device, dev);

	for (unsigned i = 0; i < v->nqueues; i++)
		virtio_kick(v, i);
}

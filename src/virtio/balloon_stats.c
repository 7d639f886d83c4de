/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest does with its memory: virtio 1.2, 5.5.6.3.  It says so in a buffer that it leaves in
 * the queue, and says it anew when the buffer is given back.  The buffer is read and put back to
 * the queue at once, so that nothing is in flight while the guest need not say anything.
 */
#include <endian.h>
#include <stddef.h>

#include "balloon_internal.h"

enum { STATS_MAX = 64 };

#define PATIENCE_NS UINT64_C(1000000000)

/* As an array by tag. */
static _Atomic uint64_t *values(struct balloon *b)
{
	struct balloon_counters *c = device_counters(&b->v.dev, BALLOON_STATS);

	_Static_assert(offsetof(struct balloon_counters, direct_reclaims) ==
			       offsetof(struct balloon_counters, swap_in) +
				       (BALLOON_STATISTICS - 1) * sizeof(uint64_t),
		       "one member for each tag");
	return &c->swap_in;
}

/* What is unknown here, or cut short, is no fault. */
static void read_stats(struct balloon *b, struct vq_request *r)
{
	struct balloon_counters *c = device_counters(&b->v.dev, BALLOON_STATS);
	uint64_t now_ns = vm_wall_clock_ns(b->v.dev.vm);
	struct virtio_balloon_stat stat;

	for (unsigned i = 0; i < STATS_MAX && req_read(r, &stat, sizeof(stat)) == sizeof(stat);
	     i++) {
		unsigned tag = le16toh(stat.tag);

		if (tag >= BALLOON_STATISTICS)
			continue;
		counter_set(&values(b)[tag], le64toh(stat.val));
		atomic_store_explicit(&b->at_ns[tag], now_ns, memory_order_relaxed);
	}
	counter_add(&c->samples, 1);
}

void balloon_stats_kick(struct balloon *b, struct virtqueue *vq)
{
	struct iovec segment[BALLOON_SEGMENTS];
	struct vq_range range[BALLOON_SEGMENTS];
	struct vq_request r = { .segment_max = BALLOON_SEGMENTS,
				.segment = segment,
				.range = range };

	vq_disable_kicks(vq);
	if (b->held && atomic_load(&b->wanted)) {
		if (vq_pop(vq, &r))
			vq_complete(vq, &r, 0);
		b->held = false;
	}
	do {
		if (b->held || !vq_pop(vq, &r))
			continue;
		read_stats(b, &r);
		vq_unpop(vq, 1);
		b->held = true;
		atomic_store(&b->wanted, false);
		loop_post(b->v.dev.vm->loop, &b->arrived);
	} while (!b->held && vq_enable_kicks(vq));
	vq_flush(vq);
}

/* A sample that was taken before does not answer who asks now. */
static void answer(struct balloon *b, bool all)
{
	uint64_t samples = balloon_samples(&b->v.dev);
	struct list *at, *next;

	for (at = b->asks.next; at != &b->asks; at = next) {
		struct balloon_ask *ask = list_item(at, struct balloon_ask, node);

		next = at->next;
		if (!all && ask->samples == samples)
			continue;
		list_remove(&ask->node);
		ask->done(ask->arg);
	}
	if (list_empty(&b->asks))
		loop_timer_cancel(b->v.dev.vm->loop, &b->patience);
}

static void sample_arrived(void *arg)
{
	answer(arg, false);
}

static void answer_all(void *arg)
{
	answer(arg, true);
}

static bool can_ask(const struct balloon *b)
{
	return b->v.dev.phase == DEVICE_RUNNING && virtio_has(&b->v, VIRTIO_BALLOON_F_STATS_VQ) &&
	       b->v.handed_over;
}

static void want(struct balloon *b)
{
	b->asked_ns = loop_now_ns();
	atomic_store(&b->wanted, true);
	virtio_kick(&b->v, BALLOON_STATS);
}

void balloon_stats_want(struct balloon *b)
{
	if (can_ask(b) && loop_now_ns() - b->asked_ns >= PATIENCE_NS)
		want(b);
}

void balloon_ask(struct device *dev, struct balloon_ask *ask)
{
	struct balloon *b = balloon_of(dev);

	if (!can_ask(b)) {
		ask->done(ask->arg);
		return;
	}
	ask->samples = balloon_samples(dev);
	list_append(&b->asks, &ask->node);
	want(b);
	loop_timer_set(dev->vm->loop, &b->patience, b->asked_ns + PATIENCE_NS);
}

void balloon_stats_forget(struct balloon *b)
{
	for (unsigned tag = 0; tag < BALLOON_STATISTICS; tag++) {
		counter_set(&values(b)[tag], 0);
		b->at_ns[tag] = 0;
	}
	b->held = false;
	b->wanted = false;
}

static void release(void *arg)
{
	struct balloon *b = arg;

	answer_all(b);
	loop_unpost(b->v.dev.vm->loop, &b->arrived);
}

int balloon_stats_attach(struct balloon *b, struct err *e)
{
	int r;

	list_init(&b->asks);
	b->arrived = (struct work){ .run = sample_arrived, .arg = b };
	b->patience = (struct timer){ .expired = answer_all, .arg = b };
	r = device_claim_timer(&b->v.dev, &b->patience, e);
	return r ? r : device_claim(&b->v.dev, release, b, e);
}

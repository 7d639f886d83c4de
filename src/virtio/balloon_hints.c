/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free pages that a guest need not have on its new host: virtio 1.2, 5.5.6.5.  It is asked by a
 * number in the configuration, repeats that number in the queue, and then gives ranges that are
 * free, until it gives the number that says stop, or is told that nobody wants them any more.
 * Whoever wants them knows by itself what is written since it asked: that is to be kept.
 *
 * What comes behind another number was meant for somebody who asked before.
 */
#include <endian.h>
#include <sys/random.h>

#include "balloon_internal.h"

/* Hints that take as long as a page that is given back. */
enum { BYTES_OF_A_PAGE = MIB };

static void take_number(struct balloon *b, struct vq_request *r)
{
	uint32_t id;
	bool is_whole = req_read(r, &id, sizeof(id)) == sizeof(id);

	pthread_mutex_lock(&b->hints.lock);
	b->hints.heard = is_whole && b->hints.wanted && le32toh(id) == b->hints.id;
	pthread_mutex_unlock(&b->hints.lock);
}

/* Under the lock: when nobody wants them any more, none is on its way. */
static void take_range(struct balloon *b, struct balloon_counters *c, const struct vq_range *range)
{
	pthread_mutex_lock(&b->hints.lock);
	if (b->hints.heard && balloon_may_become_zero(b)) {
		guest_mem_hint(b->v.dev.vm->mem, range->gpa, range->len);
		counter_add(&c->hinted, range->len);
	}
	pthread_mutex_unlock(&b->hints.lock);
}

uint64_t balloon_hints_take(struct balloon *b, struct balloon_counters *c, struct vq_request *r)
{
	uint64_t bytes = 0;

	if (r->readable_bytes)
		take_number(b, r);
	for (unsigned i = 0; i < r->nranges; i++) {
		take_range(b, c, &r->range[i]);
		bytes += r->range[i].len;
	}
	return bytes / BYTES_OF_A_PAGE;
}

bool balloon_can_hint(const struct device *dev)
{
	struct balloon *b = balloon_of((struct device *)dev);

	return dev->phase == DEVICE_RUNNING && b->v.handed_over &&
	       virtio_has(&b->v, VIRTIO_BALLOON_F_FREE_PAGE_HINT) && balloon_may_become_zero(b);
}

/* A number that no host has asked it by before: the guest would not answer again. */
static uint32_t new_number(void)
{
	uint32_t id = 0;

	if (getrandom(&id, sizeof(id), 0) < 0)
		id = (uint32_t)loop_now_ns();
	return id | BIT(31);
}

void balloon_hint(struct device *dev, bool wanted)
{
	struct balloon *b = balloon_of(dev);

	pthread_mutex_lock(&b->hints.lock);
	b->hints.wanted = wanted;
	b->hints.heard = false;
	b->hints.id = wanted ? new_number() : VIRTIO_BALLOON_CMD_ID_DONE;
	pthread_mutex_unlock(&b->hints.lock);
	balloon_show(b);
	if (dev->phase == DEVICE_RUNNING)
		virtio_config_changed(&b->v);
}

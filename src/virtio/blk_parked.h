/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that the host could not do and that the guest is not told of, as the VM pauses instead:
 * each is known by the head of its descriptors, and nothing else of it is kept.  Whoever has the
 * queue when it is started next, here or on another host, fetches it anew from the guest's memory
 * and tries it first.
 *
 * A queue that has some takes nothing else until then, so that there are never more than it has
 * entries.  The order in which requests are done is no promise, and a flush is for writes that were
 * completed before it was made available (virtio 1.2, 5.2.6.2), which a parked one was not: what
 * else is under way may complete, flushes too.
 */
#ifndef BLK_PARKED_H
#define BLK_PARKED_H

#include "virtio.h"

/* Of a queue. */
struct blk_parked {
	uint32_t n;
	uint16_t head[VIRTQUEUE_SIZE_MAX];
};

extern const struct state_desc blk_parked_desc;

void blk_parked_add(struct blk_parked *, uint16_t head);
/* What was loaded, parked[n]: heads of queues that are in use. */
int blk_parked_check(const struct virtio_device *, const struct blk_parked *parked, uint32_t n,
		     struct err *);

#endif

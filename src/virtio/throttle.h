/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limiter in front of one queue.  The device asks throttle_begin() before a batch, charges each
 * request that it took, and takes no more, nor asks for kicks, once the throttle is closed.  What
 * is in the ring stays there.  When the time has come, or the limits change, the queue is kicked:
 * a closed throttle costs one timer and nothing else.
 *
 * Everything here is on the queue's I/O thread, but for throttle_changed(): on main.  A queue that
 * is stopped and started again, in this process, waits on: a reset does not get around a limit.
 */
#ifndef THROTTLE_H
#define THROTTLE_H

#include "rate_limit.h"
#include "virtio.h"

struct throttle {
	struct limiter *limiter;
	struct virtqueue *vq;
	struct loop *loop;
	struct limiter_taker taker;
	_Atomic uint64_t *closings; /* a counter */
	struct timer opens;
	uint64_t now_ns; /* when the batch began */
	uint64_t opens_at_ns;
	uint64_t silent_until_ns; /* it closes often: told after a while without */
	unsigned changes; /* of the limiter, when it was last looked at */
	bool closed;
};

void throttle_start(struct throttle *, struct limiter *, struct virtqueue *, struct loop *,
		    _Atomic uint64_t *closings);
void throttle_stop(struct throttle *); /* the class's queue_stop */

bool throttle_begin(struct throttle *); /* false: closed */
void throttle_charge_now(struct throttle *, uint64_t bytes);

/* For each request that was taken; it may close the throttle. */
static inline void throttle_charge(struct throttle *t, uint64_t bytes)
{
	if (limiter_is_on(t->limiter))
		throttle_charge_now(t, bytes);
}

/* For rate_limit_attach(), of a struct virtio_device. */
void throttle_changed(struct device *);

#endif

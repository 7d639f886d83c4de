/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit on a flow of requests: two token buckets, for bytes and for operations.  A bucket
 * holds size tokens, refills evenly, all of them within refill_time, and begins full; a one-time
 * burst is taken before them and does not come back.
 *
 * All that is kept of a bucket is when it will be full again, a moment that each charge moves on
 * by as long as its tokens take to come back (GCRA, ITU-T I.371).  So any number of threads
 * share a limiter without a lock, and nothing runs while nobody asks.
 *
 * A charge is never refused.  It may leave a bucket in debt, and tells when that is repaid: until
 * then its taker takes nothing more.  So a request of any size passes, the average holds to the
 * nanosecond, and takers of one limiter have their turns in the order in which they were told to
 * wait.  In any time a limiter lets pass its size, what that time refills, and one request more
 * for each taker.
 *
 * The guest sees nothing of this but time: none of it is saved.
 */
#ifndef LIMITER_H
#define LIMITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* 146 years: with the host's clock and one debt on top it still fits into 64 bits of ns. */
#define LIMITER_REFILL_MS_MAX (INT64_MAX / 2 / 1000000)

/* As users write it.  size or refill_time 0: no limit. */
struct limiter_bucket_config {
	uint64_t size, one_time_burst; /* bytes or operations */
	uint64_t refill_time; /* milliseconds, up to LIMITER_REFILL_MS_MAX */
};

struct limiter_config {
	struct limiter_bucket_config bandwidth, ops;
};

/*
 * Main writes size and refill_ns, takers read them.  Main sets burst and full_at_ns, takers
 * count them on.  Main sets full_at_ns last, each time to a later moment, and a taker reads it
 * first: if a taker sees a mix of old and new, main is about to overwrite what it is charged, or
 * its exchange fails and it looks again.
 */
struct limiter_bucket {
	_Atomic uint64_t size, refill_ns; /* size 0: no limit */
	_Atomic uint64_t burst;
	_Atomic uint64_t full_at_ns;
};

/* All zeroes: no limit. */
struct limiter {
	struct limiter_bucket bandwidth, ops;
	atomic_bool on; /* main writes, takers read, as the next */
	atomic_uint changes; /* a taker that waits looks again when this has moved */
};

/* One thread's: what is left to charge with its next request, of each less than a nanosecond. */
struct limiter_taker {
	uint64_t bandwidth_rest, ops_rest;
};

/* Main, also while others are charged: full buckets of these sizes, without any debt.  now_ns is
 * later than at the call before. */
void limiter_set(struct limiter *, const struct limiter_config *, uint64_t now_ns);

/*
 * Charge one operation with so many bytes.  0, or nanoseconds until the taker may take its next
 * request.  now_ns may be older than that of other takers.
 */
uint64_t limiter_charge(struct limiter *, struct limiter_taker *, uint64_t bytes, uint64_t now_ns);

static inline bool limiter_is_on(const struct limiter *l)
{
	return atomic_load_explicit(&l->on, memory_order_relaxed);
}

#endif

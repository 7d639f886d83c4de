/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "bits.h"
#include "limiter.h"

#define NS_PER_MS UINT64_C(1000000)
/* The latest moment at which a bucket can be full: 292 years after the host was started. */
#define FAR_NS (UINT64_C(1) << 63)

static void bucket_set(struct limiter_bucket *b, const struct limiter_bucket_config *c,
		       uint64_t now_ns)
{
	bool on = c->size && c->refill_time;

	assert(c->refill_time <= LIMITER_REFILL_MS_MAX);
	atomic_store(&b->size, on ? c->size : 0);
	atomic_store(&b->refill_ns, c->refill_time * NS_PER_MS);
	atomic_store(&b->burst, on ? c->one_time_burst : 0);
	atomic_store(&b->full_at_ns, now_ns);
}

void limiter_set(struct limiter *l, const struct limiter_config *c, uint64_t now_ns)
{
	bucket_set(&l->bandwidth, &c->bandwidth, now_ns);
	bucket_set(&l->ops, &c->ops, now_ns);
	atomic_store(&l->on, l->bandwidth.size || l->ops.size);
	atomic_fetch_add(&l->changes, 1);
}

/* Returns the tokens that the burst has not. */
static uint64_t take_burst(struct limiter_bucket *b, uint64_t tokens)
{
	uint64_t left = atomic_load(&b->burst);

	while (left)
		if (atomic_compare_exchange_weak(&b->burst, &left, left - MIN(left, tokens)))
			return tokens - MIN(left, tokens);
	return tokens;
}

/* How long tokens take to come back.  *rest, below size, is what does not make a nanosecond. */
static uint64_t cost_ns(uint64_t tokens, uint64_t size, uint64_t refill_ns, uint64_t *rest)
{
	unsigned __int128 total = (unsigned __int128)tokens * refill_ns + *rest;

	*rest = (uint64_t)(total % size);
	return (uint64_t)MIN(total / size, FAR_NS);
}

static uint64_t bucket_charge(struct limiter_bucket *b, uint64_t tokens, uint64_t *rest,
			      uint64_t now_ns)
{
	uint64_t full_at_ns, then_ns, cost, size, refill_ns, left;

	tokens = take_burst(b, tokens);
	full_at_ns = atomic_load(&b->full_at_ns);
	do {
		size = atomic_load(&b->size);
		refill_ns = atomic_load(&b->refill_ns);
		if (!size || !tokens)
			return 0;
		left = *rest < size ? *rest : 0; /* else it is of another size */
		cost = cost_ns(tokens, size, refill_ns, &left);
		then_ns = MAX(full_at_ns, now_ns);
		then_ns += MIN(cost, FAR_NS - then_ns);
	} while (!atomic_compare_exchange_weak(&b->full_at_ns, &full_at_ns, then_ns));
	*rest = left;
	/* Empty when it takes the whole of refill_ns to be full; then the least bit more. */
	return then_ns - now_ns < refill_ns ? 0 : then_ns - now_ns - refill_ns + 1;
}

uint64_t limiter_charge(struct limiter *l, struct limiter_taker *t, uint64_t bytes, uint64_t now_ns)
{
	uint64_t ops_ns = bucket_charge(&l->ops, 1, &t->ops_rest, now_ns);
	uint64_t bandwidth_ns = bucket_charge(&l->bandwidth, bytes, &t->bandwidth_rest, now_ns);

	return MAX(ops_ns, bandwidth_ns);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets, with the time that the test says it is. */
#include <pthread.h>

#include "bits.h"
#include "check_main.h"
#include "limiter.h"

#define SECOND UINT64_C(1000000000)
#define YEAR (UINT64_C(31557600) * SECOND)

static struct limiter limiter;

/* A queue with more requests than may pass. */
struct flow {
	struct limiter_taker taker;
	uint64_t next_ns;
	uint64_t passed;
};

static void setup(void)
{
	limiter = (struct limiter){ 0 };
}

static void set_ops(uint64_t size, uint64_t burst, uint64_t refill_ms, uint64_t now_ns)
{
	limiter_set(&limiter, &(struct limiter_config){ .ops = { size, burst, refill_ms } },
		    now_ns);
}

static void set_bandwidth(uint64_t size, uint64_t burst, uint64_t refill_ms, uint64_t now_ns)
{
	limiter_set(&limiter, &(struct limiter_config){ .bandwidth = { size, burst, refill_ms } },
		    now_ns);
}

static void pass_one(struct flow *f, uint64_t bytes)
{
	f->next_ns += limiter_charge(&limiter, &f->taker, bytes, f->next_ns);
	f->passed++;
}

/* All that passes before until_ns. */
static void pass(struct flow *f, uint64_t bytes, uint64_t until_ns)
{
	while (f->next_ns < until_ns)
		pass_one(f, bytes);
}

static uint64_t charge(uint64_t bytes, uint64_t now_ns)
{
	struct limiter_taker taker = { 0 };

	return limiter_charge(&limiter, &taker, bytes, now_ns);
}

START_TEST(operations_are_counted_exactly)
{
	struct flow f = { 0 };

	set_ops(10, 0, 1000, 0);
	pass(&f, 4096, 1);
	ck_assert_uint_eq(f.passed, 10);
	pass(&f, 4096, 100000001);
	ck_assert_uint_eq(f.passed, 11);
	pass(&f, 4096, SECOND);
	ck_assert_uint_eq(f.passed, 20);
	pass(&f, 4096, 3600 * SECOND);
	ck_assert_uint_eq(f.passed, 36010);
}
END_TEST

/* 4095 bytes of 100 MiB per second are 39052.96... ns. */
START_TEST(bytes_do_not_drift)
{
	enum { SIZE = 100 * MIB, REQUEST = 4095, SECONDS = 200 };
	uint64_t due = (uint64_t)SIZE * (1 + SECONDS), bytes;
	struct flow f = { 0 };

	set_bandwidth(SIZE, 0, 1000, 0);
	pass(&f, REQUEST, SECONDS * SECOND);
	bytes = f.passed * REQUEST;
	ck_assert_uint_ge(bytes, due);
	ck_assert_uint_lt(bytes, due + REQUEST);
}
END_TEST

START_TEST(a_bucket_holds_no_more_than_its_size)
{
	struct flow f = { 0 };

	set_ops(10, 0, 1000, 0);
	for (unsigned i = 1; i <= 5; i++) {
		f.next_ns = i * 30 * YEAR;
		pass(&f, 0, f.next_ns + 1);
		ck_assert_uint_eq(f.passed, 10 * i);
	}
}
END_TEST

START_TEST(a_burst_comes_once)
{
	struct flow f = { 0 };

	set_ops(10, 5, 1000, 0);
	pass(&f, 0, 1);
	ck_assert_uint_eq(f.passed, 15);
	f.next_ns = 100 * SECOND;
	pass(&f, 0, 100 * SECOND + 1);
	ck_assert_uint_eq(f.passed, 25);

	/* What the burst has not is the bucket's to give. */
	set_bandwidth(1000, 300, 1000, 200 * SECOND);
	ck_assert_uint_eq(charge(500, 200 * SECOND), 0);
	ck_assert_uint_eq(charge(799, 200 * SECOND), 0);
	ck_assert_uint_eq(charge(1, 200 * SECOND), 1);
}
END_TEST

START_TEST(a_large_request_passes_and_is_paid_for)
{
	set_bandwidth(1000, 0, 1000, 0);
	ck_assert_uint_eq(charge(10000, 0), 9 * SECOND + 1);
	/* Another's comes on top. */
	ck_assert_uint_eq(charge(1000, SECOND), 9 * SECOND + 1);
	ck_assert_uint_eq(charge(1, 11 * SECOND), 0);
}
END_TEST

START_TEST(the_stricter_bucket_decides)
{
	const struct limiter_config c = { .bandwidth = { 1000, 0, 1000 }, .ops = { 10, 0, 1000 } };

	limiter_set(&limiter, &c, 0);
	for (unsigned i = 0; i < 9; i++)
		ck_assert_uint_eq(charge(0, 0), 0);
	ck_assert_uint_eq(charge(3000, 0), 2 * SECOND + 1);
	ck_assert_uint_eq(charge(0, 2 * SECOND), 0);

	limiter_set(&limiter, &c, 0);
	ck_assert_uint_eq(charge(999, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(charge(0, 0), 0);
	ck_assert_uint_eq(charge(0, 0), 1);
	ck_assert_uint_eq(charge(0, 0), SECOND / 10 + 1);
}
END_TEST

/* Two that have much to do: together they have what one would have, and each has half. */
START_TEST(takers_share_in_turns)
{
	struct flow f[2] = { 0 };

	set_ops(10, 0, 1000, 0);
	while (f[0].next_ns < 100 * SECOND || f[1].next_ns < 100 * SECOND)
		pass_one(&f[f[1].next_ns < f[0].next_ns], 0);
	ck_assert_uint_ge(f[0].passed + f[1].passed, 10 + 1000);
	ck_assert_uint_le(f[0].passed + f[1].passed, 10 + 1000 + 2);
	ck_assert_uint_ge(f[1].passed, 500);
	ck_assert_uint_ge(f[0].passed, 500);
}
END_TEST

enum { THREADS = 4, CHARGES = 100000 };

static void *charge_many(void *arg)
{
	struct limiter_taker taker = { 0 };

	(void)arg;
	for (unsigned i = 0; i < CHARGES; i++)
		limiter_charge(&limiter, &taker, 3, 0);
	return NULL;
}

START_TEST(threads_lose_no_charge)
{
	pthread_t thread[THREADS];
	uint64_t all = THREADS * CHARGES;

	/* 3 bytes are 1 ns; the burst is gone in the middle of it. */
	limiter_set(&limiter,
		    &(struct limiter_config){ .bandwidth = { 3 * SECOND, 1000000, 1000 },
					      .ops = { 1000, 0, 1000 } },
		    0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, charge_many, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(limiter.ops.full_at_ns, all * (SECOND / 1000));
	ck_assert_uint_eq(limiter.bandwidth.burst, 0);
	/* Of each thread less than a nanosecond is not charged yet. */
	ck_assert_uint_le(limiter.bandwidth.full_at_ns, (3 * all - 1000000) / 3);
	ck_assert_uint_ge(limiter.bandwidth.full_at_ns, (3 * all - 1000000) / 3 - THREADS);
}
END_TEST

START_TEST(limits_change)
{
	unsigned changes;

	ck_assert(!limiter_is_on(&limiter));
	ck_assert_uint_eq(charge(1 << 30, 0), 0);
	set_ops(1, 0, LIMITER_REFILL_MS_MAX, 5);
	ck_assert(limiter_is_on(&limiter));
	charge(0, 5);
	ck_assert_uint_gt(charge(0, 5), 100 * YEAR);

	/* No debt outlives its limit. */
	changes = limiter.changes;
	set_ops(10, 2, 1000, 7);
	ck_assert_uint_ne(limiter.changes, changes);
	for (unsigned i = 0; i < 11; i++)
		ck_assert_uint_eq(charge(0, 7), 0);
	ck_assert_uint_eq(charge(0, 7), 1);
	set_ops(0, 100, 1000, 8);
	ck_assert(!limiter_is_on(&limiter));
	ck_assert_uint_eq(charge(0, 8), 0);
	set_ops(100, 0, 0, 8);
	ck_assert(!limiter_is_on(&limiter));
	ck_assert_uint_eq(charge(0, 8), 0);
}
END_TEST

/* Under 2^62 bytes per ms, nearly all of one request is left to charge with the next. */
START_TEST(what_is_left_to_charge_is_worth_nothing_under_other_limits)
{
	struct limiter_taker taker = { 0 };

	set_bandwidth(UINT64_C(1) << 62, 0, 1, 0);
	ck_assert_uint_eq(limiter_charge(&limiter, &taker, UINT64_C(1) << 40, 0), 0);
	ck_assert_uint_gt(taker.bandwidth_rest, UINT64_C(1) << 50);
	set_bandwidth(10, 0, 1000, 0);
	ck_assert_uint_eq(limiter_charge(&limiter, &taker, 1, 0), 0);
	ck_assert_uint_eq(limiter.bandwidth.full_at_ns, SECOND / 10);
}
END_TEST

static atomic_bool over;

static void *charge_on(void *arg)
{
	struct limiter_taker taker = { 0 };
	uint64_t *after = arg;

	while (!over)
		limiter_charge(&limiter, &taker, 0, SECOND);
	/* The last limits, whatever was charged under others. */
	for (*after = 0; *after < 100; (*after)++)
		limiter_charge(&limiter, &taker, 0, SECOND);
	return NULL;
}

START_TEST(a_charge_under_old_limits_does_not_stay)
{
	uint64_t now_ns = SECOND;

	for (unsigned round = 0; round < 200; round++) {
		pthread_t thread;
		uint64_t after;

		over = false;
		ck_assert_int_eq(pthread_create(&thread, NULL, charge_on, &after), 0);
		for (unsigned i = 0; i < 1000; i++) {
			set_ops(1, 0, LIMITER_REFILL_MS_MAX, now_ns++);
			set_ops(UINT64_C(1) << 62, 0, 1, now_ns++);
		}
		over = true;
		pthread_join(thread, NULL);
		ck_assert_uint_lt(limiter.ops.full_at_ns, 2 * SECOND);
	}
}
END_TEST

START_TEST(extremes)
{
	struct flow f = { .next_ns = 100 * YEAR };

	set_bandwidth(INT64_MAX, 0, 1, 0);
	ck_assert_uint_eq(charge(INT64_MAX, YEAR), 1);
	ck_assert_uint_eq(charge(INT64_MAX, YEAR + 1), 1000000);
	ck_assert_uint_eq(charge(UINT64_C(1) << 62, 2 * YEAR), 0);

	set_bandwidth(INT64_MAX, INT64_MAX, LIMITER_REFILL_MS_MAX, 0);
	ck_assert_uint_eq(charge(INT64_MAX, 0), 0);
	ck_assert_uint_eq(limiter_charge(&limiter, &f.taker, INT64_MAX - 10, 0), 0);
	ck_assert_uint_eq(limiter_charge(&limiter, &f.taker, 10, 0), 1);

	set_bandwidth(1, 0, LIMITER_REFILL_MS_MAX, 0);
	ck_assert_uint_eq(charge(1, 0), 1);
	ck_assert_uint_eq(charge(1, 0), LIMITER_REFILL_MS_MAX * UINT64_C(1000000) + 1);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_gt(charge(UINT64_MAX, 100 * YEAR), 40 * YEAR);
	ck_assert_uint_eq(limiter.bandwidth.full_at_ns, UINT64_C(1) << 63);

	set_ops(7, 0, 1, 0);
	pass(&f, UINT64_MAX, 100 * YEAR + SECOND);
	ck_assert_uint_eq(f.passed, 7 + 7000);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("limiter");
	TCase *tc = tcase_create("limiter");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, operations_are_counted_exactly);
	tcase_add_test(tc, bytes_do_not_drift);
	tcase_add_test(tc, a_bucket_holds_no_more_than_its_size);
	tcase_add_test(tc, a_burst_comes_once);
	tcase_add_test(tc, a_large_request_passes_and_is_paid_for);
	tcase_add_test(tc, the_stricter_bucket_decides);
	tcase_add_test(tc, takers_share_in_turns);
	tcase_add_test(tc, threads_lose_no_charge);
	tcase_add_test(tc, limits_change);
	tcase_add_test(tc, what_is_left_to_charge_is_worth_nothing_under_other_limits);
	tcase_add_test(tc, a_charge_under_old_limits_does_not_stay);
	tcase_add_test(tc, extremes);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* What a limit of cores comes to, by a clock of its own: who runs how long, and who waits. */
#include "bits.h"
#include "check_main.h"
#include "vcpu_limit.h"

enum { VCPUS = 3, MS = 1000000, BEGIN_S = 1000 };

static struct limiter budget;

static void set(uint32_t thousandths, uint64_t now_ns)
{
	struct limiter_config c = vcpu_limit_budget(thousandths);

	limiter_set(&budget, &c, now_ns);
}

/* Threads of which each is always busy, with a core of its own, and whose slices are longer by so
 * much than they should be: how long they ran in that time. */
static uint64_t run(uint64_t *now_ns, uint64_t for_ns, unsigned threads, uint64_t late_ns,
		    uint64_t ran_ns[VCPUS])
{
	uint64_t slice_ns = vcpu_limit_slice_ns(&budget) + late_ns, end_ns = *now_ns + for_ns;
	struct limiter_taker taker[VCPUS] = { 0 };
	uint64_t free_at_ns[VCPUS], total_ns = 0;

	for (unsigned i = 0; i < VCPUS; i++) {
		free_at_ns[i] = *now_ns;
		ran_ns[i] = 0;
	}
	for (;;) {
		unsigned next = 0;

		for (unsigned i = 1; i < threads; i++)
			if (free_at_ns[i] < free_at_ns[next])
				next = i;
		*now_ns = free_at_ns[next] + slice_ns;
		if (*now_ns > end_ns)
			break;
		ran_ns[next] += slice_ns;
		total_ns += slice_ns;
		free_at_ns[next] = *now_ns +
				   limiter_charge(&budget, &taker[next], slice_ns, *now_ns);
	}
	*now_ns = end_ns;
	return total_ns;
}

START_TEST(shares)
{
	static const uint32_t limits[] = { 10, 100, 500, 999, 1000, 1500, 2500, 2999 };
	static const uint64_t late[] = { 0, 2 * MS, 7 * MS };
	uint64_t now_ns = BEGIN_S * UINT64_C(1000000000), ran_ns[VCPUS];

	for (unsigned l = 0; l < ARRAY_SIZE(limits); l++) {
		for (unsigned i = 0; i < ARRAY_SIZE(late); i++) {
			uint64_t for_ns = UINT64_C(60) * 1000 * MS, slack_ns, ns;

			set(limits[l], ++now_ns);
			slack_ns = VCPUS * (vcpu_limit_slice_ns(&budget) + late[i]) +
				   VCPU_LIMIT_PERIOD_MS * MS * UINT64_C(3);
			ns = run(&now_ns, for_ns, VCPUS, late[i], ran_ns);
			ck_assert_uint_le(ns, for_ns / 1000 * limits[l] + slack_ns);
			ck_assert_uint_ge(ns, for_ns / 1000 * limits[l] - slack_ns);
			/* Each in its turn. */
			for (unsigned v = 1; v < VCPUS; v++) {
				ck_assert_uint_le(ran_ns[v], ran_ns[0] + slack_ns);
				ck_assert_uint_ge(ran_ns[v] + slack_ns, ran_ns[0]);
			}
		}
	}
}
END_TEST

/* One that is busy has what the others leave, up to a core. */
START_TEST(one_of_many)
{
	uint64_t now_ns = BEGIN_S * UINT64_C(1000000000), ran_ns[VCPUS];
	uint64_t for_ns = UINT64_C(10) * 1000 * MS, slack_ns = 30 * MS;

	set(2500, now_ns);
	ck_assert_uint_ge(run(&now_ns, for_ns, 1, 0, ran_ns), for_ns - slack_ns);
	set(700, ++now_ns);
	ck_assert_uint_ge(run(&now_ns, for_ns, 1, 0, ran_ns), for_ns / 10 * 7 - slack_ns);
	set(700, ++now_ns);
	ck_assert_uint_le(run(&now_ns, for_ns, 1, 0, ran_ns), for_ns / 10 * 7 + slack_ns);
}
END_TEST

/* Whoever was idle for long has one period's worth at once and no more; a debt is paid. */
START_TEST(burst_and_debt)
{
	uint64_t now_ns = BEGIN_S * UINT64_C(1000000000);
	uint64_t burst_ns = VCPU_LIMIT_PERIOD_MS * MS / 2;
	struct limiter_taker taker = { 0 };

	set(500, now_ns);
	now_ns += UINT64_C(3600) * 1000 * MS;
	ck_assert_uint_eq(limiter_charge(&budget, &taker, burst_ns - 1, now_ns), 0);
	ck_assert_uint_gt(limiter_charge(&budget, &taker, 5 * MS, now_ns), 9 * MS);
	ck_assert_uint_le(limiter_charge(&budget, &taker, 0, now_ns), 10 * MS + 1);
	set(0, ++now_ns);
	ck_assert(!limiter_is_on(&budget));
	ck_assert_uint_eq(limiter_charge(&budget, &taker, 5 * MS, now_ns), 0);
}
END_TEST

START_TEST(slices)
{
	uint64_t before_ns = 0;

	for (uint32_t limit = 10; limit < 4000; limit += 10) {
		uint64_t ns;

		set(limit, UINT64_C(1000000000) * limit);
		ns = vcpu_limit_slice_ns(&budget);
		ck_assert_uint_ge(ns, before_ns);
		ck_assert_uint_ge(ns, MS / 5);
		ck_assert_uint_le(ns, 2 * MS);
		before_ns = ns;
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("vcpu_limit");
	TCase *tc = tcase_create("vcpu_limit");

	tcase_add_test(tc, shares);
	tcase_add_test(tc, one_of_many);
	tcase_add_test(tc, burst_and_debt);
	tcase_add_test(tc, slices);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

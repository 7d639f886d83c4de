/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "check_estimate.h"
#include "check_main.h"
#include "migration.h"

static const struct migration_goals goals = { .blackout_ms = 50, .deadline_s = 60 };

START_TEST(idle)
{
	struct check_estimate c = { .bytes = 100 * MIB, .rate = 100 * MIB };

	check_estimate(&c, &goals);
	ck_assert(c.converges);
	ck_assert_uint_ge(c.duration_ns, UINT64_C(1000000000));
	ck_assert_uint_lt(c.duration_ns, UINT64_C(1100000000));
	ck_assert_uint_gt(c.blackout_ns, 0);
}
END_TEST

/* 100 MiB, then 50, 25 and so on, until 50 ms are enough for the rest. */
START_TEST(rounds)
{
	struct check_estimate c = { .bytes = 100 * MIB, .written = 50 * MIB, .rate = 100 * MIB };

	check_estimate(&c, &goals);
	ck_assert(c.converges);
	ck_assert_uint_gt(c.duration_ns, UINT64_C(1900000000));
	ck_assert_uint_lt(c.duration_ns, UINT64_C(2100000000));
	ck_assert_uint_le(c.blackout_ns, UINT64_C(50000000));
}
END_TEST

/* Its vCPUs are slowed down until the connection carries it. */
START_TEST(slowed_down)
{
	struct check_estimate c = { .bytes = GIB, .written = 200 * MIB, .rate = 100 * MIB };

	check_estimate(&c, &goals);
	ck_assert(c.converges);
	ck_assert_uint_eq(c.percent, 80);
	ck_assert_uint_gt(c.duration_ns, UINT64_C(20000000000));
}
END_TEST

/* They are already, and it is no faster than that. */
START_TEST(slowed_down_before)
{
	struct check_estimate c = {
		.bytes = GIB, .written = 200 * MIB, .rate = 100 * MIB, .percent = 95
	};

	check_estimate(&c, &goals);
	ck_assert(c.converges);
	ck_assert_uint_eq(c.percent, 95);
	ck_assert_uint_lt(c.duration_ns, UINT64_C(13000000000));
}
END_TEST

START_TEST(writes_too_much)
{
	struct check_estimate c = { .bytes = GIB, .written = 200 * MIB, .rate = MIB };
	struct migration_goals late = goals;
	json_t *why;

	check_estimate(&c, &goals);
	ck_assert(!c.converges);
	why = check_estimate_why(&c, &goals);
	ck_assert_str_eq(json_string_value(why),
			 "will not converge because the guest writes 200.0 MiB/s and the "
			 "connection carries 1.0 MiB/s");
	json_decref(why);
	late.late = true;
	check_estimate(&c, &late);
	ck_assert(c.converges);
	ck_assert_uint_gt(c.blackout_ns, UINT64_C(50000000));
}
END_TEST

/* What it is limited to is what counts. */
START_TEST(limited)
{
	struct check_estimate c = { .bytes = 100 * MIB, .rate = GIB };
	struct migration_goals slow = goals;

	slow.bandwidth = 10 * MIB;
	check_estimate(&c, &slow);
	ck_assert(c.converges);
	ck_assert_uint_eq(c.rate, 10 * MIB);
	ck_assert_uint_ge(c.duration_ns, UINT64_C(10000000000));
}
END_TEST

START_TEST(deadline)
{
	struct check_estimate c = { .bytes = GIB, .written = 9 * MIB, .rate = 10 * MIB };
	json_t *why;

	check_estimate(&c, &goals);
	ck_assert(!c.converges);
	why = check_estimate_why(&c, &goals);
	ck_assert(strstr(json_string_value(why), "after 60 s"));
	json_decref(why);
}
END_TEST

/* However long a round takes, it finds no more than what is written again and again. */
START_TEST(write_set)
{
	struct check_estimate c = {
		.bytes = GIB, .written = 200 * MIB, .rate = 100 * MIB, .write_set = 4 * MIB
	};

	check_estimate(&c, &goals);
	ck_assert(c.converges);
	ck_assert_uint_lt(c.duration_ns, UINT64_C(10500000000));
	/* A large one is as none. */
	c = (struct check_estimate){ .bytes = 100 * MIB,
				     .written = 50 * MIB,
				     .rate = 100 * MIB,
				     .write_set = UINT64_C(1) << 40 };
	check_estimate(&c, &goals);
	ck_assert_uint_gt(c.duration_ns, UINT64_C(1900000000));
	ck_assert_uint_lt(c.duration_ns, UINT64_C(2100000000));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("check_estimate");
	TCase *t = tcase_create("check_estimate");

	tcase_add_test(t, idle);
	tcase_add_test(t, rounds);
	tcase_add_test(t, slowed_down);
	tcase_add_test(t, slowed_down_before);
	tcase_add_test(t, writes_too_much);
	tcase_add_test(t, limited);
	tcase_add_test(t, deadline);
	tcase_add_test(t, write_set);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

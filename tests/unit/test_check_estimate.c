/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "check_estimate.h"
#include "check_main.h"
#include "guest_mem.h"
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

START_TEST(sample)
{
	struct guest_mem_config config = { .size_bytes = 64 * MIB };
	struct check_estimate c = { 0 };
	struct check_sample *s;
	struct guest_mem *mem;
	struct err e;

	ck_assert(!guest_mem_new(&mem, &config, &e));
	s = check_sample_new(mem);
	check_sample_finish(s, &c);
	check_sample_free(s);
	ck_assert(!c.bytes && !c.written);
	memset(mem->region[0].host, 1, mem->region[0].size_bytes);
	s = check_sample_new(mem);
	memset(mem->region[0].host, 2, mem->region[0].size_bytes / 2);
	check_sample_finish(s, &c);
	check_sample_free(s);
	ck_assert_uint_eq(c.bytes, 64 * MIB);
	ck_assert_uint_gt(c.written, 0);
	guest_mem_free(mem);
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
	tcase_add_test(t, sample);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* How a VM has been doing, from counts that only grow. */
#include "check_main.h"
#include "signals.h"

#define SECOND UINT64_C(1000000000)

enum { WINDOW = 60, LOOK = 10 };

/* Both vCPUs run and wait for so many tenths of each second, for so many looks. */
static uint64_t look(struct signals *s, struct signal_counts *c, uint64_t now, unsigned looks,
		     unsigned run, unsigned delay)
{
	while (looks--) {
		now += LOOK * SECOND;
		c->run += 2 * run * LOOK * SECOND / 10;
		c->delay += 2 * delay * LOOK * SECOND / 10;
		c->io += LOOK * SECOND / 4;
		signals_add(s, now, c, 2, WINDOW);
	}
	return now;
}

START_TEST(windows)
{
	struct signals s = { 0 };
	struct signal_counts c = { .run = 77, .delay = 5 };
	uint64_t now = SECOND;

	signals_add(&s, now, &c, 2, WINDOW);
	now = look(&s, &c, now, 5, 3, 1);
	ck_assert_uint_eq(s.run.n, 0);
	ck_assert_double_lt(signals_happiness(&s), 0);
	now = look(&s, &c, now, 1, 3, 1);
	ck_assert_uint_eq(s.run.n, 1);
	ck_assert_double_eq_tol(s.run.value[0], 0.3, 1e-9);
	ck_assert_double_eq_tol(s.delay.value[0], 0.1, 1e-9);
	ck_assert_double_eq_tol(s.io.value[0], 0.25, 1e-9);
	ck_assert_double_eq(s.throttled.value[0], 0);
	ck_assert_double_eq_tol(signals_happiness(&s), 0.75 * 0.75, 1e-9);
	ck_assert_double_eq_tol(s.cpu_mean, 0.6, 1e-9);
	now = look(&s, &c, now, 6, 9, 0);
	ck_assert_uint_eq(s.run.n, 2);
	ck_assert_double_eq_tol(s.run.value[0], 0.9, 1e-9);
	ck_assert_double_eq_tol(s.run.value[1], 0.3, 1e-9);
	ck_assert_double_eq_tol(s.run_now, 0.9, 1e-9);
	ck_assert_double_eq_tol(s.cpu_mean, 1.2, 0.01); /* so far as much of either */
	ck_assert_double_gt(s.cpu_variance, 0);
	ck_assert_double_eq_tol(signals_cores(&s, 2, 1, NULL, 0), 1.8, 1e-9);
	ck_assert_double_eq_tol(signals_cores(&s, 2, 2, NULL, 0), 1.2, 1e-9);
	ck_assert_double_eq_tol(signals_cores(&s, 2, 3, NULL, 0), 1.2,
				1e-9); /* as many as there are */
	look(&s, &c, now, 60, 1, 0);
	ck_assert_uint_eq(s.run.n, WINDOWS_MAX);
	ck_assert_double_eq(signals_cores(&s, 2, 3, NULL, 0), s.cpu_mean); /* it may come back */
	look(&s, &c, now + 600 * SECOND, 6 * 600, 1, 0);
	ck_assert_double_eq_tol(s.cpu_mean, 0.2, 0.01);
}
END_TEST

/* A look says later than another when the VM has read its counters. */
START_TEST(late)
{
	struct signals s = { 0 };
	struct signal_counts c = { 0 };
	uint64_t now = SECOND;

	signals_add(&s, now, &c, 2, WINDOW);
	now = look(&s, &c, now, 1, 9, 3);
	ck_assert_double_eq_tol(s.run_now, 0.75, 1e-9);
	ck_assert_double_eq_tol(s.delay_now, 0.25, 1e-9);
	look(&s, &c, now, 5, 9, 3);
	ck_assert_double_eq_tol(s.run.value[0], 0.75, 1e-9);
	ck_assert_double_eq_tol(s.delay.value[0], 0.25, 1e-9);
}
END_TEST

START_TEST(another_process)
{
	struct signals s = { 0 };
	struct signal_counts c = { .run = 50 * SECOND }, fresh = { 0 };
	uint64_t now = SECOND;

	signals_add(&s, now, &c, 2, WINDOW);
	now = look(&s, &c, now, 9, 5, 0);
	now = look(&s, &fresh, now, 6, 5, 0);
	ck_assert_uint_eq(s.run.n, 1); /* what was half a window is none */
	look(&s, &fresh, now, 1, 5, 0);
	ck_assert_uint_eq(s.run.n, 2);
	ck_assert_double_eq_tol(s.run.value[0], 0.5, 1e-9);
}
END_TEST

static Suite *signals_suite(void)
{
	Suite *s = suite_create("signals");
	TCase *c = tcase_create("windows");

	tcase_add_test(c, windows);
	tcase_add_test(c, late);
	tcase_add_test(c, another_process);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(signals_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* When cores are lent and when they go back. */
#include "bits.h"
#include "check_main.h"
#include "cpu_policy.h"

enum { BEAT_S = 2 };

static struct cpu_guest guest(double own, double limit, double vcpus, double run)
{
	return (struct cpu_guest){ .own = own, .limit = limit, .vcpus = vcpus, .run = run };
}

/* beats of them, the last of which says what is done. */
static void beats(struct cpu_loans *l, unsigned n, double idle, double wait, struct cpu_guest *g)
{
	const struct cpu_host h = { .seconds = BEAT_S, .idle = idle, .run = 0.1, .wait = wait };

	while (n--)
		cpu_policy(l, &h, &g, 1);
}

static void is(const struct cpu_guest *g, enum cpu_why why, double target)
{
	ck_assert_int_eq(g->why, why);
	ck_assert_double_eq_tol(g->target, target, 1e-9);
}

START_TEST(lends)
{
	struct cpu_guest g = guest(1, 1, 4, 0.95);
	struct cpu_loans l = { 0 };

	beats(&l, 2, 3, 0, &g);
	is(&g, CPU_STAYS, 1);
	beats(&l, 1, 3, 0, &g);
	is(&g, CPU_LENT, 2.5);
	g.limit = g.target;
	g.run = 2.4;
	beats(&l, 2, 3, 0, &g);
	is(&g, CPU_STAYS, 2.5);
	beats(&l, 1, 8, 0, &g); /* no more than it has vCPUs */
	is(&g, CPU_LENT, 4);
	g.limit = g.target;
	beats(&l, 10, 8, 0, &g);
	is(&g, CPU_STAYS, 4);
}
END_TEST

START_TEST(at_limit)
{
	struct cpu_guest g = guest(1, 1, 4, 0.5);

	ck_assert(!cpu_is_at_limit(&g));
	g.held = 0.3;
	ck_assert(cpu_is_at_limit(&g));
	g.wait = 0.4; /* others keep it from more than its limit does */
	ck_assert(!cpu_is_at_limit(&g));
	g.run = 0.95;
	ck_assert(cpu_is_at_limit(&g));
	g.limit = 0;
	ck_assert(!cpu_is_at_limit(&g));
	g = guest(1, 1, 4, 0.5);
	g.held = 0.01;
	ck_assert(!cpu_is_at_limit(&g));
}
END_TEST

START_TEST(does_not_lend)
{
	struct cpu_loans l = { 0 };
	struct cpu_guest g = guest(1, 1, 4, 0.8); /* it does not use what it has */

	beats(&l, 10, 3, 0, &g);
	is(&g, CPU_STAYS, 1);
	g.run = 1;
	l = (struct cpu_loans){ 0 };
	beats(&l, 10, 0.4, 0, &g); /* nothing to lend */
	is(&g, CPU_STAYS, 1);
	beats(&l, 2, 3, 0, &g);
	beats(&l, 1, 0, 0, &g); /* not idle all the time */
	beats(&l, 2, 3, 0, &g);
	is(&g, CPU_STAYS, 1);
	beats(&l, 10, 3, 0.1, &g); /* somebody waits */
	is(&g, CPU_STAYS, 1);
	beats(&l, 3, 3, 0.01, &g); /* for so little that it is nobody's */
	is(&g, CPU_LENT, 2.5);
}
END_TEST

START_TEST(shares)
{
	struct cpu_guest a = guest(1, 1, 4, 1), b = guest(2, 2, 2.5, 2), c = guest(1, 1, 4, 0);
	struct cpu_guest *const guests[] = { &a, &b, &c };
	const struct cpu_host h = { .seconds = BEAT_S, .idle = 6 };
	struct cpu_loans l = { 0 };

	for (unsigned i = 0; i < 3; i++)
		cpu_policy(&l, &h, guests, ARRAY_SIZE(guests));
	is(&a, CPU_LENT, 2.5);
	is(&b, CPU_LENT, 2.5);
	is(&c, CPU_STAYS, 1);
}
END_TEST

/* At once, and each loan that was too soon makes the next one later. */
START_TEST(goes_back)
{
	struct cpu_guest g = guest(1, 2, 4, 2), other = guest(1, 0.5, 4, 0.5);
	struct cpu_guest *const guests[] = { &other };
	const struct cpu_host waits = { .seconds = BEAT_S, .run = 1, .wait = 0.2 };
	struct cpu_loans l = { 0 };

	beats(&l, 1, 3, 0.2, &g);
	is(&g, CPU_BACK, 1);
	ck_assert_double_eq(l.patience_s, 10);
	g = guest(1, 1, 4, 1);
	beats(&l, 4, 3, 0, &g);
	is(&g, CPU_STAYS, 1);
	beats(&l, 1, 3, 0, &g);
	is(&g, CPU_LENT, 2.5);
	/* A loan that was good for a minute. */
	g = guest(1, 2.5, 4, 1);
	beats(&l, 30, 0, 0, &g);
	beats(&l, 1, 0, 0.2, &g);
	is(&g, CPU_BACK, 1);
	ck_assert_double_eq(l.patience_s, 5);
	for (unsigned i = 0; i < 20; i++) {
		l.lent_s = 0;
		beats(&l, 1, 0, 0.2, &g);
	}
	ck_assert_double_eq(l.patience_s, 320);
	/* A person gave it less than its own: that stays. */
	cpu_policy(&l, &waits, guests, 1);
	is(&other, CPU_STAYS, 0.5);
	ck_assert_double_eq(l.patience_s, 320);
}
END_TEST

/* Soon when VMs wait, and until they have not for a minute. */
START_TEST(weights)
{
	const struct cpu_host waits = { .seconds = BEAT_S, .run = 1, .wait = 0.2 },
			      little = { .seconds = BEAT_S, .run = 1, .wait = 0.03 },
			      soon = { .seconds = 0.5, .run = 1, .wait = 0.2 };
	struct cpu_weights w = { 0 };

	ck_assert(!cpu_weights_count(&w, &little));
	ck_assert(!cpu_weights_count(&w, &soon));
	ck_assert(!cpu_weights_count(&w, &little));
	ck_assert(!cpu_weights_count(&w, &soon));
	ck_assert(cpu_weights_count(&w, &soon));
	for (unsigned i = 0; i < 29; i++)
		ck_assert(cpu_weights_count(&w, &little));
	ck_assert(cpu_weights_count(&w, &soon));
	for (unsigned i = 0; i < 29; i++)
		ck_assert(cpu_weights_count(&w, &little));
	ck_assert(!cpu_weights_count(&w, &little));
	ck_assert(cpu_weights_count(&w, &waits));
}
END_TEST

static Suite *cpu_policy_suite(void)
{
	Suite *suite = suite_create("cpu_policy");
	TCase *tcase = tcase_create("cpu_policy");

	tcase_add_test(tcase, lends);
	tcase_add_test(tcase, at_limit);
	tcase_add_test(tcase, does_not_lend);
	tcase_add_test(tcase, shares);
	tcase_add_test(tcase, goes_back);
	tcase_add_test(tcase, weights);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(cpu_policy_suite)

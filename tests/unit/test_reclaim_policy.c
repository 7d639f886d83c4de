/* SPDX-License-Identifier: Apache-2.0 */
/* When memory of VMs is put into swap, and how much. */
#include "bits.h"
#include "check_main.h"
#include "reclaim_policy.h"

enum { BEAT_S = 2, PATIENCE_BEATS = 15, AGAIN_BEATS = 5 };

static uint64_t mib(uint64_t n)
{
	return n * MIB;
}

static struct reclaim_guest guest(uint64_t min, uint64_t most, uint64_t resident)
{
	return (struct reclaim_guest){ .min = mib(min),
				       .most = mib(most),
				       .resident = mib(resident) };
}

static void beats(unsigned n, uint64_t lack, uint64_t swap, struct reclaim_guest *a,
		  struct reclaim_guest *b)
{
	const struct reclaim_host h = { .seconds = BEAT_S, .lack = mib(lack), .swap = mib(swap) };
	struct reclaim_guest *const guests[] = { a, b };

	while (n--)
		reclaim_policy(&h, guests, b ? 2 : 1);
}

/* One guest, when all has been so for long enough. */
START_TEST(one)
{
	static const struct {
		uint64_t lack, swap, min, most, resident;
		double psi;
		uint64_t mib;
	} cases[] = {
		{ 1000, 9000, 100, 2000, 1500, 0, 100 }, /* a twentieth */
		{ 60, 9000, 100, 2000, 1500, 0.05, 60 },   { 1000, 30, 100, 2000, 1500, 0, 30 },
		{ 1000, 9000, 1490, 2000, 1500, 0, 10 },   { 1000, 9000, 1500, 2000, 1500, 0, 0 },
		{ 1000, 9000, 1600, 2000, 1500, 0, 0 },    { 1000, 9000, 100, 2000, 1500, 0.06, 0 },
		{ 1000, 9000, 100, 20000, 15000, 0, 256 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct reclaim_guest g = guest(cases[i].min, cases[i].most, cases[i].resident);

		g.psi = cases[i].psi;
		beats(PATIENCE_BEATS, cases[i].lack, cases[i].swap, &g, NULL);
		ck_assert_msg(g.bytes == mib(cases[i].mib), "case %zu: %llu", i,
			      (unsigned long long)g.bytes);
	}
}
END_TEST

START_TEST(patience)
{
	struct reclaim_guest g = guest(100, 2000, 1500);

	beats(PATIENCE_BEATS - 1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, 0);
	beats(1, 0, 9000, &g, NULL); /* the host has enough for a moment */
	beats(PATIENCE_BEATS - 1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, 0);
	beats(1, 50, 0, &g, NULL); /* its swap is full */
	beats(PATIENCE_BEATS - 1, 50, 9000, &g, NULL);
	g.gives = true; /* a step of the balloon */
	beats(1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, 0);
	g.gives = false;
	beats(PATIENCE_BEATS - 1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, 0);
	beats(1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, mib(50));
	beats(AGAIN_BEATS - 1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, 0);
	beats(1, 50, 9000, &g, NULL);
	ck_assert_uint_eq(g.bytes, mib(50));
}
END_TEST

/* Who has most beside what it keeps, and others for what is still missing. */
START_TEST(who)
{
	struct reclaim_guest a = guest(100, 2000, 1500), b = guest(1000, 4000, 2500);

	beats(PATIENCE_BEATS, 150, 9000, &a, &b);
	ck_assert_uint_eq(a.bytes, 0);
	ck_assert_uint_eq(b.bytes, mib(150));
	beats(1, 350, 60, &a, &b);
	ck_assert_uint_eq(a.bytes, mib(60));
	ck_assert_uint_eq(b.bytes, 0);
	a = guest(100, 2000, 1500);
	b = guest(1000, 4000, 2500);
	beats(PATIENCE_BEATS, 260, 9000, &a, &b);
	ck_assert_uint_eq(a.bytes, mib(60));
	ck_assert_uint_eq(b.bytes, mib(200));
}
END_TEST

static Suite *reclaim_policy_suite(void)
{
	Suite *suite = suite_create("reclaim_policy");
	TCase *tcase = tcase_create("reclaim_policy");

	tcase_add_test(tcase, one);
	tcase_add_test(tcase, patience);
	tcase_add_test(tcase, who);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(reclaim_policy_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* Who gives memory, how much, and who has it back; and how that does beside published rules. */
#include "bits.h"
#include "check_main.h"
#include "memory_world.h"

enum { SECONDS = 2 * WORLD_HOUR_S, OURS_S = MEMORY_BEAT_S, PUBLISHED_S = 10 };

static uint64_t mib(uint64_t n)
{
	return n * MIB;
}

static struct memory_host host(uint64_t available)
{
	return (struct memory_host){ .available = mib(available),
				     .reserve = mib(1000),
				     .margin = mib(500) };
}

static void add(struct memory_guest *g, uint64_t asked, uint64_t available, uint64_t stalls)
{
	const struct memory_sample s = { .asked = mib(asked),
					 .given = mib(asked),
					 .available = mib(available),
					 .stalls = stalls };

	memory_guest_add(g, &s);
}

/* One that has been like this for a while. */
static struct memory_guest guest(uint64_t asked, uint64_t available)
{
	struct memory_guest g = { .min = mib(512), .max = mib(4096) };

	for (unsigned i = 0; i < MEMORY_SAMPLES; i++)
		add(&g, asked, available, 7);
	return g;
}

static void one_beat(uint64_t available, struct memory_guest *a, struct memory_guest *b)
{
	const struct memory_host h = host(available);
	struct memory_guest *const guests[] = { a, b };

	memory_policy(&h, guests, b ? 2 : 1);
}

static void is(const struct memory_guest *g, enum memory_why why, uint64_t target)
{
	ck_assert_int_eq(g->why, why);
	ck_assert_uint_eq(g->target / MIB, target);
}

/* What one guest is to have, of 4096 MiB at most. */
START_TEST(one)
{
	static const struct {
		uint64_t host, asked, available, more_stalls;
		double psi;
		enum memory_why why;
		uint64_t target;
	} cases[] = {
		/* The host has enough, but not plenty; or the guest has all. */
		{ 1600, 4096, 3000, 0, 0, MEMORY_STAYS, 4096 },
		{ 9000, 4096, 3000, 0, 0, MEMORY_STAYS, 4096 },
		/* It lacks 200, 1000 (a tenth of its most is a step), and very little. */
		{ 1300, 4096, 3000, 0, 0, MEMORY_TAKEN, 3896 },
		{ 500, 4096, 3000, 0, 0, MEMORY_TAKEN, 3687 },
		{ 1499, 4096, 3000, 0, 0, MEMORY_TAKEN, 4032 },
		/* It uses 2996, an eighth and 72 MiB are left to it, so it can do without 149. */
		{ 500, 3656, 660, 0, 0, MEMORY_TAKEN, 3507 },
		/* Nothing that is worth it. */
		{ 500, 3520, 524, 0, 0, MEMORY_STAYS, 3520 },
		/* It has its least. */
		{ 500, 512, 500, 0, 0, MEMORY_STAYS, 512 },
		/* It waited, for memory or for the host's. */
		{ 600, 2048, 10, 1, 0, MEMORY_STALLED, 2412 },
		{ 600, 2048, 1000, 1, 0, MEMORY_STALLED, 2304 },
		{ 600, 2048, 1000, 0, 0.06, MEMORY_STALLED, 2304 },
		{ 600, 2048, 1000, 0, 0.04, MEMORY_TAKEN, 1639 },
		{ 600, 4096, 10, 1, 0, MEMORY_STAYS, 4096 },
		/* The host gives those that wait all it has. */
		{ 100, 2048, 10, 1, 0, MEMORY_STALLED, 2148 },
		{ 0, 2048, 10, 1, 0, MEMORY_STAYS, 2048 },
		/* It comes to use more; half of the reserve is not for that. */
		{ 1400, 2048, 100, 0, 0, MEMORY_NEEDED, 2309 },
		{ 600, 2048, 100, 0, 0, MEMORY_NEEDED, 2148 },
		{ 400, 2048, 100, 0, 0, MEMORY_STAYS, 2048 },
		/* There is plenty. */
		{ 2600, 2048, 1000, 0, 0, MEMORY_PLENTY, 2148 },
		{ 9000, 2048, 1000, 0, 0, MEMORY_PLENTY, 2253 },
		{ 9000, 4000, 3000, 0, 0, MEMORY_PLENTY, 4096 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct memory_guest g = guest(cases[i].asked, cases[i].available);
		const struct memory_sample last = { .asked = mib(cases[i].asked),
						    .given = mib(cases[i].asked),
						    .available = mib(cases[i].available),
						    .stalls = 7 + cases[i].more_stalls,
						    .psi = cases[i].psi };

		memory_guest_add(&g, &last);
		one_beat(cases[i].host, &g, NULL);
		ck_assert_msg(g.why == cases[i].why && g.target / MIB == cases[i].target,
			      "case %zu: %d, %llu", i, g.why, (unsigned long long)(g.target / MIB));
	}
}
END_TEST

/* Until enough is known nothing is taken, and not again before the last step shows. */
START_TEST(patience)
{
	struct memory_guest g = { .min = mib(512), .max = mib(4096) };
	unsigned beats = 0;

	do {
		add(&g, 4096, 3000, 0);
		one_beat(1300, &g, NULL);
		beats++;
	} while (g.why == MEMORY_STAYS && beats < 100);
	ck_assert_uint_eq(beats, 10);
	is(&g, MEMORY_TAKEN, 3896);
	add(&g, 3896, 2800, 0);
	one_beat(1300, &g, NULL);
	is(&g, MEMORY_STAYS, 3896);
}
END_TEST

/* Those with most to spare give first, those that waited lately last. */
START_TEST(who_gives)
{
	struct memory_guest rich = guest(4096, 3000), poor = guest(4096, 2000);

	one_beat(1300, &poor, &rich);
	is(&rich, MEMORY_TAKEN, 3896);
	is(&poor, MEMORY_STAYS, 4096);

	rich = guest(4096, 3000);
	poor = guest(4096, 2000);
	one_beat(500, &poor, &rich);
	is(&rich, MEMORY_TAKEN, 3687);
	is(&poor, MEMORY_TAKEN, 3687);

	rich = guest(4096, 3000);
	add(&rich, 4096, 3000, 8);
	poor = guest(4096, 2000);
	one_beat(1300, &poor, &rich);
	is(&rich, MEMORY_STAYS, 4096);
	is(&poor, MEMORY_TAKEN, 3896);
	for (unsigned i = 0; i < 20; i++)
		add(&rich, 4096, 3000, 8);
	poor = guest(4096, 2000);
	one_beat(500, &poor, &rich);
	is(&rich, MEMORY_TAKEN, 3687);
}
END_TEST

/* Twice what the last step took comes back, and for a while nothing is taken. */
START_TEST(steps_back)
{
	struct memory_guest g = guest(4096, 3000);

	one_beat(500, &g, NULL);
	is(&g, MEMORY_TAKEN, 3687);
	add(&g, 3000, 1900, 8);
	one_beat(1600, &g, NULL);
	is(&g, MEMORY_STALLED, 3820);
	for (unsigned i = 0; i < 14; i++) {
		add(&g, 3820, 2700, 8);
		one_beat(500, &g, NULL);
		is(&g, MEMORY_STAYS, 3820);
	}
	add(&g, 3820, 2700, 8);
	one_beat(500, &g, NULL);
	ck_assert_int_eq(g.why, MEMORY_TAKEN);
	/* Its monitor saw that it cannot do with that. */
	for (unsigned i = 0; i < 10; i++) {
		add(&g, 3820, 2700, 8);
		one_beat(500, &g, NULL);
		is(&g, MEMORY_STAYS, 3820);
	}
}
END_TEST

/* What uses now more, now less is left more. */
START_TEST(deviation)
{
	struct memory_guest calm = guest(4096, 3096), restless = guest(4096, 3096);

	for (unsigned i = 0; i < MEMORY_SAMPLES; i++)
		add(&restless, 4096, i % 2 ? 3096 : 2696, 7);
	ck_assert_uint_eq(memory_guest_wants(&calm) / MIB, 1000 + 153 + 72);
	/* 1000 now, three times 200 */
	ck_assert_uint_eq(memory_guest_wants(&restless) / MIB, 1600);
}
END_TEST

/* What was asked lately and is not there yet is not asked of others, too. */
START_TEST(under_way)
{
	struct memory_guest a = guest(4096, 3000), b = guest(4096, 2900);
	const struct memory_sample slow = {
		.asked = mib(3896), .given = mib(4096), .available = mib(3000), .stalls = 7
	};

	one_beat(1300, &a, &b);
	is(&a, MEMORY_TAKEN, 3896);
	memory_guest_add(&a, &slow);
	add(&b, 4096, 2900, 7);
	one_beat(1300, &a, &b);
	is(&b, MEMORY_STAYS, 4096);
	for (unsigned i = 0; i < 4; i++)
		memory_guest_add(&a, &slow); /* it does not come: its guest may not want to */
	add(&b, 4096, 2900, 7);
	one_beat(1300, &b, &a);
	ck_assert_int_eq(a.why == MEMORY_TAKEN || b.why == MEMORY_TAKEN, true);
}
END_TEST

/* What is left to others to find, and whether a guest may still help with it. */
START_TEST(lack)
{
	struct memory_guest rich = guest(4096, 3000), poor = guest(3520, 524);
	struct memory_guest *const guests[] = { &rich, &poor };
	const struct memory_host h = host(500), enough = host(1600);

	ck_assert_uint_eq(memory_lack(&h, guests, 2), mib(1000));
	ck_assert(memory_guest_gives(&rich));
	ck_assert(!memory_guest_gives(&poor));
	one_beat(500, &rich, &poor);
	is(&rich, MEMORY_TAKEN, 3687);
	ck_assert_uint_eq(memory_lack(&h, guests, 2), mib(1000 - (4096 - 3687)));
	ck_assert_uint_eq(memory_lack(&enough, guests, 2), 0);
	/* Nothing is taken of one that has just waited. */
	add(&poor, 3520, 524, 8);
	ck_assert(memory_guest_gives(&poor));
}
END_TEST

static void run(double share, int every, world_policy policy, struct world_result *sum)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct world_ours ours = { .reserve = 0.15, .margin = 0.05 };
		struct world_result r;
		struct world w;

		world_new(&w, seed, share);
		r = world_run(&w, SECONDS, every, policy, &ours);
		sum->reclaimed += r.reclaimed;
		sum->stalls += r.stalls;
	}
}

/* As much memory is won, with at most half as many stalls, also if others look as often. */
START_TEST(beside_published)
{
	for (unsigned i = 60; i <= 85; i += 5) {
		struct world_result ours = { 0 }, often = { 0 }, as_published = { 0 };

		run(i / 100.0, OURS_S, world_ours, &ours);
		run(i / 100.0, OURS_S, world_published, &often);
		run(i / 100.0, PUBLISHED_S, world_published, &as_published);
		ck_assert_msg(ours.reclaimed >= 0.99 * often.reclaimed &&
				      ours.reclaimed >= 0.99 * as_published.reclaimed,
			      "%u: %g, %g, %g MiB x s", i, ours.reclaimed, often.reclaimed,
			      as_published.reclaimed);
		ck_assert_msg(ours.stalls <= 0.5 * often.stalls &&
				      ours.stalls <= 0.5 * as_published.stalls,
			      "%u: %g, %g, %g stalls", i, ours.stalls, often.stalls,
			      as_published.stalls);
	}
}
END_TEST

static Suite *memory_policy_suite(void)
{
	Suite *suite = suite_create("memory_policy");
	TCase *tcase = tcase_create("memory_policy");

	tcase_add_test(tcase, one);
	tcase_add_test(tcase, patience);
	tcase_add_test(tcase, who_gives);
	tcase_add_test(tcase, steps_back);
	tcase_add_test(tcase, deviation);
	tcase_add_test(tcase, under_way);
	tcase_add_test(tcase, lack);
	tcase_add_test(tcase, beside_published);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(memory_policy_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* When a migration's memory was copied often enough, with guests that are made of numbers. */
#include "bits.h"
#include "check_main.h"
#include "converge.h"

#define MS UINT64_C(1000000)

/* A guest of 100000 pages, of which it rewrites some without pause; a link. Pages a millisecond. */
struct guest {
	uint64_t working_set, writes, sends;
	uint64_t limit_ns;
};

struct course {
	unsigned rounds, slower; /* how often the vCPUs were slowed down further */
	unsigned first_percent; /* after the first round */
	struct outlook last;
};

enum { ROUNDS_MAX = 100, PAGES = 100000 };

static struct course move(const struct guest *g)
{
	struct course c = { .last = { .pending = PAGES, .limit_ns = g->limit_ns } };
	struct outlook *o = &c.last;

	do {
		uint64_t round_ns = o->pending * MS / g->sends;
		unsigned percent;

		o->before = o->pending;
		o->pending = MIN(g->working_set,
				 round_ns * g->writes * (100 - o->percent) / 100 / MS);
		o->send_ns = o->pending * MS / g->sends;
		percent = converge_percent(o);
		ck_assert_uint_ge(percent, o->percent);
		ck_assert_uint_lt(percent, 100);
		if (converge_is_enough(o))
			break;
		c.slower += percent > o->percent;
		o->percent = percent;
		if (!c.rounds)
			c.first_percent = percent;
	} while (++c.rounds < ROUNDS_MAX);
	return c;
}

/* Rounds that shrink by themselves cost the guest nothing. */
START_TEST(test_by_itself)
{
	static const struct guest guests[] = {
		{ 0, 0, 1000, 50 * MS },
		{ 90000, 10, 1000, 50 * MS },
		{ 90000, 400, 1000, 50 * MS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		struct course c = move(&guests[i]);

		ck_assert_uint_lt(c.rounds, ROUNDS_MAX);
		ck_assert_uint_eq(c.slower, 0);
		ck_assert_uint_le(converge_blackout_ns(&c.last), 5 * MS);
	}
}
END_TEST

/* However much is written, it ends soon, and nobody notices. */
START_TEST(test_rewriting)
{
	static const struct guest guests[] = {
		{ 4000, 1000, 1000, 50 * MS }, { 16000, 1000, 1000, 50 * MS },
		{ 90000, 600, 1000, 50 * MS }, { 90000, 5000, 1000, 50 * MS },
		{ 90000, 5000, 1000, 4 * MS }, { 90000, 1000, 30, 50 * MS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		struct course c = move(&guests[i]);

		ck_assert_uint_lt(c.rounds, 16);
		ck_assert_uint_gt(c.slower, 0);
		ck_assert_uint_le(converge_blackout_ns(&c.last), MIN(5 * MS, guests[i].limit_ns));
	}
}
END_TEST

/* No slower than is needed. */
START_TEST(test_steps)
{
	static const struct {
		uint64_t before, pending;
		unsigned percent, wanted;
	} cases[] = {
		{ 1000000, 500000, 0, 0 },    { 1000000, 510000, 0, 60 },
		{ 1000000, 700000, 0, 80 },   { 1000000, 1000000, 0, 80 },
		{ 1000000, 4000000, 0, 95 },  { 1000000, 510000, 80, 95 },
		{ 1000000, 400000, 80, 80 },  { 1000000, 9000000, 0, 99 },
		{ 1000000, 1000000, 99, 99 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outlook o = { .before = cases[i].before,
				     .pending = cases[i].pending,
				     .send_ns = cases[i].pending * 1000,
				     .limit_ns = 50 * MS,
				     .percent = cases[i].percent };

		ck_assert_uint_eq(converge_percent(&o), cases[i].wanted);
	}
}
END_TEST

/* It stops where another round gains nothing, but never for longer than is allowed. */
START_TEST(test_hopeless)
{
	struct outlook o = { .before = 1000, .pending = 1000, .percent = 99 };

	o.send_ns = 20 * MS;
	o.limit_ns = 50 * MS;
	ck_assert(converge_is_enough(&o));
	o.limit_ns = 20 * MS;
	ck_assert(!converge_is_enough(&o));
	/* What is allowed is less than it takes without a single page: nobody is slowed down. */
	o = (struct outlook){ .before = 9, .pending = 9, .send_ns = 9000, .limit_ns = MS };
	ck_assert(!converge_is_enough(&o));
	ck_assert_uint_eq(converge_percent(&o), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("converge");
	TCase *t = tcase_create("converge");

	tcase_add_test(t, test_by_itself);
	tcase_add_test(t, test_rewriting);
	tcase_add_test(t, test_steps);
	tcase_add_test(t, test_hopeless);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

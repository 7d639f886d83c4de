/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the planner that stand alone: happiness, the cost of moves, search and steps. */
#include <math.h>

#include "check_main.h"
#include "planner/learn.h"
#include "planner/move_cost.h"
#include "plan_world.h"
#include "search.h"
#include "steps.h"

#define NEAR 1e-9

START_TEST(happiness_of_a_vm)
{
	struct vm v = { .run = { 2, { 0.6, 0 } },
			.delay = { 2, { 0.2, 0 } },
			.throttled = { 2, { 0.2, 1 } },
			.mem = { 2, { 0.1, 0 } },
			.io = { 2, { 0.5, 0 } } };

	ck_assert_double_eq_tol(happiness_cpu(&v, 0), 0.75, NEAR);
	ck_assert_double_eq_tol(happiness(&v, 0), 0.75 * 0.9 * 0.5, NEAR);
	ck_assert_double_eq_tol(happiness(&v, 1), 1,
				NEAR); /* what a limit takes is no contention */
}
END_TEST

START_TEST(happiness_of_all)
{
	struct world w;
	struct happiness_summary sum;

	world_head(&w, "auto");
	world_host(&w, "a", 4, ",'use':[1]");
	world_host(&w, "b", 4, ",'use':[0]");
	world_host(&w, "c", 4, ",'use':[0]");
	world_vm(&w, "v1", "a", 0.5, "");
	world_line(&w,
		   "{'vm':{'id':'v2','host':'b','at':%d,'vcpus':3,'memory':1,'resident':1,"
		   "'run':[1],'delay':[0],'cpu_mean':3}}",
		   NOW);
	ck_assert_int_eq(world_try_read(&w), 0);
	ck_assert_int_eq(happiness_summarise(&w.snapshot, &sum), 0);
	ck_assert_double_eq_tol(sum.mean, (0.5 + 3) / 4, NEAR);
	ck_assert_double_eq_tol(sum.percentile_1, 0.5, NEAR);
	ck_assert_uint_eq(sum.low, 1);
	ck_assert_double_eq_tol(sum.load_cv, sqrt(2), NEAR);
	world_end(&w);
}
END_TEST

START_TEST(curve)
{
	struct curve c = curve_default;

	ck_assert_double_eq_tol(curve_delay(&c, 0.65), (0.132 + 0.238) / 2, NEAR);
	ck_assert_double_eq_tol(curve_delay(&c, 3.2), 1 - (1 - 0.808) / 2, NEAR);
	for (int i = 0; i < 1000; i++)
		curve_learn(&c, 0.75, 0.01);
	ck_assert_double_eq_tol(curve_delay(&c, 0.75), 0.01, 1e-6);
	ck_assert_double_eq_tol(c.delay[16], 0.808, NEAR);
	for (int i = 1; i < CURVE_POINTS; i++)
		ck_assert_double_ge(c.delay[i], c.delay[i - 1]);
	for (int i = 0; i < 1000; i++)
		curve_learn(&c, 0.35, 0.9);
	ck_assert_double_eq_tol(curve_delay(&c, 0.35), 0.9, 1e-6);
	for (int i = 1; i < CURVE_POINTS; i++)
		ck_assert_double_ge(c.delay[i], c.delay[i - 1]);
}
END_TEST

/* Large hosts wait less than the first guess says; a host that a move has just changed is not
 * asked, and neither does another class learn of it. */
START_TEST(curves_of_classes)
{
	struct world w;

	world_head(&w, "auto");
	world_host(&w, "a", 1, ",'class':'big'");
	world_host(&w, "b", 1, ",'class':'small'");
	world_host(&w, "c", 1, ",'class':'new'");
	world_line(&w,
		   "{'vm':{'id':'v','host':'a','at':%d,'vcpus':1,'memory':1,'resident':1,"
		   "'run':[0.8],'delay':[0],'cpu_mean':0.8}}",
		   NOW);
	world_line(&w,
		   "{'vm':{'id':'w','host':'b','at':%d,'vcpus':1,'memory':1,'resident':1,"
		   "'run':[0.8],'delay':[0],'cpu_mean':0.8,'moves':[{'at':%d,'from':'c',"
		   "'took_s':1}]}}",
		   NOW, NOW - 100);
	ck_assert_int_eq(world_try_read(&w), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(learn_curves(&w.snapshot, &w.e), 0);
	ck_assert_uint_eq(w.snapshot.ncurve, 1);
	ck_assert_double_lt(curve_delay(curve_of(&w.snapshot, w.snapshot.host[0].class), 0.8),
			    0.001);
	ck_assert_double_eq_tol(curve_delay(curve_of(&w.snapshot, w.snapshot.host[1].class), 0.8),
				0.349, NEAR);
	world_end(&w);
}
END_TEST

/* Where d*t is far below W nearly all writes hit other pages: a geometric series. */
START_TEST(cost_of_a_move)
{
	struct move_load load = { .bytes = 1e9, .dirty_rate = 1e7, .write_set = 1e9, .rate = 1e8 };
	struct corrections k = { .rate = 1, .setup_s = 0.5, .fixed_s = 0.01 };
	struct move_cost c;

	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert(c.converges);
	/* 10 s less the burst, half of what is written in it, and then all: 0.5 s, 50 ms, 5 ms */
	ck_assert_uint_eq(c.rounds, 4);
	ck_assert_double_eq_tol(c.blackout_s, 0.0105, 1e-4);
	ck_assert_double_eq_tol(c.time_s, 0.5 + 10.49 + 0.0105, 0.01);
	ck_assert_double_eq_tol(c.bytes, 1.054e9, 1e6);
}
END_TEST

/* No more than the set that is written comes again, however fast. */
START_TEST(cost_of_a_small_set)
{
	struct move_load load = { .bytes = 1e9, .dirty_rate = 1e9, .write_set = 1e5, .rate = 1e8 };
	struct corrections k = { .rate = 1 };
	struct move_cost c;

	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert(c.converges);
	ck_assert_uint_eq(c.rounds, 1);
	ck_assert_double_eq_tol(c.blackout_s, 0.001, 1e-6);
	load.rate = 0;
	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert(!c.converges);
}
END_TEST

/* Allowed to stand still for that long or not: the guest is slowed down rather than that. */
START_TEST(cost_of_slowing_down)
{
	struct move_load load = { .bytes = 1e9, .dirty_rate = 1e9, .write_set = 1e7, .rate = 1e8 };
	struct corrections k = { .rate = 1, .fixed_s = 0.01 };
	struct move_cost c;

	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert(c.converges); /* 0.1 s would do */
	ck_assert_uint_gt(c.rounds, 2);
	ck_assert_double_lt(c.blackout_s, 0.013);
	load.write_set = 1e8;
	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert(!c.converges);
	ck_assert_double_lt(c.blackout_s, 0.013);
	ck_assert_uint_lt(c.rounds, 30);
	move_cost_predict(&c, &load, &k, 0.3, 2);
	ck_assert_uint_eq(c.rounds, 2);
	ck_assert_double_gt(c.blackout_s, 0.1);
}
END_TEST

START_TEST(learns)
{
	struct move_load load = { .bytes = 1e9, .rate = 1e8 };
	struct corrections k = { .rate = 1, .fixed_s = 0.02, .slowdown = 0.1 };
	struct move_outcome o = {
		.time_s = 22.1, .sending_s = 20, .blackout_s = 0.1, .bytes = 1e9, .slowdown = 0.3
	};
	struct move_cost c;

	for (int i = 0; i < 100; i++) {
		move_cost_predict(&c, &load, &k, 0.3, 30);
		move_cost_learn(&k, c.last_bytes, load.rate, &o);
	}
	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert_double_eq_tol(c.time_s, o.time_s, 0.01);
	ck_assert_double_eq_tol(c.blackout_s, o.blackout_s, 0.001);
	ck_assert_double_eq_tol(k.setup_s, 2, 1e-6);
	ck_assert_double_eq_tol(k.slowdown, 0.3, 1e-6);
	/* Another one, which has more to send, has as much to set up. */
	load.bytes = 2e9;
	move_cost_predict(&c, &load, &k, 0.3, 30);
	ck_assert_double_eq_tol(c.time_s, 42.2, 0.01); /* the burst is no longer */
	/* One that sent nearly nothing says little of how fast much goes, whatever it got. */
	o = (struct move_outcome){ 2.2, 0.1, 1e9, 0.1, -1 };
	move_cost_learn(&k, c.last_bytes, load.rate, &o);
	ck_assert_double_eq_tol(k.rate, 0.4975 + 0.2 * 0.1 / 1.1 * 0.4975, 1e-3);
	o.slowdown = -1;
	o.bytes = 0;
	move_cost_learn(&k, c.last_bytes, load.rate, &o);
	ck_assert_double_eq_tol(k.slowdown, 0.3, 1e-6);
	ck_assert_double_eq_tol(k.setup_s, 2, 1e-6);
}
END_TEST

/* Sources whose best moves gain 100, 99, ...; one of them stays. */
struct pile {
	double left[40];
	uint32_t taken[40], ntaken;
};

static bool best_of_pile(void *arg, uint32_t source, struct search_move *m)
{
	struct pile *p = arg;

	*m = (struct search_move){ .vm = source,
				   .value = p->left[source],
				   .gain = p->left[source] };
	return p->left[source] > 0;
}

/* What one source wins changes what others can. */
static int take_of_pile(void *arg, const struct search_move *m)
{
	struct pile *p = arg;

	p->taken[p->ntaken++] = m->vm;
	p->left[m->vm] = 0;
	if (m->vm == 3)
		p->left[4] = 1;
	if (m->vm == 0)
		p->left[6] = 7;
	return 0;
}

static const uint32_t sources[40] = { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
				      14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
				      28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39 };

/* A source that had nothing is asked again: at the end, or if all are, after each move. */
START_TEST(searches_best_first)
{
	static const uint32_t wanted[2][7] = { { 3, 1, 5, 2, 0, 4, 6 }, { 3, 1, 5, 2, 0, 6, 4 } };
	struct pile p = { .left = { 2, 5, 4, 9, 8, 5 } };
	struct search s = { &p, best_of_pile, take_of_pile, .exact = _i, .max = 100 };

	ck_assert_int_eq(search_run(&s, sources, 7), SEARCH_DONE);
	ck_assert_uint_eq(p.ntaken, 7);
	for (int i = 0; i < 7; i++)
		ck_assert_uint_eq(p.taken[i], wanted[_i][i]);
}
END_TEST

START_TEST(search_ends)
{
	struct pile p = { 0 };
	struct search s = { &p, best_of_pile, take_of_pile, .max = 7 };

	for (int i = 0; i < 40; i++)
		p.left[i] = 100 - i;
	ck_assert_int_eq(search_run(&s, sources, 40), SEARCH_MAX);
	ck_assert_uint_eq(p.ntaken, 7);
	/* Ten gain 10 each, then three 3, then 1: the last ten gain below a fifth of that. */
	p.ntaken = 0;
	for (int i = 0; i < 40; i++)
		p.left[i] = i < 10 ? 10 : i < 13 ? 3 : 1;
	s.max = 100;
	s.knee_moves = 10;
	s.knee_share = 0.2;
	ck_assert_int_eq(search_run(&s, sources, 40), SEARCH_KNEE);
	ck_assert_uint_eq(p.ntaken, 20);
}
END_TEST

enum { STEPS_ROOM = 40 };

struct ordered {
	struct steps_host host[8];
	struct step step[STEPS_ROOM];
	__typeof__(*(struct steps){ 0 }.end) end[STEPS_ROOM];
	struct steps s;
};

static void order(struct ordered *o, const struct steps_move *move, uint32_t n)
{
	o->s.host = o->host;
	o->s.move = move;
	o->s.nmove = n;
	o->s.step = o->step;
	o->s.end = o->end;
	o->s.out_max = o->s.in_max = 2;
	o->s.at_once = 5;
	o->s.waves_max = 10;
	ck_assert_int_eq(steps_order(&o->s), 0);
}

/* b has no room for what a sends before b itself has sent something to c. */
START_TEST(waits_for_room)
{
	static const struct steps_move moves[] = { { 0, 1, 10, false }, { 1, 2, 10, false } };
	struct ordered o = { .host = { { .room = 0 }, { .room = 5 }, { .room = 10 } } };

	order(&o, moves, 2);
	ck_assert_uint_eq(o.s.nstep, 2);
	ck_assert_uint_eq(o.step[0].move, 1);
	ck_assert_uint_eq(o.step[0].wave, 0);
	ck_assert_uint_eq(o.step[1].move, 0);
	ck_assert_uint_eq(o.step[1].wave, 1);
}
END_TEST

/* Two that change places have to go by way of a third host, the smaller one. */
START_TEST(parks)
{
	static const struct steps_move moves[] = { { 0, 1, 10, false }, { 1, 0, 8, false } };
	static const uint32_t park[] = { 2 };
	struct ordered o = { .host = { { .room = 1 }, { .room = 2 }, { .room = 9 } },
			     .s = { .park = park, .npark = 1 } };

	order(&o, moves, 2);
	ck_assert_uint_eq(o.s.nstep, 3);
	ck_assert_uint_eq(o.step[0].move, 1);
	ck_assert_uint_eq(o.step[0].to, 2);
	ck_assert(o.step[0].parks);
	ck_assert_uint_eq(o.step[1].move, 0);
	ck_assert_uint_eq(o.step[1].wave, 1);
	ck_assert_uint_eq(o.step[2].move, 1);
	ck_assert_uint_eq(o.step[2].from, 2);
	ck_assert_uint_eq(o.step[2].to, 0);
	ck_assert_uint_eq(o.step[2].wave, 2);
	ck_assert(!o.step[2].parks);
}
END_TEST

START_TEST(stuck)
{
	static const struct steps_move moves[] = { { 0, 1, 10, false }, { 1, 0, 8, false } };
	struct ordered o = { .host = { { .room = 1 }, { .room = 2 }, { .room = 7 } } };

	order(&o, moves, 2);
	ck_assert_uint_eq(o.s.nstep, 0);
	ck_assert_int_eq(o.end[0], STEPS_STUCK);
	ck_assert_int_eq(o.end[1], STEPS_STUCK);
}
END_TEST

/* Flights take turns and room in the first wave, and give them back for the second. */
START_TEST(flights)
{
	static const struct steps_move moves[] = { { 0, 1, 10, false }, { 2, 0, 10, false } };
	struct ordered o = {
		.host = { { .room = 0, .out = 2, .leaves = 10 }, { .room = 20 }, { .room = 20 } },
		.s = { .under_way = 2 }
	};

	order(&o, moves, 2);
	ck_assert_uint_eq(o.s.nstep, 2);
	ck_assert_uint_eq(o.step[0].wave, 1);
	ck_assert_uint_eq(o.step[1].wave, 1);
}
END_TEST

/* Random rooms, sizes and moves: whatever the order, no host is ever filled beyond its room. */
START_TEST(every_state_fits)
{
	static const uint32_t park[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct steps_move moves[16];
	struct ordered o = { .s = { .park = park, .npark = 8 } };
	double room[8];

	srand((unsigned)_i);
	for (int h = 0; h < 8; h++)
		room[h] = o.host[h].room = rand() % 20;
	for (int i = 0; i < 16; i++) {
		uint32_t from = (uint32_t)rand() % 8;

		moves[i] = (struct steps_move){ from, (from + 1 + (uint32_t)rand() % 7) % 8,
						1 + rand() % 8, false };
	}
	order(&o, moves, 16);
	for (uint32_t wave = 0; wave < 10; wave++) {
		uint32_t out[8] = { 0 }, in[8] = { 0 }, n = 0;

		for (uint32_t i = 0; i < o.s.nstep; i++) {
			const struct step *s = &o.step[i];

			if (s->wave != wave)
				continue;
			room[s->to] -= moves[s->move].bytes;
			ck_assert_uint_le(++out[s->from], 2);
			ck_assert_uint_le(++in[s->to], 2);
			ck_assert_uint_le(++n, 5);
		}
		for (int h = 0; h < 8; h++)
			ck_assert_double_ge(room[h], 0);
		for (uint32_t i = 0; i < o.s.nstep; i++)
			if (o.step[i].wave == wave)
				room[o.step[i].from] += moves[o.step[i].move].bytes;
	}
}
END_TEST

static Suite *plan_parts_suite(void)
{
	Suite *s = suite_create("plan_parts");
	TCase *c = tcase_create("parts");

	tcase_add_test(c, happiness_of_a_vm);
	tcase_add_test(c, happiness_of_all);
	tcase_add_test(c, curve);
	tcase_add_test(c, curves_of_classes);
	tcase_add_test(c, cost_of_a_move);
	tcase_add_test(c, cost_of_a_small_set);
	tcase_add_test(c, cost_of_slowing_down);
	tcase_add_test(c, learns);
	tcase_add_loop_test(c, searches_best_first, 0, 2);
	tcase_add_test(c, search_ends);
	tcase_add_test(c, waits_for_room);
	tcase_add_test(c, parks);
	tcase_add_test(c, stuck);
	tcase_add_test(c, flights);
	tcase_add_loop_test(c, every_state_fits, 0, 50);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(plan_parts_suite)

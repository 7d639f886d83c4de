/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner on the layouts by which another cluster manager, Proxmox VE, shows how it
 * rebalances (the 17 cases *auto-rebalance* of its HA manager): the same three hosts and loads,
 * and where that one ends.  It evens out what hosts have to do, half cores and half memory,
 * whether or not anybody goes short; the planner only sees to it that nobody does.  So each case
 * says which of both is seen: hosts at least as even as theirs, or all VMs content though theirs
 * are more even.  The planner never makes more moves than it, and none of a VM twice: in
 * theirs, vm:105 of case 3 moves twice within 160 s.  One of their rounds is one of our steps.
 */
#include "check_main.h"
#include "plan_sim.h"

/* As things are at first, and after each of two changes. */
enum { PHASES = 3, LAYOUT_VMS = 7 };

struct layout_vm {
	uint32_t host;
	double cores[PHASES], mib[PHASES]; /* used in each phase */
	uint32_t theirs[PHASES]; /* host at the end of each phase; the first is not looked at */
	const char *more;
};

enum end { EVEN, CONTENT };

struct layout {
	const char *name;
	double cores, gib; /* of each host */
	const struct layout_vm *vm;
	uint32_t nvm;
	double published[PHASES]; /* their coefficient of variation at the end of a phase, or 0 */
	uint32_t their_moves;
	enum end end[PHASES];
	uint32_t spike; /* steps of the second phase, if not five, with a hold of five windows */
};

#define STEADY(host, cores, mib, to, more)                                                         \
	{                                                                                          \
		host, { cores, cores, cores }, { mib, mib, mib }, { to, to, to }, more             \
	}
#define LATER(host, cores, mib, to)                                                                \
	{                                                                                          \
		host, { 0, cores, cores }, { 0, mib, mib }, { to, to, to }, ""                     \
	}
#define CHANGES(host, c1, m1, c2, m2, to2, c3, m3, to3)                                            \
	{                                                                                          \
		host, { c1, c2, c3 }, { m1, m2, m3 }, { host, to2, to3 }, ""                       \
	}
#define VMS(a) (a), ARRAY_SIZE(a)

static const struct layout_vm one[] = { STEADY(0, 1, 4096, 0, "") };
static const struct layout_vm one_static[] = { STEADY(0, 2, 8192, 0, "") };
static const struct layout_vm four[] = {
	STEADY(0, 1, 4096, 1, ""),
	STEADY(0, 1, 4096, 2, ""),
	STEADY(0, 1, 4096, 0, ""),
	STEADY(0, 1, 4096, 0, ""),
};
static const struct layout_vm four_static[] = {
	STEADY(0, 2, 8192, 1, ""),
	STEADY(0, 2, 8192, 2, ""),
	STEADY(0, 2, 8192, 0, ""),
	STEADY(0, 2, 8192, 0, ""),
};
static const struct layout_vm seven[] = {
	CHANGES(0, 0.9, 5192, 0.9, 5192, 0, 0.9, 1011, 0),
	CHANGES(0, 1.2, 2500, 1.2, 2500, 0, 1.2, 2500, 0),
	CHANGES(1, 0.8, 5192, 0.8, 5192, 1, 3.9, 6517, 0),
	CHANGES(1, 0.9, 2500, 0.9, 2500, 1, 6.7, 8001, 1),
	CHANGES(2, 3.0, 768, 7.8, 7912, 1, 1.8, 1201, 2),
	CHANGES(2, 2.9, 1538, 5.7, 8192, 2, 2.1, 1211, 2),
	CHANGES(2, 2.1, 1538, 6.0, 8011, 2, 0.9, 1191, 2),
};
static const struct layout_vm seven_topsis[] = {
	CHANGES(0, 0.9, 5192, 0.9, 5192, 0, 0.9, 1011, 0),
	CHANGES(0, 1.2, 2500, 1.2, 2500, 0, 1.2, 2500, 0),
	CHANGES(1, 0.8, 5192, 0.8, 5192, 1, 3.9, 6517, 2),
	CHANGES(1, 0.9, 2500, 0.9, 2500, 1, 6.7, 8001, 1),
	CHANGES(2, 3.0, 768, 7.8, 7912, 1, 1.8, 1201, 0),
	CHANGES(2, 2.9, 1538, 5.7, 8192, 2, 2.1, 1211, 2),
	CHANGES(2, 2.1, 1538, 6.0, 8011, 2, 0.9, 1191, 2),
};
static const struct layout_vm seven_static[] = {
	CHANGES(0, 2, 2048, 2, 2048, 0, 1, 1024, 0), CHANGES(0, 2, 2048, 2, 2048, 0, 1, 1024, 0),
	CHANGES(1, 2, 2048, 2, 2048, 1, 1, 1024, 1), CHANGES(1, 2, 2048, 2, 2048, 1, 1, 1024, 1),
	CHANGES(2, 2, 2048, 8, 8192, 0, 1, 1024, 0), CHANGES(2, 2, 2048, 8, 8192, 2, 8, 8192, 1),
	CHANGES(2, 2, 2048, 8, 8192, 2, 8, 8192, 2),
};
static const struct layout_vm spike[] = {
	CHANGES(0, 0.9, 5192, 0.9, 5192, 0, 0.9, 5192, 0),
	CHANGES(0, 1.2, 2500, 1.2, 2500, 0, 1.2, 2500, 0),
	CHANGES(1, 0.8, 5192, 0.8, 5192, 1, 0.8, 5192, 1),
	CHANGES(1, 0.9, 2500, 0.9, 2500, 1, 0.9, 2500, 1),
	CHANGES(2, 3.0, 768, 7.8, 7912, 2, 3.0, 768, 2),
	CHANGES(2, 2.9, 1538, 5.7, 8192, 2, 2.9, 1538, 2),
	CHANGES(2, 2.1, 1538, 6.0, 8011, 2, 2.1, 1538, 2),
};
/* Three that must stay where they are, and one that comes. */
static const struct layout_vm kept[] = {
	STEADY(0, 0.9, 2500, 0, ",'pinned':true"),
	STEADY(0, 7.9, 8192, 0, ",'pinned':true"),
	STEADY(0, 4.7, 5000, 0, ",'pinned':true"),
	LATER(0, 4, 4096, 1),
};
static const struct layout_vm pair[] = {
	STEADY(0, 0.9, 2500, 1, ",'together':['t']"),
	STEADY(0, 7.9, 8192, 1, ",'together':['t']"),
	LATER(0, 4, 4096, 0),
};
static const struct layout_vm pair_and_two[] = {
	STEADY(0, 0.9, 2500, 2, ",'together':['t']"),
	STEADY(0, 7.9, 8192, 1, ""),
	STEADY(0, 4.7, 5000, 2, ",'together':['t']"),
	STEADY(0, 4, 4096, 0, ""),
};
/* The first two may not join the third, so that the last has to make room. */
static const struct layout_vm apart[] = {
	STEADY(0, 0.9, 4096, 2, ",'apart':['a']"),
	STEADY(0, 2.4, 2500, 0, ",'apart':['b']"),
	STEADY(1, 0, 0, 1, ",'apart':['a','b']"),
	STEADY(2, 1, 1024, 1, ""),
};

static const struct layout layouts[] = {
	{ "dynamic 0, topsis 0", 24, 48, NULL, 0, { 0 }, 0, { EVEN, EVEN, EVEN }, 0 },
	{ "dynamic 1, topsis 1", 4, 16, VMS(one), { 0 }, 0, { EVEN, EVEN, EVEN }, 0 },
	{ "static 1", 4, 16, VMS(one_static), { 0 }, 0, { EVEN, EVEN, EVEN }, 0 },
	{ "dynamic 2, topsis 2",
	  24,
	  32,
	  VMS(four),
	  { 0, 0.35, 0.35 },
	  2,
	  { 0, CONTENT, CONTENT },
	  0 },
	{ "static 2", 24, 32, VMS(four_static), { 0, 0.35, 0.35 }, 2, { 0, CONTENT, CONTENT }, 0 },
	{ "dynamic 3", 24, 48, VMS(seven), { 0, 0.42, 0.21 }, 3, { 0, EVEN, CONTENT }, 0 },
	{ "topsis 3", 24, 48, VMS(seven_topsis), { 0, 0.42, 0.24 }, 3, { 0, EVEN, CONTENT }, 0 },
	{ "static 3", 24, 48, VMS(seven_static), { 0, 0.47, 0.42 }, 2, { 0, EVEN, EVEN }, 0 },
	{ "dynamic 4, topsis 4", 24, 48, VMS(spike), { 0 }, 0, { EVEN, EVEN, EVEN }, 4 },
	{ "constrained 1", 24, 48, VMS(kept), { 0, 0.98, 0.98 }, 1, { 0, EVEN, EVEN }, 0 },
	{ "constrained 2", 24, 48, VMS(pair), { 0, 0.86, 0.86 }, 2, { 0, CONTENT, CONTENT }, 0 },
	{ "constrained 3",
	  24,
	  48,
	  VMS(pair_and_two),
	  { 0, 0.27, 0.27 },
	  3,
	  { 0, CONTENT, CONTENT },
	  0 },
	{ "constrained 4", 24, 48, VMS(apart), { 0, 0.33, 0.33 }, 2, { 0, CONTENT, CONTENT }, 0 },
	/* Not published: the same on hosts so small that somebody goes short. */
	{ "2 on four cores", 4, 32, VMS(four), { 0, 0.35, 0.35 }, 2, { 0, EVEN, EVEN }, 0 },
	{ "static 2 on eight cores",
	  8,
	  32,
	  VMS(four_static),
	  { 0, 0.35, 0.35 },
	  2,
	  { 0, EVEN, EVEN },
	  0 },
	{ "constrained 4 on four cores", 4, 48, VMS(apart), { 0 }, 2, { 0, EVEN, EVEN }, 0 },
};

static uint32_t end_of(const struct layout *l, uint32_t phase)
{
	const uint32_t end[PHASES] = { 5, l->spike ? 5 + l->spike : 10, 40 };

	return end[phase];
}

static double wants_as_laid_out(const struct sim *s, uint32_t vm)
{
	const struct layout *l = s->arg;
	uint32_t phase = 0;

	while (phase + 1 < PHASES && s->rounds >= end_of(l, phase))
		phase++;
	return l->vm[vm].cores[phase];
}

/* Of what the three hosts have to do, with VMs where ours or theirs are. */
static double variation(const struct sim *s, uint32_t phase, bool theirs)
{
	const struct layout *l = s->arg;
	double of[3] = { 0 }, mean = 0, squares = 0;

	for (uint32_t i = 0; i < s->nvm; i++)
		of[theirs ? l->vm[i].theirs[phase] : s->vm[i].host] +=
			(l->vm[i].cores[phase] / l->cores + l->vm[i].mib[phase] / 1024 / l->gib) /
			2;
	for (int h = 0; h < 3; h++) {
		mean += of[h] / 3;
		squares += of[h] * of[h] / 3;
	}
	return mean > 0 ? sqrt(MAX(squares - mean * mean, 0)) / mean : 0;
}

static bool all_content(const struct sim *s)
{
	for (uint32_t i = 0; i < s->nvm; i++)
		if (s->vm[i].run[0] < 0.9 * (s->vm[i].run[0] + s->vm[i].delay[0]))
			return false;
	return true;
}

static void compare(const struct sim *s, uint32_t phase)
{
	const struct layout *l = s->arg;
	double ours = variation(s, phase, false), theirs = variation(s, phase, true);

	if (l->published[phase] > 0)
		ck_assert_double_eq_tol(theirs, l->published[phase], 0.0051);
	ck_assert_msg((ours <= theirs + 1e-9) == (l->end[phase] == EVEN), "%s: %g beside %g",
		      l->name, ours, theirs);
	ck_assert_msg(l->end[phase] == EVEN || all_content(s), "%s: somebody goes short", l->name);
}

START_TEST(laid_out)
{
	const struct layout *l = &layouts[_i];
	struct sim *s = sim_new(3, l->nvm, l->cores, ",'budget_day':10", wants_as_laid_out);

	if (l->spike)
		s->policy = ",'budget_day':10,'hold_windows':5";
	s->arg = l;
	s->tracks = 1; /* theirs knows only the present use, too */
	s->bytes = l->gib * 1073741824;
	s->reserve = 0;
	for (uint32_t i = 0; i < l->nvm; i++) {
		s->vm[i].host = l->vm[i].host;
		s->vm[i].vcpus = 8;
		s->vm[i].bytes = 8589934592;
		s->vm[i].more = l->vm[i].more;
	}
	sim_run(s, end_of(l, 0));
	for (uint32_t phase = 1; phase < PHASES; phase++) {
		sim_run(s, end_of(l, phase));
		compare(s, phase);
	}
	ck_assert_uint_le(s->moves, l->their_moves);
	ck_assert_uint_eq(sim_again(s, 900, false), 0);
	free(s);
}
END_TEST

static Suite *plan_crs_suite(void)
{
	Suite *s = suite_create("plan_crs");
	TCase *c = tcase_create("layouts");

	tcase_add_loop_test(c, laid_out, 0, (int)ARRAY_SIZE(layouts));
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(plan_crs_suite)

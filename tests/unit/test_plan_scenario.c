/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner in a loop: a small simulated cluster is measured each minute, planned, and the
 * moves of the first wave are carried out.  What VMs wait for is what the default curve says.
 */
#include <math.h>

#include "bits.h"
#include "check_main.h"
#include "plan_world.h"

enum { HOSTS_MAX = 32, VMS_MAX = 160, MOVES_MAX = 400, STEP_S = 60 };

struct sim_vm {
	uint32_t host;
	double demand; /* cores that it wants now */
	double mean, variance;
	double run[WINDOWS_MAX], delay[WINDOWS_MAX];
	struct {
		uint64_t at;
		uint32_t from, to;
		double took;
	} move[MOVES_MAX]; /* the oldest first */
	uint32_t nmove;
};

struct sim {
	uint32_t nhost, nvm, rounds;
	double cores, vcpus;
	const char *policy;
	double tracks; /* of a reading, the share that goes into the mean */
	double (*wants)(const struct sim *, uint32_t vm);
	struct sim_vm vm[VMS_MAX];
	double load[HOSTS_MAX];
	uint32_t moves;
};

static const double VM_BYTES = 4e9, HOST_BYTES = 256e9;

static uint64_t sim_now(const struct sim *s)
{
	return NOW + (uint64_t)s->rounds * STEP_S;
}

/* One minute goes by. */
static void sim_measure(struct sim *s)
{
	memset(s->load, 0, sizeof(s->load));
	for (uint32_t i = 0; i < s->nvm; i++) {
		s->vm[i].demand = s->wants(s, i);
		s->load[s->vm[i].host] += s->vm[i].demand;
	}
	for (uint32_t i = 0; i < s->nvm; i++) {
		struct sim_vm *v = &s->vm[i];
		double load = s->load[v->host] / s->cores;
		double waits = curve_delay(&curve_default, load);
		double used = v->demand * MIN(1, 1 / MAX(load, 1e-9)), off = used - v->mean;

		memmove(v->run + 1, v->run, sizeof(v->run) - sizeof(v->run[0]));
		memmove(v->delay + 1, v->delay, sizeof(v->delay) - sizeof(v->delay[0]));
		v->run[0] = v->demand / s->vcpus * (1 - waits);
		v->delay[0] = v->demand / s->vcpus * waits;
		v->mean += s->tracks * off;
		v->variance = (1 - s->tracks) * (v->variance + s->tracks * off * off);
	}
	s->rounds++;
}

static void print_windows(const double *v, FILE *f)
{
	for (int i = 0; i < WINDOWS_MAX; i++)
		fprintf(f, "%c%.9g", i ? ',' : '[', v[i]);
	fputc(']', f);
}

static void sim_write_vm(const struct sim *s, uint32_t i, FILE *f)
{
	const struct sim_vm *v = &s->vm[i];

	fprintf(f, "{\"vm\":{\"id\":\"v%03u\",\"host\":\"h%02u\",\"at\":%lu,\"vcpus\":%g", i,
		v->host, sim_now(s), s->vcpus);
	fprintf(f, ",\"memory\":%.0f,\"resident\":%.0f,\"run\":", VM_BYTES, VM_BYTES);
	print_windows(v->run, f);
	fputs(",\"delay\":", f);
	print_windows(v->delay, f);
	fprintf(f, ",\"cpu_mean\":%.9g,\"cpu_deviation\":%.9g,\"dirty_rate\":1e7,\"moves\":[",
		v->mean, sqrt(v->variance));
	for (uint32_t m = v->nmove, n = 0; m-- > 0 && n < PAST_MOVES_MAX; n++)
		fprintf(f, "%s{\"at\":%lu,\"from\":\"h%02u\",\"took_s\":%g}", n ? "," : "",
			v->move[m].at, v->move[m].from, v->move[m].took);
	fputs("]}}\n", f);
}

static void sim_write(const struct sim *s, struct world *w)
{
	double used[HOSTS_MAX] = { 0 };

	world_begin(w);
	world_line(w, "{'snapshot':{'version':1,'time':%lu,'mode':'auto'}}", sim_now(s));
	world_line(w, "{'policy':{%s}}", s->policy);
	for (uint32_t i = 0; i < s->nvm; i++) {
		used[s->vm[i].host] += VM_BYTES;
		sim_write_vm(s, i, w->file);
	}
	for (uint32_t h = 0; h < s->nhost; h++) {
		ck_assert_double_le(used[h], HOST_BYTES - 8e9);
		world_line(w,
			   "{'host':{'id':'h%02u','at':%lu,'cores':%g,'memory':%.0f,"
			   "'reserve':8000000000,'available':%.0f,'link':1.25e9,'use':[%g]}}",
			   h, sim_now(s), s->cores, HOST_BYTES, HOST_BYTES - used[h],
			   MIN(1, s->load[h] / s->cores));
	}
}

/* Hosts and VMs are in the order of their names, so that indices are the same there and here. */
static void sim_plan(struct sim *s)
{
	struct world w;

	sim_write(s, &w);
	world_plan(&w);
	for (uint32_t i = 0; i < w.plan.nmove; i++) {
		const struct plan_move *m = &w.plan.move[i];
		struct sim_vm *v = &s->vm[m->vm];

		if (!m->execute)
			continue;
		ck_assert_uint_lt(v->nmove, MOVES_MAX);
		ck_assert_double_lt(m->judged.move.time_s, STEP_S);
		v->move[v->nmove].at = sim_now(s);
		v->move[v->nmove].from = m->from;
		v->move[v->nmove].to = m->to;
		v->move[v->nmove++].took = m->judged.move.time_s;
		v->host = m->to;
		s->moves++;
	}
	world_end(&w);
}

static void sim_run(struct sim *s, uint32_t rounds)
{
	while (s->rounds < rounds) {
		sim_measure(s);
		if (s->rounds >= WINDOWS_MAX)
			sim_plan(s);
	}
}

static uint32_t most_moves(const struct sim *s)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < s->nvm; i++)
		most = MAX(most, s->vm[i].nmove);
	return most;
}

static double most_load(const struct sim *s)
{
	double most = 0;

	for (uint32_t h = 0; h < s->nhost; h++)
		most = MAX(most, s->load[h]);
	return most;
}

static double load_cv(const struct sim *s)
{
	double sum = 0, squares = 0;

	for (uint32_t h = 0; h < s->nhost; h++) {
		sum += s->load[h];
		squares += s->load[h] * s->load[h];
	}
	sum /= s->nhost;
	return sqrt(MAX(squares / s->nhost - sum * sum, 0)) / sum;
}

static double wants_all(const struct sim *s, uint32_t vm)
{
	(void)vm;
	return s->vcpus;
}

/* Twelve hosts of 64 CPUs; 130 VMs, each with four busy vCPUs, all on six of them. */
START_TEST(half_of_the_hosts)
{
	struct sim *s = calloc(1, sizeof(*s));

	*s = (struct sim){ .nhost = 12,
			   .nvm = 130,
			   .cores = 64,
			   .vcpus = 4,
			   .policy = "",
			   .tracks = 1.0 / 120,
			   .wants = wants_all };
	for (uint32_t i = 0; i < s->nvm; i++)
		s->vm[i] = (struct sim_vm){ .host = i % 6, .mean = 4 * 64 / 88.0 };
	sim_run(s, 240);
	ck_assert_uint_ge(s->moves, 63);
	ck_assert_uint_le(s->moves, 67);
	ck_assert_uint_eq(most_moves(s), 1);
	sim_measure(s);
	ck_assert_double_le(most_load(s), 44);
	free(s);
}
END_TEST

/* Four VMs on the first of three hosts with room for all of them, but for their cores. */
START_TEST(four_on_one)
{
	struct sim *s = calloc(1, sizeof(*s));

	*s = (struct sim){ .nhost = 3,
			   .nvm = 4,
			   .cores = 4,
			   .vcpus = 1,
			   .wants = wants_all,
			   .policy = "'budget_day':1",
			   .tracks = 1.0 / 120 };
	for (uint32_t i = 0; i < s->nvm; i++)
		s->vm[i] = (struct sim_vm){ .mean = 1 };
	sim_measure(s);
	ck_assert_double_eq_tol(load_cv(s), 1.41, 0.01);
	sim_run(s, 60);
	ck_assert_uint_le(s->moves, 2);
	ck_assert_uint_eq(most_moves(s), 1);
	ck_assert_double_le(load_cv(s), 0.36);
	free(s);
}
END_TEST

/*
 * All VMs of a host want everything in one minute and nothing in the next, and those of every
 * other host the other way round; a VM that goes to another host does as they do there.  So who
 * reacts to the last minute always moves the wrong way.
 */
static double wants_in_turns(const struct sim *s, uint32_t vm)
{
	return (s->rounds + s->vm[vm].host) % 2 ? s->vcpus : 0;
}

static struct sim *square_wave(const char *policy, double tracks)
{
	struct sim *s = calloc(1, sizeof(*s));

	*s = (struct sim){ .nhost = 10,
			   .nvm = 80,
			   .cores = 16,
			   .vcpus = 2,
			   .policy = policy,
			   .tracks = tracks,
			   .wants = wants_in_turns };
	for (uint32_t i = 0; i < s->nvm; i++)
		s->vm[i] = (struct sim_vm){ .host = i % 10, .mean = 1, .variance = 1 };
	sim_run(s, 360);
	return s;
}

/* The most moves of one VM within an hour, and how often one went back within the cooldown. */
static uint32_t within_an_hour(const struct sim *s, uint32_t *back)
{
	uint32_t most = 0;

	*back = 0;
	for (uint32_t i = 0; i < s->nvm; i++) {
		const struct sim_vm *v = &s->vm[i];

		for (uint32_t a = 0; a < v->nmove; a++) {
			uint32_t n = 0;

			for (uint32_t b = a; b < v->nmove; b++)
				n += v->move[b].at - v->move[a].at < 3600;
			most = MAX(most, n);
			*back += a && v->move[a].to == v->move[a - 1].from &&
				 v->move[a].at - v->move[a - 1].at < 1800;
		}
	}
	return most;
}

/* With a mean of two hours, with one that forgets all but the last minute, and without a budget. */
START_TEST(adversary)
{
	struct sim *s = square_wave(_i == 2 ? "'budget_day':1000" : "", _i ? 1 : 1.0 / 120);
	uint32_t back;

	ck_assert_uint_le(within_an_hour(s, &back), 2);
	ck_assert_uint_eq(back, 0);
	if (_i < 2)
		ck_assert_uint_le(s->moves, s->nvm / 2);
	free(s);
}
END_TEST

/* The same without what holds it back: this cluster does tempt. */
START_TEST(adversary_undamped)
{
	struct sim *s =
		square_wave("'hold_windows':1,'cooldown_s':0,'cooldown_moves':0,'freeze_windows':0,"
			    "'deviations':0,'budget_day':1000,'return_cooldowns':0",
			    1);
	uint32_t back;

	ck_assert_uint_gt(within_an_hour(s, &back), 2);
	ck_assert_uint_gt(back, 0);
	ck_assert_uint_gt(s->moves, s->nvm);
	free(s);
}
END_TEST

static Suite *plan_scenario_suite(void)
{
	Suite *s = suite_create("plan_scenario");
	TCase *c = tcase_create("simulated");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, half_of_the_hosts);
	tcase_add_test(c, four_on_one);
	tcase_add_loop_test(c, adversary, 0, 3);
	tcase_add_test(c, adversary_undamped);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(plan_scenario_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner in a loop: a small simulated cluster is measured each step, planned, and the
 * moves of the first wave are carried out.  What VMs wait for is what the default curve says.
 */
#ifndef PLAN_SIM_H
#define PLAN_SIM_H

#include <math.h>

#include "bits.h"
#include "plan_world.h"

enum { HOSTS_MAX = 128, VMS_MAX = 160, MOVES_MAX = 400 };

struct sim_vm {
	uint32_t host;
	double vcpus, bytes;
	const char *more; /* further members, or NULL */
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
	double step_s, cores, bytes, reserve; /* of each host */
	const char *policy;
	double tracks; /* of a reading, the share that goes into the mean */
	double (*wants)(const struct sim *, uint32_t vm);
	const void *arg; /* of wants */
	bool idle; /* nothing is planned */
	struct sim_vm vm[VMS_MAX];
	double load[HOSTS_MAX], used[HOSTS_MAX]; /* cores wanted, bytes */
	uint32_t moves, overloaded; /* overloaded: hosts times steps */
};

/* Measured each minute, with means over two hours; its VMs are yet to be said. */
static inline struct sim *sim_new(uint32_t nhost, uint32_t nvm, double cores, const char *policy,
				  double (*wants)(const struct sim *, uint32_t vm))
{
	struct sim *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	ck_assert_uint_le(nhost, HOSTS_MAX);
	ck_assert_uint_le(nvm, VMS_MAX);
	s->nhost = nhost;
	s->nvm = nvm;
	s->cores = cores;
	s->policy = policy;
	s->wants = wants;
	s->step_s = 60;
	s->tracks = 1.0 / 120;
	s->bytes = 256e9;
	s->reserve = 8e9;
	return s;
}

static inline uint64_t sim_now(const struct sim *s)
{
	return NOW + (uint64_t)(s->rounds * s->step_s);
}

/* One step goes by. */
static inline void sim_measure(struct sim *s)
{
	memset(s->load, 0, sizeof(s->load));
	for (uint32_t i = 0; i < s->nvm; i++) {
		s->vm[i].demand = s->wants(s, i);
		s->load[s->vm[i].host] += s->vm[i].demand;
	}
	for (uint32_t h = 0; h < s->nhost; h++)
		s->overloaded += s->load[h] > s->cores;
	for (uint32_t i = 0; i < s->nvm; i++) {
		struct sim_vm *v = &s->vm[i];
		double load = s->load[v->host] / s->cores;
		double waits = curve_delay(&curve_default, load);
		double used = v->demand * MIN(1, 1 / MAX(load, 1e-9)), off = used - v->mean;

		memmove(v->run + 1, v->run, sizeof(v->run) - sizeof(v->run[0]));
		memmove(v->delay + 1, v->delay, sizeof(v->delay) - sizeof(v->delay[0]));
		v->run[0] = v->demand / v->vcpus * (1 - waits);
		v->delay[0] = v->demand / v->vcpus * waits;
		v->mean += s->tracks * off;
		v->variance = (1 - s->tracks) * (v->variance + s->tracks * off * off);
	}
	s->rounds++;
}

static inline void print_windows(const double *v, FILE *f)
{
	for (int i = 0; i < WINDOWS_MAX; i++)
		fprintf(f, "%c%.9g", i ? ',' : '[', v[i]);
	fputc(']', f);
}

static inline void sim_write_vm(const struct sim *s, uint32_t i, struct world *w)
{
	const struct sim_vm *v = &s->vm[i];
	FILE *f = w->file;

	fprintf(f, "{\"vm\":{\"id\":\"v%03u\",\"host\":\"h%03u\",\"at\":%lu,\"vcpus\":%g", i,
		v->host, sim_now(s), v->vcpus);
	fprintf(f, ",\"memory\":%.0f,\"resident\":%.0f,\"run\":", v->bytes, v->bytes);
	print_windows(v->run, f);
	fputs(",\"delay\":", f);
	print_windows(v->delay, f);
	fprintf(f, ",\"cpu_mean\":%.9g,\"cpu_deviation\":%.9g,\"dirty_rate\":1e7,\"moves\":[",
		v->mean, sqrt(v->variance));
	for (uint32_t m = v->nmove, n = 0; m-- > 0 && n < PAST_MOVES_MAX; n++)
		fprintf(f, "%s{\"at\":%lu,\"from\":\"h%03u\",\"took_s\":%g}", n ? "," : "",
			v->move[m].at, v->move[m].from, v->move[m].took);
	world_line(w, "]%s}}", v->more ? v->more : "");
}

static inline void sim_write(struct sim *s, struct world *w)
{
	double used[HOSTS_MAX] = { 0 };

	world_begin(w);
	world_line(w, "{'snapshot':{'version':1,'time':%lu,'mode':'auto'}}", sim_now(s));
	world_line(w, "{'policy':{'interval_s':%g,'window_s':%g%s}}", s->step_s, s->step_s,
		   s->policy);
	for (uint32_t i = 0; i < s->nvm; i++) {
		used[s->vm[i].host] += s->vm[i].bytes;
		sim_write_vm(s, i, w);
	}
	for (uint32_t h = 0; h < s->nhost; h++) {
		ck_assert_double_le(used[h], s->bytes - s->reserve);
		world_line(w,
			   "{'host':{'id':'h%03u','at':%lu,'cores':%g,'memory':%.0f,"
			   "'reserve':%.0f,'available':%.0f,'link':1.25e9,'use':[%g]}}",
			   h, sim_now(s), s->cores, s->bytes, s->reserve, s->bytes - used[h],
			   MIN(1, s->load[h] / s->cores));
	}
}

/* Hosts and VMs are in the order of their names, so that indices are the same there and here. */
static inline void sim_plan(struct sim *s)
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
		ck_assert_double_lt(m->judged.move.time_s, s->step_s);
		v->move[v->nmove].at = sim_now(s);
		v->move[v->nmove].from = m->from;
		v->move[v->nmove].to = m->to;
		v->move[v->nmove++].took = m->judged.move.time_s;
		v->host = m->to;
		s->moves++;
	}
	world_end(&w);
}

static inline void sim_run(struct sim *s, uint32_t rounds)
{
	while (s->rounds < rounds) {
		sim_measure(s);
		if (s->rounds >= WINDOWS_MAX && !s->idle)
			sim_plan(s);
	}
}

static inline uint32_t sim_most_moves(const struct sim *s)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < s->nvm; i++)
		most = MAX(most, s->vm[i].nmove);
	return most;
}

/* How often a VM moved again within so many seconds: back to where it was, or anywhere. */
static inline uint32_t sim_again(const struct sim *s, double within_s, bool back)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->nvm; i++) {
		const struct sim_vm *v = &s->vm[i];

		for (uint32_t m = 1; m < v->nmove; m++)
			n += (!back || v->move[m].to == v->move[m - 1].from) &&
			     (double)(v->move[m].at - v->move[m - 1].at) < within_s;
	}
	return n;
}

#endif

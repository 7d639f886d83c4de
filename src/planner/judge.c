/* SPDX-License-Identifier: Apache-2.0 */
/* What a move would be worth, and which rule is against it. */
#include <math.h>

#include "bits.h"
#include "hash.h"
#include "planner_internal.h"
#include "planner/snapshot.h"

static const double GIB_BYTES = 1073741824;
static const double LINK_LEAST = 0.01; /* share of a link below which nothing is sent */

/* Bytes per second that the links between two hosts have for one of the moves there may be. */
static double rate_between(const struct snapshot *s, uint32_t from, uint32_t to)
{
	double rate = INFINITY;

	for (int i = 0; i < 2; i++) {
		const struct host *h = &s->host[i ? to : from];
		double share = MIN(s->policy.link_share, 1 - h->link_used);

		rate = MIN(rate, share < LINK_LEAST ? 0 : share * h->link);
	}
	return rate / MAX(s->policy.out_max, s->policy.in_max);
}

/* Nobody may go short afterwards. */
static enum rule judge_saving(const struct planner *p, uint32_t vm, uint32_t to)
{
	const struct policy *policy = &p->snapshot->policy;
	double use = fleet_use_surely(&p->fleet, to, vm);

	return use > policy->use_fill || fleet_happiness(&p->fleet, to, vm, use) < policy->happy_low
		       ? RULE_FILL
		       : RULE_NONE;
}

/* Further than it should be.  But from a host that has too much to do even without the VM it goes
 * to one that would still have less: then there is only more or less of too much. */
static bool overfills(const struct planner *p, uint32_t vm, uint32_t to)
{
	const struct fleet *f = &p->fleet;
	double there = fleet_use_with(f, to, vm), here;

	if (there <= p->snapshot->policy.use_fill)
		return false;
	here = fleet_use_without(f, f->vm[vm].host, vm);
	return here <= 1 || there > here;
}

enum rule judge_place(const struct planner *p, uint32_t vm, uint32_t to, bool fill)
{
	const struct snapshot *s = p->snapshot;
	const struct fleet *f = &p->fleet;
	const struct vm *v = &s->vm[vm];
	bool must = why_is_must(p->why[vm]);

	if (s->host[to].state != HOST_UP)
		return RULE_STATE;
	if (f->host[to].blind)
		return RULE_BLIND;
	if (fleet_room(f, to) < (double)v->memory || fleet_available(f, to) < (double)v->resident)
		return RULE_MEMORY;
	if (v->apart.n && fleet_members(f, &v->apart, vm, to))
		return RULE_APART;
	if (!must && damping_returns(s, v, s->host[to].name))
		return RULE_RETURN;
	if (fill && overfills(p, vm, to))
		return RULE_FILL;
	if (p->why[vm] != WHY_DEAD && rate_between(s, f->vm[vm].host, to) <= 0)
		return RULE_LINK;
	return p->why[vm] == WHY_ENERGY ? judge_saving(p, vm, to) : RULE_NONE;
}

/* For how long what is won will be: as long as it was missed so far, at most. */
static double lasts_s(const struct planner *p, uint32_t vm)
{
	const struct vm *v = &p->snapshot->vm[vm];
	double s = MIN(p->contended_s[vm], p->leaves[v->host]);

	return v->age_s > 0 ? MIN(s, v->age_s) : s;
}

void plan_move_cost(const struct snapshot *s, uint32_t vm, uint32_t from, uint32_t to,
		    struct move_load *load, struct move_cost *cost)
{
	const struct vm *v = &s->vm[vm];

	*load = (struct move_load){ .bytes = (double)(v->to_send ? v->to_send : v->resident),
				    .dirty_rate = v->dirty_rate,
				    .write_set = (double)v->write_set,
				    .rate = rate_between(s, from, to) };
	move_cost_predict(cost, load, &s->corrections, s->policy.blackout_s,
			  (unsigned)s->policy.rounds_max);
}

static void price(const struct planner *p, uint32_t vm, uint32_t to, struct judged *j)
{
	const struct snapshot *s = p->snapshot;

	plan_move_cost(s, vm, p->fleet.vm[vm].host, to, &j->load, &j->move);
	j->lasts_s = lasts_s(p, vm);
	j->benefit = j->gain * j->lasts_s;
	j->cost = p->fleet.vm[vm].weight *
			  (j->move.blackout_s + s->corrections.slowdown * j->move.time_s) +
		  s->policy.send_cores * j->move.time_s +
		  s->policy.gib_price * j->move.bytes / GIB_BYTES;
}

/* Whether the VM's host is hot now and would not be without it. */
static bool clears(const struct planner *p, uint32_t vm, double use_after)
{
	const struct policy *policy = &p->snapshot->policy;
	uint32_t host = p->fleet.vm[vm].host;
	double use = p->fleet.host[host].use;

	return (use > policy->use_high && use_after <= policy->use_high) ||
	       (fleet_happiness(&p->fleet, host, vm, use) < policy->happy_low &&
		fleet_happiness(&p->fleet, host, vm, use_after) >= policy->happy_low);
}

static enum rule judge_price(const struct planner *p, uint32_t vm, const struct judged *j)
{
	const struct policy *policy = &p->snapshot->policy;

	if (!j->move.converges)
		return RULE_CONVERGE;
	if (p->why[vm] == WHY_ENERGY)
		return RULE_NONE;
	if (j->gain <= 0)
		return RULE_GAIN;
	if (j->benefit < policy->margin * j->cost)
		return RULE_MARGIN;
	if (p->why[vm] != WHY_TOGETHER && !clears(p, vm, j->use_from) &&
	    j->gain < policy->gain_min * fleet_own_loss(&p->fleet, vm))
		return RULE_SMALL;
	return RULE_NONE;
}

void judge_move(const struct planner *p, uint32_t vm, uint32_t to, struct judged *j)
{
	const struct fleet *f = &p->fleet;
	uint32_t from = f->vm[vm].host;
	enum why why = p->why[vm];

	*j = (struct judged){ .rule = p->barred[vm],
			      .use_from = fleet_use_without(f, from, vm),
			      .use_to = fleet_use_with(f, to, vm),
			      .gain = fleet_gain(f, vm, to) };
	j->happy_here = fleet_happiness(f, from, vm, f->host[from].use);
	j->happy_there = fleet_happiness(f, to, vm, j->use_to);
	if (why != WHY_DEAD)
		price(p, vm, to, j);
	if (!j->rule)
		j->rule = judge_place(p, vm, to, !why_is_must(why));
	if (!j->rule && !why_is_must(why))
		j->rule = judge_price(p, vm, j);
}

/* The destinations tried for one VM, and the best so far. */
struct tried {
	uint32_t vm, best;
	bool fill;
	double gain;
	uint32_t refused[RULES];
};

static void try(const struct planner *p, struct tried *t, uint32_t to)
{
	bool saves = p->why[t->vm] == WHY_ENERGY;
	enum rule rule;
	double gain;

	/* Where energy is to be saved, hosts that have nothing stay so. */
	if (to == p->fleet.vm[t->vm].host || (saves && !p->fleet.host[to].committed))
		return;
	rule = judge_place(p, t->vm, to, t->fill);
	t->refused[rule]++;
	if (rule)
		return;
	/* To save energy, where least room is left. */
	gain = saves ? p->fleet.host[to].use : fleet_gain(&p->fleet, t->vm, to);
	if (t->best == NOWHERE || gain > t->gain) {
		t->best = to;
		t->gain = gain;
	}
}

static void try_near_and_random(const struct planner *p, struct tried *t)
{
	const struct policy *policy = &p->snapshot->policy;
	uint32_t n = p->fleet.nable;
	uint32_t near = (uint32_t)MIN(policy->near, n), random = (uint32_t)MIN(policy->random, n);

	if (near + random >= n)
		near = n;
	for (uint32_t i = 0; i < near; i++)
		try(p, t, p->fleet.cool[i]);
	for (uint32_t i = 0; near < n && i < random; i++)
		try(p, t, p->fleet.able[hash_number(p->seed + ((uint64_t)t->vm << 32) + i) % n]);
}

static void try_all(const struct planner *p, struct tried *t)
{
	for (uint32_t i = 0; i < p->fleet.nable; i++)
		try(p, t, p->fleet.cool[i]);
}

static enum rule most(const struct tried *t)
{
	enum rule rule = RULE_STATE;

	for (enum rule r = RULE_NONE + 1; r < RULES; r++)
		if (t->refused[r] > t->refused[rule])
			rule = r;
	return rule;
}

uint32_t judge_best(const struct planner *p, uint32_t vm, struct judged *j)
{
	bool must = why_is_must(p->why[vm]);
	struct tried t = { .vm = vm, .best = NOWHERE, .fill = true };

	if (p->barred[vm]) {
		*j = (struct judged){ .rule = p->barred[vm] };
		return NOWHERE;
	}
	if (p->why[vm] == WHY_ENERGY)
		try_all(p, &t);
	else
		try_near_and_random(p, &t);
	if (must && t.best == NOWHERE)
		try_all(p, &t);
	t.fill = false;
	if (must && t.best == NOWHERE)
		try_all(p, &t);
	if (t.best == NOWHERE)
		*j = (struct judged){ .rule = most(&t) };
	else
		judge_move(p, vm, t.best, j);
	return t.best;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "grow.h"
#include "hash.h"
#include "planner_internal.h"
#include "search.h"
#include "steps.h"

/* A plan in the making. */
struct making {
	struct planner *planner;
	struct plan *plan;
	enum rule over; /* what ended the search, of those that were still worth it */
};

static uint64_t seed_of(const struct snapshot *s)
{
	uint64_t seed = hash_number(s->time) ^ hash_number(s->nvm);

	for (uint32_t i = 0; i < s->nhost; i++)
		seed = hash_number(seed ^ hash_text(names_text(&s->names, s->host[i].name)));
	return seed;
}

int planner_new(struct planner *p, const struct snapshot *s, struct err *e)
{
	int r;

	*p = (struct planner){ .snapshot = s,
			       .seed = seed_of(s),
			       .why = calloc((size_t)s->nvm + 1, 1),
			       .barred = calloc((size_t)s->nvm + 1, 1),
			       .contended_s = calloc((size_t)s->nvm + 1, sizeof(double)),
			       .shortage = calloc((size_t)s->nhost + 1, sizeof(double)),
			       .leaves = calloc((size_t)s->nhost + 1, sizeof(double)),
			       .spare.room = calloc((size_t)s->nhost + 1, sizeof(double)),
			       .spare.host = calloc((size_t)s->nhost + 1, sizeof(uint32_t)),
			       .spare.vm = calloc((size_t)s->nvm + 1, sizeof(uint32_t)),
			       .emergency_only = s->mode == MODE_EMERGENCY };
	if (!p->why || !p->barred || !p->contended_s || !p->shortage || !p->leaves ||
	    !p->spare.room || !p->spare.host || !p->spare.vm)
		r = err_set(e, -ENOMEM, "out of memory");
	else
		r = fleet_new(&p->fleet, s, e);
	if (!r)
		r = damping_new(&p->damping, s, e);
	if (r) {
		planner_free(p);
		return r;
	}
	needs_find(p);
	p->spare.missing = spare_missing(p);
	return 0;
}

void planner_free(struct planner *p)
{
	fleet_free(&p->fleet);
	damping_free(&p->damping);
	free(p->why);
	free(p->barred);
	free(p->contended_s);
	free(p->shortage);
	free(p->leaves);
	free(p->spare.room);
	free(p->spare.host);
	free(p->spare.vm);
	*p = (struct planner){ 0 };
}

static int take(struct making *m, uint32_t vm, uint32_t to, const struct judged *j)
{
	struct plan *plan = m->plan;

	if (grow(&plan->move, plan->nmove, &plan->move_room))
		return -ENOMEM;
	plan->move[plan->nmove++] = (struct plan_move){ .vm = vm,
							.from = m->planner->fleet.vm[vm].host,
							.to = to,
							.why = m->planner->why[vm],
							.judged = *j };
	fleet_move(&m->planner->fleet, vm, to);
	return 0;
}

/* Until a host has its reserve again: the smallest VM that is enough, else the largest. */
static int restore_reserve(struct making *m, uint32_t host)
{
	struct planner *p = m->planner;
	const struct vm *vm = p->snapshot->vm;
	struct judged j, best_judged = { 0 };

	while (p->shortage[host] > 0) {
		uint32_t best = NOWHERE, place = NOWHERE;

		for (uint32_t i = p->fleet.host[host].first; i != NOWHERE;
		     i = p->fleet.vm[i].next) {
			double most = best == NOWHERE ? 0 : (double)vm[best].resident;
			double bytes = (double)vm[i].resident;
			bool enough = most >= p->shortage[host];
			uint32_t to;

			if (p->why[i] != WHY_MEMORY || p->fleet.vm[i].moved || p->barred[i] ||
			    (enough ? bytes >= most || bytes < p->shortage[host] : bytes <= most))
				continue;
			to = judge_best(p, i, &j);
			if (to == NOWHERE)
				continue;
			best = i;
			place = to;
			best_judged = j;
		}
		if (best == NOWHERE)
			return 0;
		if (take(m, best, place, &best_judged))
			return -ENOMEM;
		p->shortage[host] -= (double)vm[best].resident;
	}
	/* The others may stay. */
	for (uint32_t i = p->fleet.host[host].first; i != NOWHERE; i = p->fleet.vm[i].next)
		if (p->why[i] == WHY_MEMORY && !p->fleet.vm[i].moved)
			p->why[i] = WHY_NONE;
	return 0;
}

static int compare_largest(const void *a, const void *b, void *arg)
{
	const struct planner *p = arg;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	uint64_t more = p->snapshot->vm[left].memory, less = p->snapshot->vm[right].memory;

	if (p->why[left] != p->why[right])
		return p->why[left] > p->why[right] ? -1 : 1;
	if (more != less)
		return more > less ? -1 : 1;
	return left < right ? -1 : 1;
}

/* Those that must go: hosts short of memory, then the dead, then the rest; large VMs first. */
static int move_what_must(struct making *m)
{
	struct planner *p = m->planner;
	const struct snapshot *s = p->snapshot;
	CLEANUP(free) uint32_t *list = calloc((size_t)s->nvm + 1, sizeof(*list));
	struct judged j;
	uint32_t n = 0, to;

	if (!list)
		return -ENOMEM;
	for (uint32_t h = 0; h < s->nhost; h++) {
		if (s->host[h].state != HOST_UP || p->shortage[h] <= 0)
			continue;
		if (restore_reserve(m, h))
			return -ENOMEM;
		m->plan->short_hosts += p->shortage[h] > 0;
	}
	for (uint32_t i = 0; i < s->nvm; i++)
		if (why_is_must(p->why[i]) && p->why[i] != WHY_MEMORY)
			list[n++] = i;
	qsort_r(list, n, sizeof(*list), compare_largest, p);
	for (uint32_t i = 0; i < n; i++) {
		to = judge_best(p, list[i], &j);
		if (to != NOWHERE && take(m, list[i], to, &j))
			return -ENOMEM;
	}
	return 0;
}

/* Of the VMs of one host: value is what a move wins, less its cost spread over that time. */
static bool best_of_host(void *arg, uint32_t host, struct search_move *best)
{
	const struct making *m = arg;
	const struct planner *p = m->planner;
	bool found = false;
	struct judged j;

	for (uint32_t i = p->fleet.host[host].first; i != NOWHERE; i = p->fleet.vm[i].next) {
		double value;
		uint32_t to;

		if (!p->why[i] || p->barred[i] || p->fleet.vm[i].moved || why_is_must(p->why[i]))
			continue;
		to = judge_best(p, i, &j);
		if (to == NOWHERE || j.rule)
			continue;
		value = j.gain - j.cost / j.lasts_s;
		if (found && value <= best->value)
			continue;
		*best = (struct search_move){ .vm = i, .to = to, .value = value, .gain = j.gain };
		found = true;
	}
	return found;
}

static int take_found(void *arg, const struct search_move *move)
{
	struct making *m = arg;
	struct judged j;

	if (spare_breaks(m->planner, move->vm, move->to)) {
		m->planner->barred[move->vm] = RULE_RESERVE_HOST;
		return 1;
	}
	judge_move(m->planner, move->vm, move->to, &j);
	return take(m, move->vm, move->to, &j);
}

static int search_worth(struct making *m)
{
	const struct snapshot *s = m->planner->snapshot;
	const struct policy *policy = &s->policy;
	CLEANUP(free) uint32_t *source = calloc((size_t)s->nhost + 1, sizeof(*source));
	double horizon = policy->waves_max * damping_cluster_max(s) - m->plan->nmove;
	double budget = m->planner->damping.budget - m->plan->nmove;
	struct search search = { .arg = m,
				 .best = best_of_host,
				 .take = take_found,
				 .max = (uint32_t)MIN(MAX(MIN(horizon, budget), 0), UINT32_MAX),
				 .knee_moves = (uint32_t)MAX(policy->knee_min,
							     policy->knee_hosts * s->nhost),
				 .knee_share = policy->knee_share };
	int r;

	if (!source)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->nhost; i++)
		source[i] = i;
	r = search_run(&search, source, s->nhost);
	if (r == SEARCH_KNEE)
		m->over = RULE_KNEE;
	else if (r == SEARCH_MAX)
		m->over = budget < horizon ? RULE_BUDGET : RULE_HORIZON;
	return r < 0 ? r : 0;
}

/* None of them goes, because of one. */
static void put_back(struct making *m, const uint32_t *list, uint32_t n, uint32_t vm,
		     enum rule rule)
{
	struct planner *p = m->planner;
	struct plan *plan = m->plan;

	for (; plan->nmove; plan->nmove--)
		fleet_move_back(&p->fleet, plan->move[plan->nmove - 1].vm,
				plan->move[plan->nmove - 1].from);
	for (uint32_t i = 0; i < n; i++)
		p->why[list[i]] = WHY_NONE;
	p->why[vm] = WHY_ENERGY;
	p->barred[vm] = (uint8_t)rule;
}

/* All VMs of a host, the largest first, if all find a place; only beside no other moves. */
static int save_energy(struct making *m)
{
	struct planner *p = m->planner;
	uint32_t host = m->plan->nmove ? NOWHERE : needs_emptied(p), n = 0, to;
	CLEANUP(free) uint32_t *list = calloc((size_t)p->snapshot->nvm + 1, sizeof(*list));
	struct judged j;

	if (!list)
		return -ENOMEM;
	if (host == NOWHERE)
		return 0;
	for (uint32_t i = p->fleet.host[host].first; i != NOWHERE; i = p->fleet.vm[i].next) {
		p->why[i] = WHY_ENERGY;
		p->contended_s[i] = p->snapshot->policy.history_s;
		list[n++] = i;
	}
	qsort_r(list, n, sizeof(*list), compare_largest, p);
	for (uint32_t i = 0; i < n; i++) {
		to = judge_best(p, list[i], &j);
		if (!j.rule && p->damping.budget <= m->plan->nmove)
			j.rule = RULE_BUDGET;
		if (!j.rule && take(m, list[i], to, &j))
			return -ENOMEM;
		/* The last one leaves a host that no longer counts. */
		if (!j.rule && i + 1 == n && spare_missing(p) > p->spare.missing)
			j.rule = RULE_RESERVE_HOST;
		if (j.rule) {
			put_back(m, list, n, list[i], j.rule);
			return 0;
		}
	}
	return 0;
}

static int refuse(struct plan *plan, uint32_t vm, uint32_t to, enum why why, const struct judged *j)
{
	plan->refused[j->rule]++;
	plan->stuck += why_is_must(why) && why != WHY_MEMORY;
	if (plan->nrefusal >= plan->snapshot->policy.explain_max)
		return 0;
	if (grow(&plan->refusal, plan->nrefusal, &plan->refusal_room))
		return -ENOMEM;
	plan->refusal[plan->nrefusal++] =
		(struct plan_refusal){ .vm = vm, .to = to, .why = why, .judged = *j };
	return 0;
}

/* Those that stay though a move was looked for, each with its rule. */
static int name_refused(struct making *m)
{
	struct planner *p = m->planner;
	struct judged j;
	uint32_t to;
	int r = 0;

	for (uint32_t i = 0; !r && i < p->snapshot->nvm; i++) {
		if (!p->why[i])
			continue;
		m->plan->wanted++;
		if (p->fleet.vm[i].moved && p->barred[i] != RULE_FLIGHT)
			continue;
		to = judge_best(p, i, &j);
		if (!j.rule)
			j.rule = m->over;
		r = refuse(m->plan, i, to, p->why[i], &j);
	}
	return r;
}

/* The moves as they were found become steps in waves. */
static int take_steps(struct making *m, const struct steps *s)
{
	struct plan *plan = m->plan;
	CLEANUP(free) struct plan_move *found = plan->move;
	int r = 0;

	plan->move = NULL;
	plan->nmove = plan->move_room = 0;
	for (uint32_t i = 0; i < s->nstep; i++) {
		const struct step *step = &s->step[i];

		if (grow(&plan->move, plan->nmove, &plan->move_room))
			return -ENOMEM;
		plan->move[plan->nmove] = found[step->move];
		plan->move[plan->nmove].from = step->from;
		plan->move[plan->nmove].to = step->to;
		plan->move[plan->nmove].wave = step->wave;
		plan->move[plan->nmove++].parks = step->parks;
	}
	for (uint32_t i = 0; !r && i < s->nmove; i++) {
		struct judged j = found[i].judged;

		if (s->end[i] == STEPS_DONE)
			continue;
		j.rule = s->end[i] == STEPS_LATE ? RULE_HORIZON : RULE_ORDER;
		r = refuse(plan, found[i].vm, found[i].to, found[i].why, &j);
	}
	return r;
}

static int put_in_order(struct making *m)
{
	struct planner *p = m->planner;
	const struct snapshot *s = p->snapshot;
	struct plan *plan = m->plan;
	CLEANUP(free) struct steps_host *host = calloc((size_t)s->nhost + 1, sizeof(*host));
	CLEANUP(free) struct steps_move *move = calloc((size_t)plan->nmove + 1, sizeof(*move));
	CLEANUP(free) struct step *step = calloc((size_t)plan->nmove * 2 + 1, sizeof(*step));
	CLEANUP(free) void *end = calloc((size_t)plan->nmove + 1, sizeof(*(struct steps){ 0 }.end));
	struct steps steps = { .host = host,
			       .park = p->fleet.cool,
			       .npark = p->fleet.nable,
			       .out_max = s->policy.out_max,
			       .in_max = s->policy.in_max,
			       .at_once = damping_cluster_max(s),
			       .waves_max = s->policy.waves_max,
			       .move = move,
			       .nmove = plan->nmove,
			       .step = step,
			       .end = end };

	if (!host || !move || !step || !end)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->nhost; i++) {
		const struct fleet_host *h = &p->fleet.host[i];

		host[i] = (struct steps_host){ (double)s->host[i].memory -
						       (double)s->host[i].reserve -
						       (double)h->at_first,
					       h->in, h->out, (double)h->leaving };
		steps.under_way += h->in;
	}
	for (uint32_t i = 0; i < plan->nmove; i++)
		move[i] = (struct steps_move){ plan->move[i].from, plan->move[i].to,
					       (double)s->vm[plan->move[i].vm].memory,
					       plan->move[i].why == WHY_DEAD };
	return steps_order(&steps) ? -ENOMEM : take_steps(m, &steps);
}

static void decide(struct plan *plan)
{
	bool all = plan->snapshot->mode == MODE_AUTO && !plan->audit_failed;

	for (uint32_t i = 0; i < plan->nmove; i++)
		plan->move[i].execute = plan->snapshot->mode != MODE_RECOMMEND &&
					!plan->move[i].wave &&
					(all || why_is_must(plan->move[i].why));
}

static int make(struct making *m)
{
	struct planner *p = m->planner;
	struct plan *plan = m->plan;
	int r = happiness_summarise(p->snapshot, &plan->now);

	plan->audit_failed = damping_audit_fails(&p->damping);
	plan->audit_kept = p->damping.kept;
	plan->loss_before = fleet_loss(&p->fleet);
	if (!r)
		r = move_what_must(m);
	p->spare.missing = spare_missing(p); /* what must go may have changed it */
	if (!r)
		r = search_worth(m);
	if (!r)
		r = save_energy(m);
	plan->spare_missing = spare_missing(p);
	plan->loss_after = fleet_loss(&p->fleet);
	if (!r)
		r = name_refused(m);
	if (!r)
		r = put_in_order(m);
	decide(plan);
	return r;
}

int plan_make(struct plan *plan, const struct snapshot *s, struct err *e)
{
	struct planner p;
	struct making m = { .planner = &p, .plan = plan, .over = RULE_GAIN };
	int r = planner_new(&p, s, e);

	*plan = (struct plan){ .snapshot = s };
	if (r)
		return r;
	r = make(&m);
	planner_free(&p);
	if (!r)
		return 0;
	plan_free(plan);
	return err_set(e, r, "out of memory");
}

void plan_free(struct plan *plan)
{
	free(plan->move);
	free(plan->refusal);
	*plan = (struct plan){ 0 };
}

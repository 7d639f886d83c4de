/* SPDX-License-Identifier: Apache-2.0 */
/* Who should go: contended hosts and VMs, and what policy wants. */
#include <math.h>

#include "bits.h"
#include "planner_internal.h"
#include "planner/snapshot.h"

/* What the windows say of one host: sums over its VMs. */
struct view {
	double happy[WINDOWS_MAX], weight[WINDOWS_MAX];
};

static struct view view_of(const struct planner *p, uint32_t host)
{
	const struct fleet *f = &p->fleet;
	struct view view = { 0 };

	for (uint32_t i = f->host[host].first; i != NOWHERE; i = f->vm[i].next) {
		const struct vm *v = &p->snapshot->vm[i];

		for (uint32_t w = 0; w < v->run.n; w++) {
			view.happy[w] += (double)v->vcpus * happiness(v, w);
			view.weight[w] += (double)v->vcpus;
		}
	}
	return view;
}

/* Windows in which the host was hot: its VMs went short, or its cores were nearly all busy. */
static unsigned hot_windows(const struct planner *p, uint32_t host)
{
	const struct host *h = &p->snapshot->host[host];
	const struct policy *policy = &p->snapshot->policy;
	struct view view = view_of(p, host);
	unsigned n = 0;

	for (uint32_t w = 0; w < WINDOWS_MAX && view.weight[w] > 0; w++) {
		double use = w < h->use.n ? h->use.value[w] : p->fleet.host[host].use;

		n += view.happy[w] < policy->happy_low * view.weight[w] || use > policy->use_high;
	}
	return n;
}

static unsigned unhappy_windows(const struct planner *p, const struct vm *v)
{
	unsigned n = 0;

	for (uint32_t w = 0; w < v->run.n; w++)
		n += happiness(v, w) < p->snapshot->policy.happy_low;
	return n;
}

static bool is_away(const struct planner *p, uint32_t vm)
{
	const struct groups *g = &p->snapshot->vm[vm].together;
	uint32_t others = 0;

	for (uint32_t i = 0; i < g->n; i++)
		others += p->fleet.group_size[g->name[i]] - 1;
	return fleet_members(&p->fleet, g, vm, p->fleet.vm[vm].host) < others;
}

/* Only the first by name stays, so that not all of a group leave each other. */
static bool is_beside(const struct planner *p, uint32_t vm)
{
	const struct fleet *f = &p->fleet;
	const struct groups *mine = &p->snapshot->vm[vm].apart;

	if (!mine->n || !fleet_members(f, mine, vm, f->vm[vm].host))
		return false;
	for (uint32_t i = f->host[f->vm[vm].host].first; i != NOWHERE && i < vm;
	     i = f->vm[i].next) {
		const struct groups *g = &p->snapshot->vm[i].apart;

		for (uint32_t a = 0; a < g->n; a++)
			for (uint32_t b = 0; b < mine->n; b++)
				if (g->name[a] == mine->name[b] && f->vm[i].host == f->vm[vm].host)
					return true;
	}
	return false;
}

static enum why must_go(const struct planner *p, uint32_t vm, uint32_t host)
{
	switch (p->snapshot->host[host].state) {
	case HOST_DEAD:
		return WHY_DEAD;
	case HOST_MAINTENANCE:
		return WHY_MAINTENANCE;
	case HOST_DRAINING:
		return WHY_DRAINING;
	default:
		if (p->shortage[host] > 0)
			return WHY_MEMORY;
		return is_beside(p, vm) ? WHY_APART : WHY_NONE;
	}
}

/* What bars a VM that need not go; those that must have fewer of these rules. */
static enum rule bars(const struct planner *p, uint32_t vm, bool must, bool held)
{
	const struct snapshot *s = p->snapshot;
	const struct vm *v = &s->vm[vm];

	if (p->fleet.vm[vm].moved)
		return RULE_FLIGHT;
	if (v->pinned && p->why[vm] != WHY_DEAD)
		return RULE_PINNED;
	if (must)
		return RULE_NONE;
	if (p->emergency_only)
		return RULE_MODE;
	if (snapshot_is_stale(s, v->at) || snapshot_is_stale(s, s->host[v->host].at))
		return RULE_STALE;
	if (!held)
		return RULE_HOLD;
	if (p->damping.frozen[v->host])
		return RULE_FREEZE;
	return damping_is_cooling(s, v) ? RULE_COOLDOWN : RULE_NONE;
}

static void look_at_vm(struct planner *p, uint32_t vm, uint32_t host, unsigned hot)
{
	const struct snapshot *s = p->snapshot;
	const struct vm *v = &s->vm[vm];
	unsigned unhappy = unhappy_windows(p, v), most = MAX(hot, unhappy);
	bool held = true;
	enum why why = must_go(p, vm, host);

	if (!why && most) {
		why = hot ? WHY_HOT : WHY_UNHAPPY;
		held = most >= s->policy.hold_windows;
	}
	if ((!why || !held) && v->together.n && is_away(p, vm)) {
		why = WHY_TOGETHER;
		held = true;
	}
	p->why[vm] = (uint8_t)why;
	p->barred[vm] = (uint8_t)(why ? bars(p, vm, why_is_must(why), held) : RULE_NONE);
	p->contended_s[vm] = v->contended_s > 0 ? v->contended_s : most * s->policy.window_s;
	if (why == WHY_TOGETHER)
		p->contended_s[vm] = s->policy.history_s;
}

static bool may_be_emptied(const struct planner *p, uint32_t host)
{
	uint64_t memory = 0;

	for (uint32_t i = p->fleet.host[host].first; i != NOWHERE; i = p->fleet.vm[i].next) {
		if (bars(p, i, false, true))
			return false;
		memory += p->snapshot->vm[i].memory;
	}
	/* More is promised where a VM is to come. */
	return memory && memory == p->fleet.host[host].committed;
}

uint32_t needs_emptied(const struct planner *p)
{
	const struct snapshot *s = p->snapshot;

	if (s->policy.energy <= 0)
		return NOWHERE;
	for (uint32_t i = 0; i < s->nvm; i++)
		if (p->why[i])
			return NOWHERE;
	for (uint32_t i = 0; i < s->nhost; i++)
		if (p->damping.frozen[i])
			return NOWHERE;
	for (uint32_t i = 0; i < p->fleet.nable; i++)
		if (may_be_emptied(p, p->fleet.cool[i]))
			return p->fleet.cool[i];
	return NOWHERE;
}

void needs_find(struct planner *p)
{
	const struct snapshot *s = p->snapshot;

	for (uint32_t h = 0; h < s->nhost; h++) {
		const struct host *host = &s->host[h];
		unsigned hot = hot_windows(p, h);

		p->shortage[h] = (double)host->reserve - (double)host->available -
				 (double)p->fleet.host[h].leaving;
		p->leaves[h] = host->maintenance_at > s->time
				       ? (double)(host->maintenance_at - s->time)
				       : INFINITY;
		for (uint32_t i = p->fleet.host[h].first; i != NOWHERE; i = p->fleet.vm[i].next)
			look_at_vm(p, i, h, hot);
	}
}

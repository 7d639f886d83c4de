/* SPDX-License-Identifier: Apache-2.0 */
#include "damping.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bits.h"
#include "planner/snapshot.h"

static const double DAY_S = 86400;

static double since(const struct snapshot *s, const struct past_move *m)
{
	return (double)s->time - (double)m->at;
}

double damping_cooldown_s(const struct snapshot *s, const struct vm *v)
{
	const struct policy *p = &s->policy;
	double moves = 0, first;

	for (uint32_t i = 0; i < v->past.n; i++)
		moves += since(s, &v->past.move[i]) < p->history_s;
	if (!moves)
		return 0;
	first = MAX(p->cooldown_s, p->cooldown_moves * v->past.move[0].took_s);
	return MIN(first * pow(p->cooldown_growth, moves - 1), p->cooldown_max_s);
}

bool damping_is_cooling(const struct snapshot *s, const struct vm *v)
{
	return v->past.n && since(s, &v->past.move[0]) < damping_cooldown_s(s, v);
}

bool damping_returns(const struct snapshot *s, const struct vm *v, uint32_t host_name)
{
	double barred = v->past.n ? s->policy.return_cooldowns * damping_cooldown_s(s, v) : 0;

	for (uint32_t i = 0; i < v->past.n; i++)
		if (v->past.move[i].from == host_name && since(s, &v->past.move[i]) < barred)
			return true;
	return false;
}

bool damping_audit_fails(const struct damping *d)
{
	const struct policy *p = &d->snapshot->policy;

	return d->audited >= p->audit_moves && d->kept < p->audit_share;
}

double damping_cluster_max(const struct snapshot *s)
{
	return MAX(s->policy.cluster_min, floor(s->policy.cluster_share * s->nhost));
}

static void freeze(struct damping *d, uint32_t host_name)
{
	uint32_t host = snapshot_host(d->snapshot, host_name);

	if (host != NOWHERE)
		d->frozen[host] = true;
}

/* Where a VM went: where it left next, or where it is. */
static uint32_t went_to(const struct vm *v, uint32_t i)
{
	return i ? v->past.move[i - 1].from : v->host_name;
}

static void look_at_moves(struct damping *d)
{
	const struct snapshot *s = d->snapshot;
	double window = s->policy.freeze_windows * s->policy.window_s;

	for (uint32_t i = 0; i < s->nvm; i++) {
		const struct vm *v = &s->vm[i];

		for (uint32_t m = 0; m < v->past.n; m++) {
			d->moves += since(s, &v->past.move[m]) < DAY_S;
			if (since(s, &v->past.move[m]) >= window)
				continue;
			freeze(d, v->past.move[m].from);
			freeze(d, went_to(v, m));
		}
	}
	for (uint32_t i = 0; i < s->nflight; i++) {
		d->moves++;
		freeze(d, s->flight[i].from);
		freeze(d, s->flight[i].to);
	}
	d->budget = floor(s->policy.budget_day * s->nvm) - d->moves;
}

static int compare_newest(const void *a, const void *b)
{
	const struct past_move *left = a, *right = b;

	if (left->at != right->at)
		return left->at < right->at ? 1 : -1;
	if (left->predicted_gain != right->predicted_gain)
		return left->predicted_gain < right->predicted_gain ? 1 : -1;
	return (left->gain < right->gain) - (left->gain > right->gain);
}

/* Of the last moves that promised something, wherever they were. */
static int audit(struct damping *d)
{
	const struct snapshot *s = d->snapshot;
	struct past_move *all;
	double promised = 0, won = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < s->nvm; i++)
		n += s->vm[i].past.n;
	all = calloc(n + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	n = 0;
	for (uint32_t i = 0; i < s->nvm; i++)
		for (uint32_t m = 0; m < s->vm[i].past.n; m++)
			if (s->vm[i].past.move[m].predicted_gain > 0 &&
			    since(s, &s->vm[i].past.move[m]) < s->policy.history_s)
				all[n++] = s->vm[i].past.move[m];
	qsort(all, n, sizeof(*all), compare_newest);
	d->audited = (uint32_t)MIN((double)n, s->policy.audit_moves);
	for (uint32_t i = 0; i < d->audited; i++) {
		promised += all[i].predicted_gain;
		won += all[i].gain;
	}
	d->kept = promised > 0 ? won / promised : 1;
	free(all);
	return 0;
}

int damping_new(struct damping *d, const struct snapshot *s, struct err *e)
{
	*d = (struct damping){ .snapshot = s,
			       .frozen = calloc((size_t)s->nhost + 1, sizeof(bool)) };
	if (!d->frozen || audit(d)) {
		damping_free(d);
		return err_set(e, -ENOMEM, "out of memory");
	}
	look_at_moves(d);
	return 0;
}

void damping_free(struct damping *d)
{
	free(d->frozen);
	*d = (struct damping){ 0 };
}

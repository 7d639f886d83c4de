/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu_policy.h"

#include <math.h>

#include "bits.h"

#define PATIENCE_S 5.0
#define PATIENCE_MAX_S 320.0
#define LOAN_GOOD_S 60.0 /* one that lasts as long was none too soon */
#define AT_LIMIT 0.9
#define HELD_CORES 0.05
#define IDLE_MIN 0.5 /* cores: with less there is nothing to lend */
#define IDLE_PART 0.5 /* that is lent of them at once */
#define WAIT_SHARE 0.05
#define WAIT_CORES 0.02 /* less is nobody's work */
#define WEIGHTS_PATIENCE_S 1.0
#define WEIGHTS_CALM_S 60.0

bool cpu_is_at_limit(const struct cpu_guest *g)
{
	return g->limit > 0 &&
	       (g->run >= AT_LIMIT * g->limit || g->held > fmax(g->wait, HELD_CORES));
}

static bool may_borrow(const struct cpu_guest *g)
{
	return cpu_is_at_limit(g) && g->limit < g->vcpus;
}

bool cpu_waits(double run, double wait)
{
	return wait > WAIT_CORES && wait > WAIT_SHARE * (run + wait);
}

static void take_back(struct cpu_loans *l, struct cpu_guest *const guests[], size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		struct cpu_guest *g = guests[i];

		if (g->limit <= g->own)
			continue;
		g->target = g->own;
		g->why = CPU_BACK;
		any = true;
	}
	l->idle_s = 0;
	if (any)
		l->patience_s = l->lent_s < LOAN_GOOD_S ? MIN(2 * l->patience_s, PATIENCE_MAX_S)
							: PATIENCE_S;
}

static void lend(struct cpu_loans *l, double cores, struct cpu_guest *const guests[], size_t n)
{
	bool lent = false, first = true;
	size_t want = 0;

	for (size_t i = 0; i < n; i++) {
		want += may_borrow(guests[i]);
		first = first && guests[i]->limit <= guests[i]->own;
	}
	for (size_t i = 0; i < n; i++) {
		struct cpu_guest *g = guests[i];

		if (!may_borrow(g))
			continue;
		g->target = fmin(g->limit + cores / (double)want, g->vcpus);
		g->why = CPU_LENT;
		lent = true;
	}
	if (lent) {
		l->idle_s = 0;
		if (first)
			l->lent_s = 0;
	}
}

void cpu_policy(struct cpu_loans *l, const struct cpu_host *h, struct cpu_guest *const guests[],
		size_t n)
{
	l->patience_s = fmax(l->patience_s, PATIENCE_S);
	l->lent_s += h->seconds;
	l->idle_s = h->idle >= IDLE_MIN ? l->idle_s + h->seconds : 0;
	for (size_t i = 0; i < n; i++) {
		guests[i]->target = guests[i]->limit;
		guests[i]->why = CPU_STAYS;
	}
	if (cpu_waits(h->run, h->wait))
		take_back(l, guests, n);
	else if (l->idle_s >= l->patience_s)
		lend(l, IDLE_PART * h->idle, guests, n);
}

bool cpu_weights_count(struct cpu_weights *w, const struct cpu_host *h)
{
	bool wait = cpu_waits(h->run, h->wait);

	w->wait_s = wait ? w->wait_s + h->seconds : 0;
	w->calm_s = wait ? 0 : w->calm_s + h->seconds;
	if (w->wait_s >= WEIGHTS_PATIENCE_S)
		w->count = true;
	else if (w->calm_s >= WEIGHTS_CALM_S)
		w->count = false;
	return w->count;
}

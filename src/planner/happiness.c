/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bits.h"
#include "planner/happiness.h"
#include "planner/snapshot.h"

static const double STEP = 0.1; /* of use, from one point of a curve to the next */
static const double LEARN = 0.1; /* share of what is seen once */

/* One-vCPU VMs with a fixed piece of work every 20 ms, two to ten of them on two cores. */
const struct curve curve_default = {
	NAME_NONE,
	{ 0, 0.001, 0.003, 0.004, 0.013, 0.055, 0.132, 0.238, 0.349, 0.464, 0.594, 0.722, 0.742,
	  0.76, 0.776, 0.792, 0.808 },
};

static double value_of(const struct windows *w, uint32_t window)
{
	return window < w->n ? w->value[window] : 0;
}

double happiness_cpu(const struct vm *v, uint32_t window)
{
	double run = value_of(&v->run, window), delay = value_of(&v->delay, window);

	return run + delay > 0 ? run / (run + delay) : 1;
}

double happiness_rest(const struct vm *v, uint32_t window)
{
	return (1 - value_of(&v->mem, window)) * (1 - value_of(&v->io, window));
}

double happiness(const struct vm *v, uint32_t window)
{
	return happiness_cpu(v, window) * happiness_rest(v, window);
}

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static double spread(const struct snapshot *s)
{
	double sum = 0, squares = 0, n = 0, mean;

	for (uint32_t i = 0; i < s->nhost; i++) {
		const struct host *h = &s->host[i];

		if (h->state != HOST_UP || !h->use.n || snapshot_is_stale(s, h->at))
			continue;
		sum += h->use.value[0];
		squares += h->use.value[0] * h->use.value[0];
		n++;
	}
	mean = n ? sum / n : 0;
	return mean > 0 ? sqrt(MAX(squares / n - mean * mean, 0)) / mean : 0;
}

int happiness_summarise(const struct snapshot *s, struct happiness_summary *sum)
{
	double *each = calloc((size_t)s->nvm + 1, sizeof(*each)), weight = 0;

	if (!each)
		return -ENOMEM;
	*sum = (struct happiness_summary){ .mean = 1, .percentile_1 = 1, .load_cv = spread(s) };
	for (uint32_t i = 0; i < s->nvm; i++) {
		const struct vm *v = &s->vm[i];

		if (v->host == NOWHERE || snapshot_is_stale(s, v->at))
			continue;
		each[sum->vms] = happiness(v, 0);
		sum->low += each[sum->vms] < s->policy.happy_low;
		weight += (double)v->vcpus;
		sum->mean += (each[sum->vms++] - sum->mean) * (double)v->vcpus / weight;
	}
	qsort(each, sum->vms, sizeof(*each), compare_doubles);
	if (sum->vms)
		sum->percentile_1 = each[sum->vms / 100];
	free(each);
	return 0;
}

const struct curve *curve_of(const struct snapshot *s, uint32_t class)
{
	const struct curve *general = &curve_default;

	for (uint32_t i = 0; i < s->ncurve; i++) {
		if (s->curve[i].class == class)
			return &s->curve[i];
		if (s->curve[i].class == NAME_NONE)
			general = &s->curve[i];
	}
	return general;
}

double curve_delay(const struct curve *c, double use)
{
	double at = MAX(use, 0) / STEP;
	double last = c->delay[CURVE_POINTS - 1];
	unsigned i;

	/* Beyond the curve the cores are full, and all that is added waits. */
	if (at >= CURVE_POINTS - 1)
		return 1 - (1 - last) * (CURVE_POINTS - 1) / at;
	i = (unsigned)at;
	return c->delay[i] + (c->delay[i + 1] - c->delay[i]) * (at - i);
}

void curve_learn(struct curve *c, double use, double delay)
{
	double at = MIN(MAX(use, 0) / STEP, CURVE_POINTS - 1), off = delay - curve_delay(c, use);
	unsigned low = MIN((unsigned)at, CURVE_POINTS - 2);

	c->delay[low] += LEARN * off * (1 - (at - low));
	c->delay[low + 1] += LEARN * off * (at - low);
	for (unsigned i = 0; i < CURVE_POINTS; i++)
		c->delay[i] = MIN(MAX(c->delay[i], 0), 1);
	for (unsigned i = low + 1; i < CURVE_POINTS; i++)
		c->delay[i] = MAX(c->delay[i], c->delay[i - 1]);
	for (unsigned i = low; i > 0; i--)
		c->delay[i - 1] = MIN(c->delay[i - 1], c->delay[i]);
}

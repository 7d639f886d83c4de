/* SPDX-License-Identifier: Apache-2.0 */
#include "planner/learn.h"

#include <errno.h>

#include "damping.h"
#include "fleet.h"
#include "grow.h"
#include "planner/snapshot.h"

/* The class's own; NULL: out of memory. */
static struct curve *own_curve(struct snapshot *s, uint32_t class)
{
	struct curve c;

	for (uint32_t i = 0; i < s->ncurve; i++)
		if (s->curve[i].class == class)
			return &s->curve[i];
	c = *curve_of(s, class);
	c.class = class;
	if (grow(&s->curve, s->ncurve, &s->curve_room))
		return NULL;
	s->curve[s->ncurve] = c;
	return &s->curve[s->ncurve++];
}

/* The share of time that the VMs of a host wait, each as many times as it has vCPUs. */
static bool seen_delay(const struct fleet *f, uint32_t host, double *delay)
{
	const struct snapshot *s = f->snapshot;
	double waits = 0, vcpus = 0;

	for (uint32_t i = f->host[host].first; i != NOWHERE; i = f->vm[i].next) {
		if (snapshot_is_stale(s, s->vm[i].at))
			return false;
		waits += (double)s->vm[i].vcpus * (1 - happiness_cpu(&s->vm[i], 0));
		vcpus += (double)s->vm[i].vcpus;
	}
	*delay = vcpus > 0 ? waits / vcpus : 0;
	return vcpus > 0;
}

static int learn_from(struct snapshot *s, const struct fleet *f, const struct damping *d)
{
	struct curve *c;
	double delay;

	for (uint32_t i = 0; i < s->nhost; i++) {
		if (f->host[i].blind || d->frozen[i] || !seen_delay(f, i, &delay))
			continue;
		c = own_curve(s, s->host[i].class);
		if (!c)
			return -ENOMEM;
		curve_learn(c, f->host[i].use, delay);
	}
	return 0;
}

int learn_curves(struct snapshot *s, struct err *e)
{
	struct fleet f;
	struct damping d;
	int r = fleet_new(&f, s, e);

	if (r)
		return r;
	r = damping_new(&d, s, e);
	if (!r) {
		/* The fleet's own pointers to curves are not used any more. */
		r = learn_from(s, &f, &d);
		if (r)
			err_set(e, r, "out of memory");
		damping_free(&d);
	}
	fleet_free(&f);
	return r ? r : snapshot_index(s, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "bits.h"
#include "planner/move_cost.h"

static const double LEARN = 0.2; /* share of what one move teaches */
static const double PROGRESS = 0.95; /* a round that leaves more than this of the last is the end */
static const double RATE_MIN = 0.01, RATE_MAX = 4; /* as a snapshot has them */
static const double FIXED_MAX_S = 10;
static const double NEVER_S = 1e7;

static double written(const struct move_load *l, double seconds)
{
	double set = l->write_set > 0 ? l->write_set : l->bytes;

	return set > 0 ? set * (1 - exp(-l->dirty_rate * seconds / set)) : 0;
}

void move_cost_predict(struct move_cost *c, const struct move_load *l, const struct corrections *k,
		       double blackout_s, unsigned rounds_max)
{
	double rate = l->rate * k->rate, left = l->bytes, next;

	*c = (struct move_cost){ 0 };
	if (rate <= 0) {
		c->time_s = c->blackout_s = NEVER_S;
		return;
	}
	while (c->rounds < rounds_max) {
		c->rounds++;
		c->time_s += left / rate;
		c->bytes += left;
		next = written(l, left / rate);
		c->converges = next / rate + k->fixed_s <= blackout_s;
		if (c->converges || next > PROGRESS * left) {
			left = next;
			break;
		}
		left = next;
	}
	c->last_bytes = left;
	c->bytes += left;
	c->blackout_s = left / rate + k->fixed_s;
	c->time_s += c->blackout_s;
}

static void draw(double *value, double seen, double low, double high)
{
	if (isfinite(seen))
		*value += LEARN * (MIN(MAX(seen, low), high) - *value);
}

void move_cost_learn(struct corrections *k, const struct move_cost *c, const struct move_load *l,
		     const struct move_outcome *o)
{
	double sending = o->time_s - k->fixed_s;
	double got;

	if (sending > 0 && o->bytes > 0 && l->rate > 0) {
		got = o->bytes / sending;
		draw(&k->rate, got / l->rate, RATE_MIN, RATE_MAX);
		draw(&k->fixed_s, o->blackout_s - c->last_bytes / got, 0, FIXED_MAX_S);
	}
	if (o->slowdown >= 0)
		draw(&k->slowdown, o->slowdown, 0, 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "bits.h"
#include "planner/move_cost.h"

static const double LEARN = 0.2; /* share of what one move teaches */
static const double PROGRESS = 0.95; /* a round that leaves more than this of the last is the end */
static const double RATE_MIN = 0.01, RATE_MAX = 4; /* as a snapshot has them */
static const double FIXED_MIN_S = 1e-3, FIXED_MAX_S = 10, SETUP_MAX_S = 60;
static const double BIT_S = 0.01, BIT = 0.05;
static const double LONG_S = 1;
/* What the monitor sends at once, before its limit is felt (src/migrate/ram_send.c). */
static const double BURST_S = 0.05;
static const double NEVER_S = 1e7;

/* What the monitor takes for a rest that is not worth another round, and for one so small that a
 * slower guest would not help; and how far it slows it down (src/migrate/converge.c). */
static const double GOOD_S = 0.002, LITTLE_S = 0.0002;
static const double SHRINK = 0.25;
static const double steps[] = { 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99 };
static const double LAST_STEP = 0.99;

/*
 * Different bytes that are written while so many are sent, and have to be sent again.  What is
 * written before its turn comes is not: of those that are sent in this round a write counts only
 * in the time behind it, which is half of the round as a rule.
 */
static double written(const struct move_load *l, double sent, double seconds)
{
	double set = l->write_set > 0 ? l->write_set : l->bytes;
	double times = set > 0 ? l->dirty_rate * seconds / set : 0; /* that each is written */
	double of_sent = set > 0 ? MIN(sent / set, 1) : 0, once;

	if (times <= 0)
		return 0;
	once = 1 - exp(-times);
	return set * ((1 - of_sent) * once + of_sent * (1 - once / times));
}

static bool ends_at_full_speed(const struct move_load *l, double rate, double allowed_s,
			       unsigned rounds_max)
{
	double left = l->bytes;

	for (unsigned i = 0; i < rounds_max; i++) {
		double next = written(l, left, left / rate);

		if (next / rate <= allowed_s)
			return true;
		if (next > PROGRESS * left)
			return false;
		left = next;
	}
	return false;
}

/* How much the guest is slowed down after a round of so many bytes that leaves so many. */
static double slowed(double by, double bytes, double left)
{
	double part = (1 - by) * SHRINK * bytes / left;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i] > by && 1 - steps[i] <= part)
			return steps[i];
	return LAST_STEP;
}

/* The rounds before the blackout; returns the bytes that it is left. */
static double go_rounds(struct move_cost *c, const struct move_load *l, double rate,
			double allowed_s, unsigned rounds_max)
{
	double left = l->bytes, slow = 0;

	while (c->rounds < rounds_max) {
		double burst = c->rounds ? 0 : BURST_S * l->rate;
		double round_s = MAX(left - burst, 0) / rate;
		double next = written(l, left, (1 - slow) * round_s);
		bool shrinks = next <= left / 2,
		     slower_helps = slow < LAST_STEP && next / rate > LITTLE_S;

		c->rounds++;
		c->time_s += round_s;
		c->bytes += left;
		if (!shrinks && slower_helps)
			slow = slowed(slow, left, next);
		left = next;
		if (left / rate <= MIN(GOOD_S, allowed_s) ||
		    (left / rate <= allowed_s && !shrinks && !slower_helps))
			break;
	}
	return left;
}

void move_cost_predict(struct move_cost *c, const struct move_load *l, const struct corrections *k,
		       double blackout_s, unsigned rounds_max)
{
	double rate = l->rate * k->rate, allowed_s = MAX(blackout_s - k->fixed_s, 0);

	*c = (struct move_cost){ 0 };
	if (rate <= 0) {
		c->time_s = c->blackout_s = NEVER_S;
		return;
	}
	c->converges = ends_at_full_speed(l, rate, allowed_s, rounds_max);
	c->last_bytes = go_rounds(c, l, rate, allowed_s, rounds_max);
	c->bytes += c->last_bytes;
	c->blackout_s = c->last_bytes / rate + k->fixed_s;
	c->time_s += k->setup_s + c->blackout_s;
}

/* One that something else disturbed teaches little: up to twice as much, and a bit, is believed. */
static double believed(double value, double seen, double bit)
{
	return MIN(MAX(seen, value / 2), 2 * value + bit);
}

static void draw(double *value, double seen, double bit, double learn, double low, double high)
{
	if (!isfinite(seen))
		return;
	seen = believed(*value, seen, bit);
	*value += learn * (MIN(MAX(seen, low), high) - *value);
}

/* The same of what varies by factors, with the middle of them in mind and not the mean. */
static void draw_by_factor(double *value, double seen, double bit, double low, double high)
{
	if (!isfinite(seen))
		return;
	seen = MIN(MAX(believed(*value, seen, bit), low), high);
	*value = MAX(*value, low) * pow(seen / MAX(*value, low), LEARN);
}

void move_cost_learn(struct corrections *k, double last_bytes, double rate,
		     const struct move_outcome *o)
{
	double got, limited = o->bytes - BURST_S * rate;

	if (o->sending_s > 0 && limited > 0 && rate > 0) {
		got = limited / o->sending_s;
		/* Little goes faster than much does, as far as buffers go. */
		draw(&k->rate, got / rate, 0, LEARN * o->sending_s / (o->sending_s + LONG_S),
		     RATE_MIN, RATE_MAX);
		draw(&k->setup_s, o->time_s - o->sending_s - o->blackout_s, BIT_S, LEARN, 0,
		     SETUP_MAX_S);
		draw_by_factor(&k->fixed_s, o->blackout_s - last_bytes / got, BIT_S, FIXED_MIN_S,
			       FIXED_MAX_S);
	}
	if (o->slowdown >= 0)
		draw(&k->slowdown, o->slowdown, BIT, LEARN, 0, 1);
}

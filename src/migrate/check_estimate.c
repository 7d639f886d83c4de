/* SPDX-License-Identifier: Apache-2.0 */
#include "check_estimate.h"

#include "bits.h"
#include "converge.h"
#include "guest_mem.h"
#include "migration.h"

/* More of them change nothing any more. */
enum { ROUNDS_MAX = 10000 };

static double mib(uint64_t bytes)
{
	return (double)bytes / MIB;
}

/* One round, as source.c has them; what is left behind it, in bytes. */
static double go_round(const struct check_estimate *c, struct outlook *o, double bytes)
{
	double writes = (double)c->written * (100 - o->percent) / 100;
	double left = MIN(writes * bytes / (double)c->rate, (double)c->bytes);

	o->before = (uint64_t)(bytes / GUEST_PAGE_BYTES);
	o->pending = (uint64_t)(left / GUEST_PAGE_BYTES);
	o->send_ns = (uint64_t)(left * 1e9 / (double)c->rate);
	return left;
}

void check_estimate(struct check_estimate *c, const struct migration_goals *goals)
{
	struct outlook o = { .limit_ns = goals->blackout_ms * UINT64_C(1000000),
			     .percent = c->percent };
	double bytes = (double)c->bytes, passed = 0;

	if (goals->bandwidth)
		c->rate = MIN(c->rate, goals->bandwidth);
	c->rate = MAX(c->rate, 1);
	c->converges = false;
	for (int i = 0; !c->converges && i < ROUNDS_MAX && passed < goals->deadline_s; i++) {
		passed += bytes / (double)c->rate;
		bytes = go_round(c, &o, bytes);
		c->converges = converge_is_enough(&o);
		c->percent = o.percent;
		o.percent = converge_percent(&o);
	}
	c->converges = c->converges || goals->late;
	c->blackout_ns = converge_blackout_ns(&o);
	c->duration_ns = (uint64_t)(passed * 1e9) + c->blackout_ns;
}

json_t *check_estimate_why(const struct check_estimate *c, const struct migration_goals *goals)
{
	if (c->written >= c->rate)
		return json_sprintf("will not converge because the guest writes %.1f MiB/s and the "
				    "connection carries %.1f MiB/s",
				    mib(c->written), mib(c->rate));
	return json_sprintf("will not converge because after %u s the guest would still stand "
			    "still for more than %u ms: it writes %.1f MiB/s and the connection "
			    "carries %.1f MiB/s",
			    goals->deadline_s, goals->blackout_ms, mib(c->written), mib(c->rate));
}

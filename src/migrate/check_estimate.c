/* SPDX-License-Identifier: Apache-2.0 */
#include "check_estimate.h"

#include <math.h>

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

/* Different bytes that are written while so many are sent. */
static double written_meanwhile(const struct check_estimate *c, unsigned percent, double bytes)
{
	double set = (double)c->write_set;
	double all = (double)c->written * (100 - percent) / 100 * bytes / (double)c->rate;

	return MIN(set > 0 ? set * (1 - exp(-all / set)) : all, (double)c->bytes);
}

/* One round, as source.c has them; what is left behind it, in bytes. */
static double go_round(const struct check_estimate *c, struct outlook *o, double bytes)
{
	double left = written_meanwhile(c, o->percent, bytes);

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

json_t *check_estimate_json(const struct check_estimate *c)
{
	json_t *json = json_pack("{s:I, s:I, s:I}", "memory_bytes", (json_int_t)c->bytes,
				 "memory_dirty_bps", (json_int_t)c->written,
				 "memory_transmission_bps", (json_int_t)c->rate);

	if (c->write_set)
		json_object_set_new(json, "memory_write_set",
				    json_integer((json_int_t)c->write_set));
	if (c->converges)
		json_object_update_new(json,
				       json_pack("{s:I, s:I, s:i}", "total_us",
						 (json_int_t)(c->duration_ns / 1000), "blackout_us",
						 (json_int_t)(c->blackout_ns / 1000),
						 "vcpu_throttle_percent", (int)c->percent));
	return json;
}

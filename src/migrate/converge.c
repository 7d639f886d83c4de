/* SPDX-License-Identifier: Apache-2.0 */
#include "converge.h"

#include <stddef.h>

#include "bits.h"

/* What stopping, saving and handing over take beside the pages. */
#define FIXED_NS UINT64_C(3000000)
/* A blackout that is not worth less speed of the guest before it. */
#define GOOD_BLACKOUT_NS UINT64_C(5000000)
/* Of that, what no more than this takes is not worth another round: nor does it help. */
#define GOOD_SEND_NS UINT64_C(200000)

enum {
	SHRINK = 4,
	LAST_STEP = 99
}; /* what a slower round should find, of the one before: this part */

static const uint8_t steps[] = { 20, 40, 60, 80, 90, 95, 99 };

uint64_t converge_blackout_ns(const struct outlook *o)
{
	return FIXED_NS + o->send_ns;
}

static bool shrinks(const struct outlook *o)
{
	return o->pending <= o->before / 2;
}

/* Slower vCPUs would write less in the next round, and that would matter. */
static bool slower_helps(const struct outlook *o)
{
	return o->percent < LAST_STEP && o->send_ns > GOOD_SEND_NS;
}

bool converge_is_enough(const struct outlook *o)
{
	uint64_t blackout_ns = converge_blackout_ns(o);

	return blackout_ns <= MIN(GOOD_BLACKOUT_NS, o->limit_ns) ||
	       (blackout_ns <= o->limit_ns && !shrinks(o) && !slower_helps(o));
}

unsigned converge_percent(const struct outlook *o)
{
	uint64_t left;

	if (shrinks(o) || !slower_helps(o))
		return o->percent;
	/* What is written is taken for proportional to the time that the vCPUs have. */
	left = (100 - o->percent) * o->before / (SHRINK * o->pending);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i] > o->percent && 100U - steps[i] <= left)
			return steps[i];
	return LAST_STEP;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "reclaim_policy.h"

#include "bits.h"

enum { STEP_PARTS = 20, STEP_BYTES = 256 * MIB };

#define PATIENCE_S 30.0
#define AGAIN_S 10.0 /* so that its pressure shows what the last step did */
#define PSI_MAX 0.05

static uint64_t room(const struct reclaim_guest *g)
{
	return g->resident - MIN(g->min, g->resident);
}

static bool may(const struct reclaim_guest *g)
{
	return !g->bytes && g->seconds >= PATIENCE_S && g->psi <= PSI_MAX;
}

static struct reclaim_guest *best(struct reclaim_guest *const guests[], size_t n)
{
	struct reclaim_guest *found = NULL;

	for (size_t i = 0; i < n; i++)
		if (may(guests[i]) && (!found || room(guests[i]) > room(found)))
			found = guests[i];
	return found;
}

void reclaim_policy(const struct reclaim_host *h, struct reclaim_guest *const guests[], size_t n)
{
	uint64_t left = MIN(h->lack, h->swap), bytes;
	struct reclaim_guest *g;

	for (size_t i = 0; i < n; i++) {
		g = guests[i];
		g->seconds = left && !g->gives ? g->seconds + h->seconds : 0;
		g->bytes = 0;
	}
	while ((g = best(guests, n))) {
		bytes = MIN(MIN(room(g), left), MIN(g->most / STEP_PARTS, STEP_BYTES));
		g->bytes = bytes - bytes % MIB;
		if (!g->bytes)
			return;
		left -= g->bytes;
		g->seconds = PATIENCE_S - AGAIN_S;
	}
}

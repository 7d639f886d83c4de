/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the VMs of the largest hosts would fit on the others, should these hosts fail. */
#include <math.h>
#include <stdlib.h>

#include "bits.h"
#include "planner_internal.h"

static int compare_promised(const void *a, const void *b, void *arg)
{
	const struct fleet *f = arg;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	uint64_t more = f->host[left].committed, less = f->host[right].committed;

	if (more != less)
		return more > less ? -1 : 1;
	return left < right ? -1 : 1;
}

static int compare_memory(const void *a, const void *b, void *arg)
{
	const struct fleet *f = arg;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	uint64_t more = f->snapshot->vm[left].memory, less = f->snapshot->vm[right].memory;

	if (more != less)
		return more > less ? -1 : 1;
	return left < right ? -1 : 1;
}

/* Those of the first hosts of the list, the largest first. */
static uint32_t list_vms(const struct planner *p, uint32_t fail)
{
	const struct fleet *f = &p->fleet;
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->snapshot->nhost; i++)
		p->spare.room[i] = 0;
	for (uint32_t i = 0; i < fail; i++)
		p->spare.room[p->spare.host[i]] = -INFINITY;
	for (uint32_t i = 0; i < f->snapshot->nvm; i++)
		if (f->vm[i].host != NOWHERE && p->spare.room[f->vm[i].host] < 0)
			p->spare.vm[n++] = i;
	qsort_r(p->spare.vm, n, sizeof(*p->spare.vm), compare_memory, (void *)f);
	return n;
}

double spare_missing(const struct planner *p)
{
	const struct fleet *f = &p->fleet;
	uint32_t *host = p->spare.host, n = 0, fail, vms;
	double missing = 0;

	if (f->snapshot->policy.hosts_in_reserve < 1)
		return 0;
	/* A host that was emptied to save energy may be off by then. */
	for (uint32_t i = 0; i < f->nable; i++)
		if (f->snapshot->policy.energy <= 0 || f->host[f->able[i]].committed)
			host[n++] = f->able[i];
	fail = (uint32_t)MIN(f->snapshot->policy.hosts_in_reserve, n);
	qsort_r(host, n, sizeof(*host), compare_promised, (void *)f);
	vms = list_vms(p, fail);
	for (uint32_t i = fail; i < n; i++)
		p->spare.room[host[i]] = fleet_room(f, host[i]);
	for (uint32_t i = 0; i < vms; i++) {
		double bytes = (double)f->snapshot->vm[p->spare.vm[i]].memory;
		uint32_t most = fail;

		for (uint32_t to = fail + 1; to < n; to++)
			if (p->spare.room[host[to]] > p->spare.room[host[most]])
				most = to;
		if (most < n && p->spare.room[host[most]] >= bytes)
			p->spare.room[host[most]] -= bytes;
		else
			missing += bytes;
	}
	return missing;
}

bool spare_breaks(struct planner *p, uint32_t vm, uint32_t to)
{
	uint32_t from = p->fleet.vm[vm].host;
	double missing;

	if (p->snapshot->policy.hosts_in_reserve < 1)
		return false;
	fleet_move(&p->fleet, vm, to);
	missing = spare_missing(p);
	fleet_move_back(&p->fleet, vm, from);
	return missing > p->spare.missing;
}

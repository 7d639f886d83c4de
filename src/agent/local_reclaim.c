/* SPDX-License-Identifier: Apache-2.0 */
#include "bits.h"
#include "local_internal.h"
#include "memory_reclaim.h"

static void reclaim(struct agent *a, const struct local_vm *v)
{
	char folder[PATH_MAX];
	uint64_t took;

	if (!memory_reclaim_find("", v->pid, folder) ||
	    memory_reclaim(folder, v->reclaim.bytes, &took) || took < MIB)
		return;
	pthread_mutex_lock(&a->lock);
	agent_say(
		a, "memory-reclaimed", v->name,
		"the kernel took %llu of %llu MiB that it should: the host is short of it, and its "
		"guest can give no more",
		(unsigned long long)took / MIB, (unsigned long long)v->reclaim.bytes / MIB);
	pthread_mutex_unlock(&a->lock);
}

static bool may_reclaim(const struct local_vm *v)
{
	char folder[PATH_MAX];

	return local_may_take(v) && memory_reclaim_find("", v->pid, folder);
}

void local_reclaim(struct beat *b, uint64_t lack, struct reclaim_guest **guests)
{
	const struct reclaim_host h = { .seconds = b->seconds, .lack = lack, .swap = b->host.swap };
	struct local_vm *v;
	size_t n = 0;

	list_for_each (v, &b->local->vms, node) {
		v->reclaim.bytes = 0;
		if (!lack || !h.swap || !may_reclaim(v)) {
			v->reclaim.seconds = 0;
			continue;
		}
		v->reclaim.min = v->memory_min;
		v->reclaim.most = v->now.most;
		v->reclaim.resident = v->now.resident;
		v->reclaim.psi = v->now.memory.psi;
		v->reclaim.gives = v->now.tells && memory_guest_gives(&v->memory);
		guests[n++] = &v->reclaim;
	}
	reclaim_policy(&h, guests, n);
	list_for_each (v, &b->local->vms, node)
		if (v->reclaim.bytes)
			reclaim(b->agent, v);
}

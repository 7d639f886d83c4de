/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "local_internal.h"

static void weigh(struct agent *a, struct local_vm *v)
{
	v->weighed = v->weight;
	if (cpu_weight_set(&v->group, v->pid, v->weight))
		return;
	pthread_mutex_lock(&a->lock);
	snprintf(v->why[LOCAL_WEIGHT], LOCAL_WHY_BYTES, "its %s is %u in place of %u",
		 cpu_weight_file(&v->group), v->group.set, v->group.was);
	agent_say(a, "weight-set", v->name, "%s: VMs wait for cores", v->why[LOCAL_WEIGHT]);
	pthread_mutex_unlock(&a->lock);
}

void local_weight_back(struct agent *a, struct local_vm *v, const char *why)
{
	if (!v->group.held)
		return;
	cpu_weight_put_back(&v->group);
	pthread_mutex_lock(&a->lock);
	v->why[LOCAL_WEIGHT][0] = '\0';
	agent_say(a, "weight-back", v->name, "its %s is %u again: %s", cpu_weight_file(&v->group),
		  v->group.was, why);
	pthread_mutex_unlock(&a->lock);
}

void local_weights(struct beat *b, const struct cpu_host *h)
{
	bool count = cpu_weights_count(&b->local->weights, h);
	struct local_vm *v;

	list_for_each (v, &b->local->vms, node) {
		if (!count)
			local_weight_back(b->agent, v, "VMs have not waited for a while");
		else if (v->weight > 0 && v->answers && v->stays && !v->group.held)
			weigh(b->agent, v);
	}
}

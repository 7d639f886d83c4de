/* SPDX-License-Identifier: Apache-2.0 */
#include "affinity.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"
#include "vcpu.h"

static bool host_has(unsigned cpu)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u", cpu);
	return !access(path, F_OK);
}

static int pin(struct device *vcpu, const json_t *host_cpus, struct err *e)
{
	const json_t *each;
	cpu_set_t cpus;
	size_t i;

	CPU_ZERO(&cpus);
	json_array_foreach(host_cpus, i, each)
	{
		unsigned cpu = (unsigned)json_integer_value(each);

		if (!host_has(cpu))
			return err_set(
				e, -EINVAL,
				"cpus: affinity: %s is to run on CPU %u, which this host does "
				"not have",
				vcpu->id, cpu);
		CPU_SET(cpu, &cpus);
	}
	if (vcpu_pin(vcpu, &cpus))
		return err_set(e, -EINVAL,
			       "cpus: affinity: this process may use none of the CPUs on which %s "
			       "may run; they are offline, or a cpuset forbids it",
			       vcpu->id);
	return 0;
}

int affinity_set(struct vm *vm, const struct config_cpus *c, bool comes, struct events *events,
		 struct err *e)
{
	const json_t *each;
	size_t i;

	json_array_foreach(c->affinity, i, each)
	{
		struct device *vcpu;
		char id[16];

		snprintf(id, sizeof(id), "vcpu%u",
			 (unsigned)json_integer_value(json_object_get(each, "vcpu")));
		vcpu = vm_device(vm, id);
		if (!pin(vcpu, json_object_get(each, "host_cpus"), e))
			continue;
		if (!comes)
			return -EINVAL;
		log_warn("%s; it is not pinned", e->text);
		events_add(events, "vcpu", "not-pinned", json_pack("{s:s}", "id", id));
	}
	return 0;
}

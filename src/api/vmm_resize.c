/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM has more or less of while it runs: vm.resize. */
#include <errno.h>

#include "machine.h"
#include "option.h"
#include "vmm_internal.h"

struct size {
	uint64_t desired_ram, desired_balloon;
	uint32_t desired_vcpus, cpu_limit;
};

static const struct option keys[] = {
	OPTION(struct size, desired_vcpus, .min = 1, .max = CONFIG_VCPUS_MAX),
	OPTION_FRACTIONAL(struct size, cpu_limit, .min = CONFIG_CPU_LIMIT_MIN,
			  .max = CONFIG_CPU_LIMIT_MAX),
	OPTION(struct size, desired_ram, .min = 1, .max = INT64_MAX),
	OPTION(struct size, desired_balloon, .max = INT64_MAX),
};
static const struct option_table table = OPTION_TABLE(keys);

static bool is_given(const struct vmm_request *q, const char *key)
{
	const json_t *value = json_object_get(q->in, key);

	return value && !json_is_null(value);
}

static int resize_memory(struct vmm *v, struct vmm_request *q, const struct size *size)
{
	int r = 0;

	if (is_given(q, "desired_ram"))
		r = config_set_memory(&v->config, size->desired_ram, &q->e);
	if (!r && is_given(q, "desired_balloon"))
		r = config_set_balloon(&v->config, size->desired_balloon, &q->e);
	if (!r && v->machine)
		machine_resize_memory(v->machine, is_given(q, "desired_ram"));
	return r;
}

static void limit_cpus(struct vmm *v, uint32_t thousandths)
{
	config_set_cpu_limit(&v->config, thousandths);
	if (v->machine)
		machine_limit_cpus(v->machine, true);
}

static int check_cpus(struct vmm *v, unsigned count, struct err *e)
{
	if (v->machine)
		return machine_check_cpus(v->machine, count, e);
	return count <= v->config.cpus.max_vcpus ? 0 : config_set_vcpus(&v->config, count, e);
}

/* Later, if the guest is to answer. */
static int resize_cpus(struct vmm *v, struct vmm_request *q, unsigned count, bool *later)
{
	int r;

	if (!v->machine)
		return config_set_vcpus(&v->config, count, &q->e);
	r = machine_resize_cpus(v->machine, count, vmm_done_later, q, &q->e);
	*later = !r;
	return r;
}

/* What no VM can have was refused before. */
static enum vmm_fault fault_of(int r)
{
	switch (r) {
	case 0:
		return VMM_OK;
	case -ENOENT:
		return VMM_NO_VM;
	case -EBUSY:
		return VMM_LATER;
	default:
		return VMM_FAILED;
	}
}

void vmm_resize(struct vmm *v, struct vmm_request *q)
{
	bool later = false, memory;
	struct size size;
	int r = 0;

	if (option_load(&table, "vm.resize", q->in, &size, &q->e)) {
		vmm_finish(v, VMM_INVALID);
		return;
	}
	if (is_given(q, "desired_ram") && is_given(q, "desired_balloon")) {
		vmm_fail(v, VMM_INVALID,
			 "desired_ram decides what the balloon takes; leave desired_balloon out");
		return;
	}
	memory = is_given(q, "desired_ram") || is_given(q, "desired_balloon");
	if (!vmm_check_created(v))
		return;
	if (is_given(q, "desired_vcpus"))
		r = check_cpus(v, size.desired_vcpus, &q->e);
	if (!r && memory)
		r = resize_memory(v, q, &size);
	if (!r && is_given(q, "cpu_limit"))
		limit_cpus(v, size.cpu_limit);
	if (!r && is_given(q, "desired_vcpus"))
		r = resize_cpus(v, q, size.desired_vcpus, &later);
	if (later)
		vmm_release(v);
	else
		vmm_finish(v, fault_of(r));
}

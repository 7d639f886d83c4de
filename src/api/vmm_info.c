/* SPDX-License-Identifier: Apache-2.0 */
/* What the control API says of a VM: VmInfo. */
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "chardev.h"
#include "classes.h"
#include "machine.h"
#include "memory_use.h"
#include "pci.h"
#include "vcpu.h"
#include "vmm_compat.h"
#include "vmm_internal.h"

/* Runs in the guest's terms: the states that clients know. */
static const char *state_of(struct vmm *v)
{
	if (!v->machine || machine_vm(v->machine)->incoming)
		return "Created";
	return vmm_is_undecided(v) || machine_is_paused(v->machine) ? "Paused" : "Running";
}

/* A pty that was made for a port stands where its file would. */
static void put_host_path(json_t *config, const struct device *dev)
{
	json_t *port = json_object_get(config, dev->id);
	const char *mode = json_string_value(json_object_get(port, "mode"));

	if (dev->host_path && mode && !strcmp(mode, chardev_mode_names[CHARDEV_PTY]))
		json_object_set_new(port, "file", json_string(dev->host_path));
}

static json_t *tree_entry(const struct vm *vm, const struct device *dev)
{
	json_t *entry = json_pack("{s:s, s:[], s:[]}", "id", dev->id, "resources", "children");
	int slot = pci_slot_of(vm->pci, dev);
	char bdf[16];

	if (slot < 0)
		return entry;
	vmm_bdf((unsigned)slot, bdf);
	json_object_set_new(entry, "pci_bdf", json_string(bdf));
	return entry;
}

static void put_migratable(struct vmm *v, json_t *info)
{
	json_t *blockers = vmm_migration_blockers(v);

	json_object_set_new(info, "migratable", json_boolean(!json_array_size(blockers)));
	json_object_set_new(info, "migration_blockers", blockers);
}

/* How long processors ran its vCPUs, and how long those waited or were held back. */
static json_t *cpus_of(struct vm *vm)
{
	struct vcpu_times t = vcpu_times(vm);

	return json_pack("{s:I, s:I, s:I}", "run_ns", (json_int_t)t.run_ns, "wait_ns",
			 (json_int_t)t.wait_ns, "throttled_ns", (json_int_t)t.throttled_ns);
}

/* What it is to have, what it has, and what of all that the host holds. */
static json_t *memory_of(struct vmm *v)
{
	struct machine_memory m = { v->config.memory.size, v->config.memory.size, "" };
	struct memory_use use = { 0 };
	json_t *memory;

	if (v->machine)
		machine_memory(v->machine, &m);
	memory = json_pack("{s:I, s:I}", "asked", (json_int_t)m.asked, "given",
			   (json_int_t)m.given);
	if (m.why[0])
		json_object_set_new(memory, "why", json_string(m.why));
	if (v->machine && memory_use_read(machine_vm(v->machine), &use))
		json_object_update_new(memory,
				       json_pack("{s:I, s:I}", "resident",
						 (json_int_t)counter_get(&use.rss), "swapped",
						 (json_int_t)counter_get(&use.swapped)));
	return memory;
}

static void put_io_error(struct vmm *v, json_t *info)
{
	const struct vm_io_error *io = v->machine ? machine_io_error(v->machine) : NULL;

	if (io)
		json_object_set_new(info, "io_error", vm_io_error_json(io));
}

void vmm_bdf(unsigned slot, char bdf[16])
{
	snprintf(bdf, 16, "0000:00:%02x.0", slot);
}

void vmm_refuse_none(struct vmm_request *q)
{
	q->fault = VMM_NO_VM;
	err_set(&q->e, 0, VMM_NONE_CREATED);
}

void vmm_info(struct vmm *v, struct vmm_request *q)
{
	json_t *config, *tree, *memory;
	struct device *dev;
	struct vm *vm = NULL;
	struct check_estimate estimate;

	if (!v->config.json) {
		vmm_refuse_none(q);
		return;
	}
	config = json_deep_copy(v->config.json);
	tree = json_object();
	if (v->machine) {
		vm = machine_vm(v->machine);
		list_for_each (dev, &vm->devices, node) {
			if (dev->class == &vcpu_class && !vcpu_is_present(dev))
				continue;
			put_host_path(config, dev);
			json_object_set_new(tree, dev->id, tree_entry(vm, dev));
		}
	}
	memory = memory_of(v);
	q->out = json_pack("{s:o, s:s, s:O, s:o, s:o}", "config", config, "state", state_of(v),
			   "memory_actual_size", json_object_get(memory, "given"), "memory", memory,
			   "device_tree", tree);
	if (v->machine)
		json_object_set_new(q->out, "cpus", cpus_of(vm));
	put_io_error(v, q->out);
	if (vmm_is_undecided(v))
		json_object_set_new(q->out, "undecided", json_true());
	if (vmm_predict(v, &estimate))
		json_object_set_new(q->out, "migration_prediction", check_estimate_json(&estimate));
	if (v->machine && !machine_vm(v->machine)->incoming)
		put_migratable(v, q->out);
}

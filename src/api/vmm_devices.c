/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that come to a VM and leave it, booted or not. */
#include <errno.h>
#include <stdio.h>

#include "machine.h"
#include "pci.h"
#include "vmm_internal.h"

static json_t *place_of(struct vmm *v, const struct device *dev)
{
	char bdf[16];

	vmm_bdf((unsigned)pci_slot_of(machine_vm(v->machine)->pci, dev), bdf);
	return json_pack("{s:s, s:s}", "id", dev->id, "bdf", bdf);
}

static void add(struct vmm *v, struct vmm_request *q, const char *section)
{
	const json_t *added;
	struct device *dev;
	int r;

	if (!vmm_check_created(v))
		return;
	r = config_add(&v->config, section, q->in, &added, &q->e);
	if (r || !v->machine) {
		vmm_finish(v, r == -EEXIST ? VMM_TAKEN : r ? VMM_INVALID : VMM_OK);
		return;
	}
	r = machine_add_device(v->machine, section, added, &dev, &q->e);
	if (r)
		config_remove(&v->config, json_string_value(json_object_get(added, "id")));
	else
		q->out = place_of(v, dev);
	vmm_finish(v, r == -EEXIST ? VMM_TAKEN : r ? VMM_FAILED : VMM_OK);
}

void vmm_add_disk(struct vmm *v, struct vmm_request *q)
{
	add(v, q, "disks");
}

void vmm_add_net(struct vmm *v, struct vmm_request *q)
{
	add(v, q, "net");
}

/* The guest has its time to answer, and others need not wait for that: the request is over for
 * the queue, and done later. */
static void on_removed(void *arg, int result, const char *why)
{
	struct vmm_request *q = arg;

	if (!result)
		config_remove(&q->vmm->config, json_string_value(json_object_get(q->in, "id")));
	else
		err_set(&q->e, 0, "%s", why);
	q->fault = result ? VMM_FAILED : VMM_OK;
	q->done(q);
}

void vmm_remove_device(struct vmm *v, struct vmm_request *q)
{
	const char *id = json_string_value(json_object_get(q->in, "id"));
	int r;

	if (!vmm_check_created(v))
		return;
	if (!id) {
		vmm_fail(v, VMM_INVALID, "which device? {\"id\": \"disk1\"} names one");
		return;
	}
	if (!v->machine) {
		if (config_remove(&v->config, id))
			vmm_finish(v, VMM_OK);
		else
			vmm_fail(v, VMM_NO_VM, "there is no device \"%.64s\" that could be removed",
				 id);
		return;
	}
	r = machine_remove_device(v->machine, id, on_removed, q, &q->e);
	if (r)
		vmm_finish(v, r == -ENOENT ? VMM_NO_VM : VMM_FAILED);
	else
		vmm_release(v);
}

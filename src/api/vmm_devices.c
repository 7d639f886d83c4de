/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that come to a VM, change and leave it, booted or not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk.h"
#include "machine.h"
#include "pci.h"
#include "rate_limit.h"
#include "vmm_internal.h"

enum { SECTOR_BYTES = 512 };

static json_t *place_of(struct vmm *v, const struct device *dev)
{
	char bdf[16];

	vmm_bdf((unsigned)pci_slot_of(machine_vm(v->machine)->pci, dev), bdf);
	return json_pack("{s:s, s:s}", "id", dev->id, "bdf", bdf);
}

static enum vmm_fault add_device(struct vmm *v, struct vmm_request *q, const char *section,
				 unsigned nfds)
{
	const json_t *added;
	struct device *dev;
	int r = config_add(&v->config, section, q->in, q->fds, nfds, &added, &q->e);

	for (unsigned i = 0; !r && i < nfds; i++)
		q->fds[i] = -1; /* the configuration's from now on */
	if (r || !v->machine)
		return r == -EEXIST ? VMM_TAKEN : r ? VMM_INVALID : VMM_OK;
	r = machine_add_device(v->machine, section, added, &dev, &q->e);
	if (r)
		config_remove(&v->config, json_string_value(json_object_get(added, "id")));
	else
		q->out = place_of(v, dev);
	return r == -EEXIST ? VMM_TAKEN : r ? VMM_FAILED : VMM_OK;
}

/* nfds: of the files that came with the request, those for the device. */
static void add(struct vmm *v, struct vmm_request *q, const char *section, unsigned nfds)
{
	enum vmm_fault fault;

	if (!vmm_check_created(v))
		return;
	vmm_away(v, true); /* to open a disk may take long */
	fault = add_device(v, q, section, nfds);
	vmm_away(v, false);
	vmm_finish(v, fault);
}

void vmm_add_disk(struct vmm *v, struct vmm_request *q)
{
	add(v, q, "disks", 0);
}

void vmm_add_net(struct vmm *v, struct vmm_request *q)
{
	add(v, q, "net", q->nfds);
}

/* The device that the request names; NULL: the request was refused. */
static const char *named(struct vmm *v, const struct vmm_request *q)
{
	const char *id = json_string_value(json_object_get(q->in, "id"));

	if (!vmm_check_created(v))
		return NULL;
	if (!id)
		vmm_fail(v, VMM_INVALID, "which device? {\"id\": \"disk1\"} names one");
	return id;
}

void vmm_done_later(void *arg, int result, const char *why)
{
	struct vmm_request *q = arg;

	if (result)
		err_set(&q->e, 0, "%s", why);
	q->fault = result ? VMM_FAILED : VMM_OK;
	q->done(q);
}

static void on_removed(void *arg, int result, const char *why)
{
	struct vmm_request *q = arg;

	if (!result)
		config_remove(&q->vmm->config, json_string_value(json_object_get(q->in, "id")));
	vmm_done_later(q, result, why);
}

void vmm_remove_device(struct vmm *v, struct vmm_request *q)
{
	const char *id = named(v, q);
	int r;

	if (!id)
		return;
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

/* What the device would do, if it were there. */
static int resize_image(const json_t *disk, uint64_t bytes, struct err *e)
{
	const char *type = json_string_value(json_object_get(disk, "image_type"));
	const struct disk_config config = {
		.path = json_string_value(json_object_get(disk, "path")),
		.readonly = json_is_true(json_object_get(disk, "readonly")),
		.raw = !strcmp(type, "Raw"),
		.sparse = json_is_true(json_object_get(disk, "sparse")),
	};
	struct disk *d;
	int r = disk_open(&d, &config, e);

	if (r)
		return r;
	r = disk_resize(d, bytes, e);
	disk_close(d);
	return r;
}

static void resize(struct vmm *v, struct vmm_request *q, const char *id, uint64_t bytes)
{
	const struct config_section *s;
	const json_t *device = config_device(&v->config, id, &s);

	if (!device)
		vmm_fail(v, VMM_NO_VM, "there is no device \"%.64s\"", id);
	else if (!s->class->resize)
		vmm_fail(v, VMM_FAILED, "%s: only disks can be resized", id);
	else if (!v->machine)
		vmm_finish(v, resize_image(device, bytes, &q->e) ? VMM_FAILED : VMM_OK);
	else if (machine_resize_device(v->machine, id, bytes, vmm_done_later, q, &q->e))
		vmm_finish(v, VMM_FAILED);
	else
		vmm_release(v);
}

void vmm_resize_disk(struct vmm *v, struct vmm_request *q)
{
	json_int_t bytes = json_integer_value(json_object_get(q->in, "desired_size"));
	const char *id = named(v, q);

	if (!id)
		return;
	if (bytes <= 0 || bytes % SECTOR_BYTES)
		vmm_fail(v, VMM_INVALID,
			 "desired_size must be a number of bytes, not 0 and a multiple of %d",
			 SECTOR_BYTES);
	else
		resize(v, q, id, (uint64_t)bytes);
}

void vmm_set_rate_limit(struct vmm *v, struct vmm_request *q)
{
	const json_t *limits = json_object_get(q->in, "rate_limiter_config");
	const char *id = named(v, q);
	struct limiter_config now;
	int r;

	if (!id)
		return;
	r = config_set_limits(&v->config, id, limits, &now, &q->e);
	if (!r && v->machine)
		r = rate_limit_change(machine_vm(v->machine), id, &now, &q->e);
	vmm_finish(v, r == -ENOENT   ? VMM_NO_VM
		      : r == -EINVAL ? VMM_INVALID
		      : r            ? VMM_FAILED
				     : VMM_OK);
}

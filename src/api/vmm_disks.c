/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot has no disks but knows each writable one's generation, which is one more whenever a
 * guest has begun to run on it (owner.h).  So the guest of a snapshot does not go on over a disk
 * that was changed beneath it, and one that goes on after a snapshot was taken changes it.
 */
#include <errno.h>
#include <string.h>

#include "machine.h"
#include "owner.h"
#include "vmm_internal.h"

/* 0: it has none, or none that is this VM's doing. */
static uint64_t generation_of(struct vmm *v, const char *id)
{
	struct vm_disk *d = vm_disk(machine_vm(v->machine), id);
	struct owner_record record;
	struct err e;

	if (!d || d->readonly || !(d->recorded || v->disks_shared) ||
	    owner_read(d->disk, &record, &e))
		return 0;
	return record.generation;
}

json_t *vmm_list_disks(struct vmm *v)
{
	const json_t *disk;
	json_t *list = json_array();
	size_t i;

	json_array_foreach(json_object_get(v->config.json, "disks"), i, disk)
	{
		json_t *id = json_object_get(disk, "id");
		uint64_t generation = generation_of(v, json_string_value(id));
		json_t *entry = json_pack("{s:O, s:O}", "id", id, "path",
					  json_object_get(disk, "path"));

		if (generation)
			json_object_set_new(entry, "generation",
					    json_integer((json_int_t)generation));
		json_array_append_new(list, entry);
	}
	return list;
}

/* Another image is the word of whoever gave it. */
static bool is_substituted(const struct vmm *v, const json_t *recorded, const json_t *given,
			   const char *id)
{
	const json_t *disk = config_find_id(json_object_get(v->config.json, "disks"), id);
	const json_t *other = config_find_id(json_object_get(given, "disks"), id);

	return json_object_get(other, "path") ||
	       !json_equal(json_object_get(disk, "path"), json_object_get(recorded, "path"));
}

static int check_disk(struct vmm *v, const json_t *recorded, const char *id, struct err *e)
{
	json_int_t wanted = json_integer_value(json_object_get(recorded, "generation"));
	struct vm_disk *d = vm_disk(machine_vm(v->machine), id);
	struct owner_record record;
	int r;

	if (!wanted || !d || d->readonly)
		return 0;
	r = owner_read(d->disk, &record, e);
	if (r && r != -ENOENT)
		return r;
	if (!r && record.generation == (uint64_t)wanted)
		return 0;
	return err_set(e, -EBUSY,
		       r ? "%s is not the disk that the snapshot was taken with; give that one, or "
			   "a copy of it, with --disk id=%s,path=..."
			 : "%s was run since this snapshot was taken; give a copy from then with "
			   "--disk id=%s,path=...",
		       id, id);
}

int vmm_check_disks(struct vmm *v, const json_t *recorded, const json_t *given, struct err *e)
{
	const json_t *disk;
	size_t i;
	int r = 0;

	json_array_foreach(recorded, i, disk)
	{
		const char *id = json_string_value(json_object_get(disk, "id"));

		if (!r && !is_substituted(v, disk, given, id))
			r = check_disk(v, disk, id, e);
	}
	return r;
}

int vmm_part_disks(struct vmm *v, struct err *e)
{
	int r = v->disks_shared ? machine_own_disks(v->machine, e) : 0;

	if (!r)
		v->disks_shared = false;
	return r;
}

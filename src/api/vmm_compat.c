/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm_compat.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "devices.h"
#include "disk.h"
#include "file.h"
#include "machine.h"
#include "owner.h"
#include "tap.h"
#include "vmm_internal.h"

static void append(json_t *blockers, json_t *sentence)
{
	json_array_append_new(blockers, sentence);
}

static json_t *sizes_of(const struct vm *vm)
{
	json_t *sizes = json_object();
	struct vm_disk *d;

	list_for_each (d, &vm->disks, node)
		json_object_set_new(sizes, d->id,
				    json_integer((json_int_t)disk_size_bytes(d->disk)));
	return sizes;
}

char *vmm_hello(struct vmm *v)
{
	struct vm *vm = machine_vm(v->machine);
	json_auto_t *hello = json_pack("{s:s, s:O, s:o, s:o, s:o}", "vm", v->config.uuid, "config",
				       v->config.json, "needs", machine_needs(v->machine), "disks",
				       sizes_of(vm), "records", devices_records(vm));

	return json_dumps(hello, JSON_COMPACT);
}

/* Of a block device the record is in another host's state directory. */
static bool has_record(const struct vm_disk *d)
{
	struct stat st;

	return !d->readonly && !file_stat(disk_path(d->disk), &st) && S_ISREG(st.st_mode);
}

/* NULL: it may well be.  Whether it really is shows the hand-over, by its lock. */
static json_t *why_not_the_same(const struct vm_disk *d, const json_t *hello)
{
	const char *vm = json_string_value(json_object_get(hello, "vm"));
	const json_t *sizes = json_object_get(hello, "disks");
	json_int_t there = json_integer_value(json_object_get(sizes, d->id));
	uint64_t here = disk_size_bytes(d->disk);
	struct owner_record record;
	struct err e;

	if ((uint64_t)there != here)
		return json_sprintf("%s: %s has %" PRIu64 " bytes here and %lld there; give the "
				    "same disk with --disk id=%s,path=...",
				    d->id, disk_path(d->disk), here, (long long)there, d->id);
	if (!has_record(d) || (!owner_read(d->disk, &record, &e) && !strcmp(record.vm, vm)))
		return NULL;
	return json_sprintf("%s: %s is not the disk of this VM, as its owner record here does not "
			    "say so; give the same disk with --disk id=%s,path=...",
			    d->id, disk_path(d->disk), d->id);
}

static void check_disks(const struct vm *vm, const json_t *hello, json_t *blockers)
{
	struct vm_disk *d;

	list_for_each (d, &vm->disks, node) {
		json_t *why = why_not_the_same(d, hello);

		if (why)
			append(blockers, why);
	}
}

/* A machine that was built for it. */
static void check_machine(struct machine *m, const json_t *hello, json_t **versions,
			  json_t *blockers)
{
	struct vm *vm = machine_vm(m);

	check_disks(vm, hello, blockers);
	devices_check_records(vm, json_object_get(hello, "records"), blockers);
	*versions = devices_versions(vm);
}

/* Everything that is written here of a VM is under its uuid: nobody sends one under another's. */
static int check_identity(const json_t *hello, const json_t *config, struct err *e)
{
	const json_t *uuid = json_object_get(json_object_get(config, "platform"), "uuid");

	if (uuid && json_equal(uuid, json_object_get(hello, "vm")))
		return 0;
	return err_set(e, -EINVAL,
		       "the configuration has another uuid than the VM that comes; leave uuid out "
		       "of what is said anew here");
}

/* With its bridge or address it is made here, at the start. */
static bool is_made_here(const json_t *net)
{
	const char *ip = json_string_value(json_object_get(net, "ip"));

	return json_is_string(json_object_get(net, "bridge")) || (ip && strcmp(ip, "0.0.0.0"));
}

/* Who may make taps would get one that leads nowhere. */
static void check_taps(const json_t *config, json_t *blockers)
{
	const json_t *net;
	size_t i;

	json_array_foreach(json_object_get(config, "net"), i, net)
	{
		const char *tap = json_string_value(json_object_get(net, "tap"));
		const char *id = json_string_value(json_object_get(net, "id"));

		if (tap && id && !is_made_here(net) && !tap_is_there(tap))
			append(blockers,
			       json_sprintf("%s: there is no tap %s on this host; make it "
					    "as the other host has it, or give another "
					    "with --net id=%s,tap=...",
					    id, tap, id));
	}
}

/* Without what its guest needs a machine is built as this host is: null is refused. */
static struct machine_hooks hooks_of(const json_t *hello, json_t *blockers)
{
	const json_t *needs = json_object_get(hello, "needs");

	return (struct machine_hooks){ .loaded = true,
				       .incoming = true,
				       .memory_fd = -1,
				       .needs = needs ? needs : json_null(),
				       .blockers = blockers };
}

/* The devices' own sentences say what is missing, and one is found at a time. */
static void try_machine(struct vmm *v, const struct config *config, const char *run_dir,
			const json_t *hello, json_t **versions, json_t *blockers)
{
	struct machine_hooks hooks = hooks_of(hello, blockers);
	struct machine *m;
	struct err e;
	int r;

	hooks.run_dir = run_dir;
	vmm_away(v, true);
	r = machine_new(&m, config, v->hooks.loop, &hooks, &e);
	if (r) {
		append(blockers, json_string(e.text));
	} else {
		check_machine(m, hello, versions, blockers);
		machine_free(m); /* nothing of it has run */
	}
	vmm_away(v, false);
}

/* In the folder that its name would have here. */
static void try_named(struct vmm *v, const struct config *config, const json_t *hello,
		      json_t **versions, json_t *blockers)
{
	struct vmdir dir;
	struct err e;

	if (v->dir.fd >= 0) {
		try_machine(v, config, v->dir.path, hello, versions, blockers);
	} else if (!vmdir_new(&dir, config->name, &e)) {
		try_machine(v, config, dir.path, hello, versions, blockers);
		vmdir_free(&dir);
	} else {
		append(blockers, json_string(e.text));
		try_machine(v, config, NULL, hello, versions, blockers);
	}
}

/* It is built and freed again, with memory that nothing was written to. */
static void try_build(struct vmm *v, json_t *config, const json_t *hello, json_t **versions,
		      json_t *blockers)
{
	struct config c;
	struct err e;

	json_object_set_new(json_object_get(config, "memory"), "prefault", json_false());
	if (config_load(&c, config, &e)) {
		append(blockers, json_string(e.text));
		return;
	}
	try_named(v, &c, hello, versions, blockers);
	config_free(&c);
}

/* The first thing that is in the way ends it, before memory is taken; all are found by trying. */
static void build(struct vmm *v, json_t *config, const json_t *hello, json_t **versions,
		  json_t *blockers)
{
	struct machine_hooks hooks = hooks_of(hello, NULL);
	struct err e;

	if (!vmm_take_config(v, config, &e) && !vmm_build(v, &hooks, &e)) {
		check_machine(v->machine, hello, versions, blockers);
		return;
	}
	try_build(v, config, hello, versions, blockers);
	if (!json_array_size(blockers))
		append(blockers, json_string(e.text));
}

void vmm_take_hello(struct vmm *v, const json_t *hello, const json_t *local, bool stays,
		    json_t **versions, json_t *blockers)
{
	json_t *config = json_object_get(hello, "config");
	struct err e;

	if (config_relocate(config, local, &e) || check_identity(hello, config, &e)) {
		append(blockers, json_string(e.text));
		return;
	}
	check_taps(config, blockers);
	if (stays && !json_array_size(blockers))
		build(v, config, hello, versions, blockers);
	else
		try_build(v, config, hello, versions, blockers);
}

static void check_disk(const struct vmm *v, const struct vm_disk *d, json_t *blockers)
{
	if (d->readonly || d->recorded)
		return;
	append(blockers,
	       json_sprintf(v->disks_shared
				    ? "%s is still its snapshot's; resume the VM first"
				    : "%s has no owner record, as its directory cannot be written: "
				      "two hosts could run this VM; let this user write there",
			    d->id));
}

json_t *vmm_migration_blockers(struct vmm *v)
{
	struct vm *vm = machine_vm(v->machine);
	json_t *blockers = json_array();
	struct vm_disk *d;

	list_for_each (d, &vm->disks, node)
		check_disk(v, d, blockers);
	return blockers;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ownership.h"

#include <errno.h>
#include <stdio.h>

#include "disk.h"
#include "journal.h"
#include "lease.h"
#include "log.h"
#include "owner.h"
#include "vm.h"

/* Of a VM that came back the destination's journal is the newer one. */
static int check_journal(const char *uuid, struct err *e)
{
	struct journal_entry source, destination;
	int r = journal_read(uuid, JOURNAL_SOURCE, &source, e);

	if (r || source.state == JOURNAL_RUNNING)
		return r == -ENOENT ? 0 : r;
	r = journal_read(uuid, JOURNAL_DESTINATION, &destination, e);
	if (r && r != -ENOENT)
		return r;
	if (!r && destination.state == JOURNAL_ACCEPTED &&
	    destination.generation > source.generation)
		return 0;
	return err_set(e, -EBUSY,
		       "this VM was %s to %s and may run there; if it runs nowhere: godwit resolve "
		       "%s --run",
		       source.state == JOURNAL_GIVEN ? "given" : "offered", source.peer, uuid);
}

static int refuse_offered(const char *path, const struct owner_record *o, struct err *e)
{
	return err_set(e, -EBUSY,
		       "%s belongs to VM %s, which host %s is handing over and which may run "
		       "elsewhere; if it runs nowhere: godwit resolve %s --run %s",
		       path, o->vm, o->host, o->vm, path);
}

/* A directory that this user cannot write, or a full one, keeps no VM from running. */
static void write_record(struct vm_disk *d, const struct owner_record *o)
{
	struct err e;

	d->recorded = !owner_write(d->disk, o, &e);
	if (!d->recorded)
		log_debug("%s: %s; the VM runs, but cannot be migrated with this disk", d->id,
			  e.text);
}

/* before: all 0 if there is none. */
static int check_record(const struct vm_disk *d, struct owner_record *before, struct err *e)
{
	int r = d->readonly ? -ENOENT : owner_read(d->disk, before, e);

	if (r)
		return r == -ENOENT ? 0 : r;
	return before->state == OWNER_OFFERED ? refuse_offered(disk_path(d->disk), before, e) : 0;
}

static int begin(struct vm_disk *d, const char *uuid, struct err *e)
{
	struct owner_record now = { .state = OWNER_RUNNING }, before = { 0 };
	int r = check_record(d, &before, e);

	if (r || d->readonly)
		return r;
	snprintf(now.vm, sizeof(now.vm), "%s", uuid);
	owner_this_host(now.host);
	now.generation = before.generation + 1;
	write_record(d, &now);
	return 0;
}

int ownership_begin(struct vm *vm, const char *uuid, struct err *e)
{
	struct owner_record unused;
	int r = check_journal(uuid, e);
	struct vm_disk *d;

	/* A lease that is taken may be one that another host needs for what it has of this VM. */
	list_for_each (d, &vm->disks, node)
		if (!r && vm->lease)
			r = check_record(d, &unused, e);
	if (!r && vm->lease)
		r = lease_begin(vm->lease, e);
	list_for_each (d, &vm->disks, node)
		if (!r)
			r = begin(d, uuid, e);
	return r;
}

int ownership_add(struct vm *vm, const char *uuid, const char *id, struct err *e)
{
	struct vm_disk *d = vm_disk(vm, id);

	return d ? begin(d, uuid, e) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "handover_disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk.h"
#include "lease.h"
#include "owner.h"
#include "vm.h"

/* The first writable disk behind d, or of all if d is NULL; NULL: there is none. */
static struct vm_disk *next_disk(const struct handover_disks *h, const struct vm_disk *d)
{
	struct vm_disk *other;
	bool behind = !d;

	list_for_each (other, &h->vm->disks, node) {
		if (behind && !other->readonly)
			return other;
		behind |= other == d;
	}
	return NULL;
}

static struct owner_record record_of(const struct handover_disks *h, const struct handover_id *id,
				     enum handover_record record)
{
	const bool later = record == RECORD_ACCEPTED;
	const bool named = record == RECORD_OFFERED || record == RECORD_ACCEPTED;
	struct owner_record o = {
		.generation = id->generation + later,
		.state = record == RECORD_OFFERED ? OWNER_OFFERED : OWNER_RUNNING,
	};

	snprintf(o.vm, sizeof(o.vm), "%s", h->uuid);
	snprintf(o.session, sizeof(o.session), "%s", named ? id->session : "");
	owner_this_host(o.host);
	return o;
}

static enum handover_record record_from(const struct handover_disks *h,
					const struct handover_id *id, const struct owner_record *o)
{
	const bool of_session = !strcmp(o->session, id->session);

	if (strcmp(o->vm, h->uuid) || o->generation < id->generation)
		return RECORD_OTHER;
	if (o->generation == id->generation && o->state == OWNER_RUNNING)
		return RECORD_RUNNING;
	if (o->generation == id->generation)
		return of_session ? RECORD_OFFERED : RECORD_OTHER;
	return RECORD_ACCEPTED;
}

static int write_to(struct vm_disk *d, const struct owner_record *o, struct err *e)
{
	int r = owner_write(d->disk, o, e);

	return r ? err_prefix(e, r, "%s", d->id) : 0;
}

static int write_first(void *ctx, const struct handover_id *id, enum handover_record record,
		       struct err *e)
{
	struct vm_disk *d = next_disk(ctx, NULL);
	struct owner_record o = record_of(ctx, id, record);

	return d ? write_to(d, &o, e) : 0;
}

static int write_others(void *ctx, const struct handover_id *id, enum handover_record record,
			struct err *e)
{
	struct vm_disk *d = next_disk(ctx, NULL);
	struct owner_record o = record_of(ctx, id, record);
	int r = 0;

	while (!r && d && (d = next_disk(ctx, d)))
		r = write_to(d, &o, e);
	return r;
}

static int read_first(void *ctx, const struct handover_id *id, enum handover_record *record,
		      struct err *e)
{
	const struct handover_disks *h = ctx;
	struct vm_disk *d = h->vm ? next_disk(h, NULL) : NULL;
	struct owner_record o;
	int r;

	if (!h->vm)
		return err_set(e, -ENODEV, "the VM's disks are not here");
	/* Without a disk nobody can have taken any: only a person's word asks here then. */
	if (!d) {
		*record = RECORD_OFFERED;
		return 0;
	}
	r = owner_read(d->disk, &o, e);
	if (r && r != -ENOENT)
		return r;
	*record = r ? RECORD_OTHER : record_from(ctx, id, &o);
	return 0;
}

/* From the last to the first, which decides: it is free only when all others are. */
static void let_go(void *ctx)
{
	const struct handover_disks *h = ctx;
	const struct list *n, *head = &h->vm->disks;

	if (h->vm->lease)
		lease_let_go(h->vm->lease);
	for (n = head->prev; n != head; n = n->prev)
		if (!list_item(n, struct vm_disk, node)->readonly)
			disk_let_go(list_item(n, struct vm_disk, node)->disk);
}

static int take_locks(void *ctx, struct err *e)
{
	const struct handover_disks *h = ctx;
	struct vm_disk *d = NULL;
	int r = 0;

	while (!r && (d = next_disk(h, d)))
		r = disk_take(d->disk, e);
	if (!r && h->vm->lease)
		r = lease_lock(h->vm->lease, e);
	if (r)
		let_go(ctx);
	return r;
}

static int prove_lock(void *ctx, struct err *e)
{
	struct vm_disk *d = next_disk(ctx, NULL);

	return d ? disk_prove_lock(d->disk, e) : 0;
}

static int sync_disks(void *ctx, struct err *e)
{
	struct vm_disk *d = NULL;
	int r = 0;

	while (!r && (d = next_disk(ctx, d)))
		r = disk_sync(d->disk, e);
	return r;
}

static int write_journal(void *ctx, const struct journal_entry *entry, struct err *e)
{
	const struct handover_disks *h = ctx;

	return journal_write(h->journal, entry, e);
}

static int no_entry(int r, struct err *e)
{
	return r ? err_set(e, r, "this host knows nothing of this migration") : 0;
}

static int last_entry(void *ctx, struct journal_entry *entry, struct err *e)
{
	const struct handover_disks *h = ctx;

	return no_entry(journal_last(h->journal, entry), e);
}

static int find_entry(void *ctx, const char *session, struct journal_entry *entry, struct err *e)
{
	const struct handover_disks *h = ctx;

	return no_entry(journal_find(h->journal, session, entry), e);
}

static int take_lease(void *ctx, const struct handover_id *id, struct err *e)
{
	const struct handover_disks *h = ctx;

	return h->vm->lease ? lease_take(h->vm->lease, id->generation + 1, e)
			    : err_set(e, -ENOTSUP, "the VM has no lease; give --lease");
}

/* Of a destination: only it is named as the session. */
static int who_has_lease(void *ctx, const struct handover_id *id, struct err *e)
{
	const struct handover_disks *h = ctx;
	struct lease_holder holder;
	int r = h->vm && h->vm->lease ? lease_who(h->vm->lease, &holder, e)
				      : err_set(e, -ENOTSUP, "the VM has no lease; give --lease");

	if (r)
		return r;
	if (holder.generation <= id->generation)
		return LEASE_NOBODYS;
	return lease_is(h->vm->lease, &holder, id->session) ? LEASE_HERE : LEASE_ELSEWHERE;
}

const struct handover_ops handover_disks_ops = {
	.write_first = write_first,
	.write_others = write_others,
	.read_first = read_first,
	.take_locks = take_locks,
	.let_go = let_go,
	.prove_lock = prove_lock,
	.sync_disks = sync_disks,
	.journal_write = write_journal,
	.journal_last = last_entry,
	.journal_find = find_entry,
	.lease_take = take_lease,
	.lease_who = who_has_lease,
};

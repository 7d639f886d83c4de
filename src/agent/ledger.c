/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "uuid.h"

void ledger_init(struct ledger *l)
{
	list_init(&l->entries);
}

void ledger_release(struct reservation_entry *r)
{
	if (!r)
		return;
	list_remove(&r->node);
	free(r);
}

void ledger_free(struct ledger *l)
{
	while (!list_empty(&l->entries))
		ledger_release(list_item(l->entries.next, struct reservation_entry, node));
}

struct reservation_entry *ledger_find(struct ledger *l, const char *token)
{
	struct reservation_entry *r;

	list_for_each (r, &l->entries, node)
		if (!strcmp(r->token, token))
			return r;
	return NULL;
}

bool ledger_has_expired(const struct reservation_entry *r, uint64_t now)
{
	return !r->arrives && now >= r->until;
}

/* What others were promised, and how many of them there are. */
struct promised {
	uint64_t memory, resident;
	unsigned n;
	bool same; /* the VM itself was promised room */
};

static struct promised promised(const struct ledger *l, const char *vm)
{
	const struct reservation_entry *r;
	struct promised p = { 0 };

	list_for_each (r, &l->entries, node) {
		p.memory += r->memory;
		p.resident += r->resident;
		p.n++;
		p.same |= !strcmp(r->vm, vm);
	}
	return p;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / MIB;
}

/* Each sum is below 2^63: whoever asks has been refused what is larger than the host. */
static int check_memory(const struct ledger_view *v, const struct promised *p,
			const struct reservation_request *q, struct err *e)
{
	uint64_t taken = v->reserve + v->committed + p->memory;

	if (q->memory > v->memory || q->resident > q->memory)
		return err_set(e, -EBUSY, "the VM has more memory (%.0f MiB) than the host",
			       mib(q->memory));
	if (taken > v->memory || v->memory - taken < q->memory)
		return err_set(e, -EBUSY,
			       "its %.0f MiB of memory have no room: of %.0f MiB %.0f are promised "
			       "or kept in reserve",
			       mib(q->memory), mib(v->memory), mib(taken));
	taken = v->reserve + p->resident;
	if (taken > v->available || v->available - taken < q->resident)
		return err_set(e, -EBUSY,
			       "it has %.0f MiB of memory in use, and of %.0f MiB that are free "
			       "%.0f are promised or kept in reserve",
			       mib(q->resident), mib(v->available), mib(taken));
	return 0;
}

static int check(const struct ledger_view *v, const struct promised *p,
		 const struct reservation_request *q, struct err *e)
{
	if (strcmp(v->state, "up"))
		return err_set(e, -EBUSY, "the host takes no VMs, its state is \"%s\"", v->state);
	if (!v->known)
		return err_set(e, -EBUSY, "the host does not know yet what its VMs have");
	if (v->has_vm)
		return err_set(e, -EBUSY, "the host has a VM of that name");
	if (p->same)
		return err_set(e, -EBUSY, "the host waits for a VM of that name already");
	if (p->n >= v->in_max)
		return err_set(e, -EBUSY, "%u VMs are on their way to the host already", p->n);
	return check_memory(v, p, q, e);
}

int ledger_reserve(struct ledger *l, const struct ledger_view *v,
		   const struct reservation_request *q, uint64_t now,
		   const struct reservation_entry **out, struct err *e)
{
	struct promised p = promised(l, q->vm);
	struct reservation_entry *r;
	int rc = check(v, &p, q, e);

	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	rc = r ? uuid_new(r->token, e) : err_set(e, -ENOMEM, "out of memory");
	if (rc) {
		free(r);
		return rc;
	}
	snprintf(r->vm, sizeof(r->vm), "%s", q->vm);
	snprintf(r->from, sizeof(r->from), "%s", q->from);
	r->memory = q->memory;
	r->resident = q->resident;
	r->vcpus = q->vcpus;
	r->until = now + LEDGER_EXPIRES_S;
	list_append(&l->entries, &r->node);
	*out = r;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "handover.h"
#include "log.h"
#include "loop.h"

enum {
	LOCK_RETRY_MS = 1, /* the source lets go as soon as its token is out */
	WRITE_RETRY_MS = 20,
	LEASE_RETRY_MS = 50, /* whoever did not answer */
};

int handover_destination_expect(struct handover_destination *d, struct err *e)
{
	return handover_journal(&d->h, JOURNAL_EXPECTS, e);
}

/*
 * Before the commit point: never to run this one, and let the source know.  The journal says so to
 * people: without that entry this side is as after a crash, in which it does not run it either.
 * Where the lease may have been given nothing is said.
 */
static int refuse(struct handover_destination *d, struct err *e)
{
	struct err why = *e;

	if (!d->lease_asked && handover_journal(&d->h, JOURNAL_REFUSED, e))
		log_warn("the VM was refused, and the journal cannot say so: %s", e->text);
	d->h.ops->let_go(d->h.ctx);
	if (d->lease_asked)
		return -ESTALE;
	handover_say(&d->h, SECTION_REFUSED, why.text);
	return err_set(e, -ECONNREFUSED, "%s", why.text);
}

int handover_destination_refuse(struct handover_destination *d, const char *sentence)
{
	struct err e;

	err_set(&e, 0, "%s", sentence);
	return refuse(d, &e);
}

/* A lock decides only if it is refused here while the record is this migration's. */
static int find_arbiter(struct handover_destination *d, struct err *e)
{
	enum handover_record record = RECORD_OTHER;
	struct handover *h = &d->h;

	d->seen = true;
	if (h->arbiter == ARBITER_LEASE || h->ops->prove_lock(h->ctx, e) != 1 ||
	    h->ops->read_first(h->ctx, &h->id, &record, e) || record != RECORD_OFFERED)
		return 0;
	h->arbiter = ARBITER_LOCK;
	return handover_journal(h, JOURNAL_PROVEN, e);
}

static int on_offer(struct handover_destination *d, struct err *e)
{
	if (!d->seen && find_arbiter(d, e))
		return refuse(d, e);
	handover_say(&d->h, SECTION_SEEN, "");
	return 0;
}

/* The table of docs/handover.md; 1: all that is left to load is here. */
static int on_message(struct handover_destination *d, const struct handover_message *m,
		      struct err *e)
{
	switch (m->type) {
	case SECTION_OFFER:
		return on_offer(d, e);
	case SECTION_SEAL:
		if (!d->whole)
			return 1;
		handover_say(&d->h, SECTION_READY, "");
		return 0;
	case SECTION_TOKEN:
		d->token = d->whole;
		return 0;
	case SECTION_CANCEL:
		err_set(e, 0, "the source called it off: %s", m->sentence);
		return refuse(d, e);
	case SECTION_ASK:
		/* With an arbiter a late question would discard the last whole copy. */
		if (d->h.arbiter != ARBITER_NONE)
			return 0;
		err_set(e, 0, "the source asked before this side had accepted");
		return refuse(d, e);
	default:
		d->h.connected = false;
		return err_set(e, -ENOTCONN, "the source said %s", handover_message_name(m->type));
	}
}

int handover_destination_serve(struct handover_destination *d, struct section *s, struct err *e)
{
	struct handover_message m;
	int r = handover_take(&d->h, s, &m, e);

	return r ? r : on_message(d, &m, e);
}

void handover_destination_ready(struct handover_destination *d)
{
	d->whole = true;
	handover_say(&d->h, SECTION_READY, "");
}

/* The arbiter shows that the VM is not to be had.  What cannot be read shows nothing. */
static bool may_not(struct handover_destination *d, struct err *e)
{
	enum handover_record record;
	struct handover *h = &d->h;

	switch (h->arbiter) {
	case ARBITER_LOCK:
		if (h->ops->read_first(h->ctx, &h->id, &record, e) || record == RECORD_OFFERED)
			return false;
		err_set(e, 0, "the owner record is not this migration's any more");
		return true;
	case ARBITER_LEASE:
		if (h->ops->lease_who(h->ctx, &h->id, e) != LEASE_ELSEWHERE)
			return false;
		d->lease_asked = false;
		err_set(e, 0, "the lease was given to another host");
		return true;
	default:
		return false;
	}
}

static int by_lease(struct handover_destination *d, struct err *e)
{
	int r;

	d->lease_asked = true;
	r = d->h.ops->lease_take(d->h.ctx, &d->h.id, e);
	if (r)
		return r < 0 ? -EAGAIN : 0;
	d->lease_asked = false;
	err_set(e, 0, "the lease was given to another host");
	return refuse(d, e);
}

/* A message, a new connection, or with the token in hand this wait. */
static int attend(struct handover_destination *d, int wait_ms, struct err *e)
{
	struct handover_message m;
	struct handover *h = &d->h;
	int r;

	if (!h->connected) {
		r = h->reconnect(h->reconnect_arg, h->ch, e);
		h->connected = !r;
		return r == -ECANCELED ? r : 0;
	}
	r = d->token ? handover_wait(h->ch, wait_ms) : 1;
	if (r == 1)
		r = handover_hear(h, &m, e) ?: on_message(d, &m, e);
	return r == -ENOTCONN ? 0 : r;
}

/* Behind a write that failed: -ECANCELED, or once more. */
static int try_again(struct handover_destination *d, struct err *e)
{
	const struct channel nobody = { .fd = -1, .cancel_fd = d->h.ch->cancel_fd };

	return handover_wait(&nobody, WRITE_RETRY_MS) < 0 ? err_prefix(e, -ECANCELED, "called off")
							  : 0;
}

static int write_commit(struct handover *h, struct err *e)
{
	return h->arbiter == ARBITER_LOCK ? h->ops->write_first(h->ctx, &h->id, RECORD_ACCEPTED, e)
					  : handover_journal(h, JOURNAL_ACCEPTED, e);
}

/* Though it was not written for sure. */
static bool looks_accepted(struct handover *h)
{
	enum handover_record record = RECORD_ACCEPTED;
	struct journal_entry last;
	struct err e;

	if (h->arbiter == ARBITER_LOCK)
		return h->ops->read_first(h->ctx, &h->id, &record, &e) || record != RECORD_OFFERED;
	return h->ops->journal_last(h->ctx, &last, &e) || last.state == JOURNAL_ACCEPTED;
}

/*
 * It is this side's when it is durable, and not if it is not there; in between, neither side could
 * go on.  A source that is there goes on then.  If none is, this may be the last copy: -EAGAIN.
 */
static int by_writing(struct handover_destination *d, struct err *e)
{
	int r = write_commit(&d->h, e);
	struct err why;

	while (r && looks_accepted(&d->h)) {
		if (try_again(d, e))
			return -EIO;
		r = write_commit(&d->h, e);
	}
	if (!r)
		return 0;
	why = *e;
	d->h.ops->let_go(d->h.ctx);
	r = attend(d, WRITE_RETRY_MS, e);
	if (r || !d->h.connected)
		return r ? r : -EAGAIN;
	*e = why;
	return refuse(d, e);
}

/* The commit point: one durable step in the one place that decides. */
static int commit(struct handover_destination *d, struct err *e)
{
	enum handover_record record;
	struct handover *h = &d->h;
	int r;

	switch (h->arbiter) {
	case ARBITER_LOCK:
		r = h->ops->read_first(h->ctx, &h->id, &record, e);
		if (r)
			return -EAGAIN;
		if (record == RECORD_OFFERED)
			return by_writing(d, e);
		err_set(e, 0, "the owner record is not this migration's any more");
		return refuse(d, e);
	case ARBITER_LEASE:
		return by_lease(d, e);
	default:
		return by_writing(d, e);
	}
}

static int write_records(struct handover *h, struct err *e)
{
	int r = 0;

	if (h->arbiter != ARBITER_LOCK)
		r = h->ops->write_first(h->ctx, &h->id, RECORD_ACCEPTED, e);
	return r ? r : h->ops->write_others(h->ctx, &h->id, RECORD_ACCEPTED, e);
}

/*
 * Behind the commit point: the VM is this side's, but it does not run before its records say so.
 * Nobody else has it, so this is tried until it is so.  The journal may stay behind where it does
 * not decide, as after a crash.
 */
static int finish(struct handover_destination *d, struct err *e)
{
	struct handover *h = &d->h;

	for (bool told = false; write_records(h, e); told = true) {
		if (!told)
			log_warn("the VM was taken and cannot run yet, it is tried again: %s",
				 e->text);
		if (try_again(d, e))
			return err_prefix(e, -EIO,
					  "the VM was taken and did not run; start it here anew");
	}
	if (h->arbiter != ARBITER_NONE && handover_journal(h, JOURNAL_ACCEPTED, e))
		log_warn("the VM was taken, and the journal cannot say so: %s", e->text);
	return 0;
}

/* -EAGAIN: not yet, no lock is held. */
static int take(struct handover_destination *d, struct err *e)
{
	int r;

	if (!d->tried_ns)
		d->tried_ns = loop_now_ns();
	r = d->h.ops->take_locks(d->h.ctx, e);
	if (r == -EAGAIN)
		return r;
	if (r)
		return refuse(d, e);
	d->locked_ns = loop_now_ns();
	r = commit(d, e);
	if (!r)
		r = finish(d, e);
	if (r)
		d->h.ops->let_go(d->h.ctx);
	return r;
}

int handover_destination_await_token(struct handover_destination *d, struct err *e)
{
	int r;

	do {
		/* A lock is free without a token only if the source is dead. */
		r = -EAGAIN;
		if (d->token || (d->h.arbiter == ARBITER_LOCK && !d->h.connected))
			r = take(d, e);
		if (r == -EAGAIN && may_not(d, e))
			r = refuse(d, e);
		if (r == -EAGAIN)
			r = attend(d, d->lease_asked ? LEASE_RETRY_MS : LOCK_RETRY_MS, e)
				    ?: -EAGAIN;
		if (r == -ECANCELED)
			r = refuse(d, e);
	} while (r == -EAGAIN);
	if (!r)
		return HANDOVER_RUN;
	return r == -ECONNREFUSED ? HANDOVER_REFUSED : HANDOVER_LOST;
}

void handover_destination_accepted(struct handover_destination *d)
{
	handover_say(&d->h, SECTION_ACCEPTED, "");
}

/* Whether this side has accepted: 1, 0, or -errno: it cannot be seen now. */
static int accepted(const struct handover_ops *ops, void *ctx, const struct journal_entry *entry,
		    struct err *e)
{
	enum handover_record record;
	struct handover_id id = { .generation = entry->generation };
	int r;

	memcpy(id.session, entry->session, sizeof(id.session));
	if (entry->state == JOURNAL_ACCEPTED || entry->state == JOURNAL_REFUSED)
		return entry->state == JOURNAL_ACCEPTED;
	switch (entry->arbiter) {
	case ARBITER_LOCK:
		r = ops->read_first(ctx, &id, &record, e);
		return r ? r : record == RECORD_ACCEPTED;
	case ARBITER_LEASE:
		r = ops->lease_who(ctx, &id, e);
		return r < 0 ? r : r == LEASE_HERE;
	default:
		return 0;
	}
}

int handover_answer(const struct handover_ops *ops, void *ctx, struct channel *ch, struct err *e)
{
	struct handover_message m;
	struct journal_entry entry;
	struct section s;
	int r = section_begin(&s, ch, e);

	if (!r)
		r = handover_receive(&s, &m, e);
	if (!r)
		r = ops->journal_find(ctx, m.session, &entry, e);
	if (!r && entry.generation != m.generation + (entry.state == JOURNAL_ACCEPTED))
		r = err_set(e, -EBADMSG, "%s is of another generation",
			    handover_message_name(m.type));
	if (!r)
		r = accepted(ops, ctx, &entry, e);
	if (r < 0)
		return r;
	m.type = r ? SECTION_ACCEPTED : SECTION_REFUSED;
	m.arbiter = ARBITER_NONE;
	snprintf(m.sentence, sizeof(m.sentence), "%s", r ? "" : "it did not come to be accepted");
	if (!r && entry.state != JOURNAL_REFUSED) {
		entry.state = JOURNAL_REFUSED;
		r = ops->journal_write(ctx, &entry, e);
		if (r)
			return r;
	}
	return handover_send(ch, &m, e);
}

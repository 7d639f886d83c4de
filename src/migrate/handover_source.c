/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "handover.h"
#include "log.h"

enum { SETTLE_MS = 100 }; /* between two looks at the lock while the connection is up */

/* The first record decides, so it is written first. */
static int write_records(struct handover *h, enum handover_record record, struct err *e)
{
	int r = h->ops->write_first(h->ctx, &h->id, record, e);

	return r ? r : h->ops->write_others(h->ctx, &h->id, record, e);
}

/* The VM is the source's, locks in hand. */
static int goes_on(struct handover_source *s, struct err *e)
{
	int r = write_records(&s->h, RECORD_RUNNING, e);

	return r ? r : handover_journal(&s->h, JOURNAL_RUNNING, e);
}

/* The next message before the token, which must be this one. */
static int await(struct handover_source *s, enum section_type type, struct handover_message *m,
		 struct err *e)
{
	int r = handover_hear(&s->h, m, e);

	if (r || m->type == type)
		return r;
	if (m->type == SECTION_REFUSED)
		return err_set(e, -ECONNREFUSED, "the destination refuses: %s", m->sentence);
	s->h.connected = false;
	return err_set(e, -ENOTCONN, "the destination said %s instead of %s",
		       handover_message_name(m->type), handover_message_name(type));
}

static int write_offer(struct handover_source *s, struct err *e)
{
	int r = handover_journal(&s->h, JOURNAL_OFFERED, e);

	if (!r)
		r = write_records(&s->h, RECORD_OFFERED, e);
	s->offered = !r;
	return r;
}

int handover_source_offer(struct handover_source *s, struct err *e)
{
	struct handover_message m;
	int r = s->offered ? 0 : write_offer(s, e);

	if (r)
		return r;
	handover_say(&s->h, SECTION_OFFER, "");
	r = await(s, SECTION_SEEN, &m, e);
	if (r)
		return r;
	if ((m.arbiter == ARBITER_LEASE) != (s->h.arbiter == ARBITER_LEASE))
		return err_set(e, -EBADMSG,
			       "only one side has a lease; give --lease on both sides or on none");
	s->h.arbiter = m.arbiter;
	return handover_journal(&s->h, JOURNAL_ANSWERED, e);
}

int handover_source_seal(struct handover_source *s, struct err *e)
{
	struct handover_message m;
	int r = s->h.ops->sync_disks(s->h.ctx, e);

	if (r)
		return r;
	handover_say(&s->h, SECTION_SEAL, "");
	return await(s, SECTION_READY, &m, e);
}

int handover_source_take_back(struct handover_source *s, struct err *e)
{
	return goes_on(s, e);
}

void handover_source_cancelled(struct handover_source *s, const char *sentence)
{
	handover_say(&s->h, SECTION_CANCEL, sentence);
}

/* Below: a token may be out.  Outcomes are HANDOVER_RUN, HANDOVER_GIVEN, and 0: not known yet. */

/* A journal that cannot be written still says `answered`, which a cold start refuses as well. */
static int given(struct handover_source *s)
{
	struct err e;

	if (handover_journal(&s->h, JOURNAL_GIVEN, &e))
		log_warn("the VM was given away, and the journal cannot say so: %s", e.text);
	return HANDOVER_GIVEN;
}

static int run_again(struct handover_source *s, struct err *e)
{
	if (s->h.ops->take_locks(s->h.ctx, e))
		return 0;
	if (!goes_on(s, e))
		return HANDOVER_RUN;
	s->h.ops->let_go(s->h.ctx);
	return 0;
}

/* The record, lock in hand, shows that nobody has run the VM since. */
static bool is_ours(enum handover_record record)
{
	return record == RECORD_OFFERED || record == RECORD_RUNNING;
}

static int by_lock(struct handover_source *s, struct err *e)
{
	enum handover_record record = RECORD_OTHER;
	struct handover *h = &s->h;

	if (h->ops->take_locks(h->ctx, e))
		return 0;
	if (!h->ops->read_first(h->ctx, &h->id, &record, e) && is_ours(record))
		return run_again(s, e);
	h->ops->let_go(h->ctx);
	return record == RECORD_ACCEPTED ? given(s) : 0;
}

static int by_lease(struct handover_source *s, struct err *e)
{
	int r = s->h.ops->lease_take(s->h.ctx, &s->h.id, e);

	if (r < 0)
		return 0;
	return r ? run_again(s, e) : given(s);
}

static int decide(struct handover_source *s, struct err *e)
{
	enum handover_resolve word = atomic_exchange(&s->resolve, RESOLVE_NOT);
	int r = 0;

	if (s->refused)
		r = run_again(s, e);
	else if (s->h.arbiter == ARBITER_LEASE)
		r = by_lease(s, e);
	else if (s->h.arbiter == ARBITER_LOCK || word == RESOLVE_RUN)
		r = by_lock(s, e);
	return !r && word == RESOLVE_DISCARD ? given(s) : r;
}

static void hear_word(struct handover_source *s)
{
	uint64_t words;

	if (read(s->resolve_fd, &words, sizeof(words)) < 0)
		log_debug("the word of resolve was taken before");
}

/* What the destination says: at once while it should, else now and then. */
static int hear(struct handover_source *s, struct err *e)
{
	struct handover_message m;
	int r = s->undecided ? handover_wait(s->h.ch, SETTLE_MS) : 1;

	if (r == 1)
		r = handover_hear(&s->h, &m, e) ?: 1;
	if (r == -ECANCELED)
		hear_word(s);
	if (r != 1)
		return 0;
	if (m.type == SECTION_ACCEPTED)
		return given(s);
	s->refused = m.type == SECTION_REFUSED && s->h.arbiter != ARBITER_LEASE;
	s->h.connected = false;
	return 0;
}

static void ask(struct handover_source *s, struct err *e)
{
	int r = s->h.reconnect(s->h.reconnect_arg, s->h.ch, e);

	if (r == -ECANCELED)
		hear_word(s);
	if (r)
		return;
	s->h.connected = true;
	s->h.ch->cancel_fd = s->resolve_fd;
	handover_say(&s->h, SECTION_ASK, "");
}

static int settle(struct handover_source *s, struct err *e)
{
	const struct channel nobody = { .fd = -1, .cancel_fd = s->resolve_fd };
	int r;

	do {
		if (atomic_load(&s->leave))
			return HANDOVER_UNDECIDED;
		r = s->h.connected ? hear(s, e) : 0;
		if (r || (s->h.connected && !s->undecided))
			continue;
		s->undecided = true;
		r = decide(s, e);
		if (!r && s->refused && handover_wait(&nobody, SETTLE_MS))
			hear_word(s);
		else if (!r && !s->refused && !s->h.connected)
			ask(s, e);
	} while (!r);
	s->undecided = false;
	return r;
}

int handover_source_commit(struct handover_source *s, struct err *e)
{
	if (handover_wait(s->h.ch, 0) == -ECANCELED)
		return err_set(e, -ECANCELED, "it was called off");
	s->h.ch->cancel_fd = s->resolve_fd;
	handover_say(&s->h, SECTION_TOKEN, "");
	s->h.ops->let_go(s->h.ctx);
	return settle(s, e);
}

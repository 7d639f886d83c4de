/* SPDX-License-Identifier: Apache-2.0 */
/* The side that a VM leaves, from top to bottom. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "converge.h"
#include "handover.h"
#include "lease.h"
#include "log.h"
#include "loop.h"
#include "owner.h"
#include "section.h"
#include "socket_io.h"
#include "source.h"
#include "vm.h"

enum {
	RATE_BYTES_MIN = 1 << 20, /* a shorter round says nothing of the rate */
	CLOSE_MS = 3000, /* for the other side, to hear that it is called off */
};

/* With the lock: when a round has to end.  If it may be late, the first one goes on. */
static uint64_t end_ns(const struct migration *m)
{
	return m->goals.late && !m->nrounds
		       ? UINT64_MAX
		       : m->began_ns[PHASE_CONNECT] + m->goals.deadline_s * UINT64_C(1000000000);
}

/* Before a round, or the rest of one.  -ETIME: there is no time for it. */
static int look_at_goals(struct source *s, struct err *e)
{
	struct migration *m = s->m;
	uint64_t end;
	unsigned n, deadline_s;

	pthread_mutex_lock(&m->lock);
	n = source_streams(m);
	end = end_ns(m);
	deadline_s = m->goals.deadline_s;
	ram_sender_set_end(m->ram, end);
	pthread_mutex_unlock(&m->lock);
	if (loop_now_ns() < end)
		return n == m->ndata ? 0 : source_rearrange(s, n, e);
	return m->nrounds
		       ? -ETIME
		       : err_set(e, -ETIMEDOUT,
				 "after %u s there are %" PRIu64
				 " MiB to be sent for the first time; a higher bandwidth or a "
				 "later deadline is needed",
				 deadline_s, ram_sender_pending(m->ram) * GUEST_PAGE_BYTES / MIB);
}

static void note_round(struct source *s, const struct ram_round *round)
{
	struct migration *m = s->m;
	uint64_t rate = round->duration_ns ? round->bytes * 1000000000 / round->duration_ns : 0;

	s->last = *round;
	if (m->phase == PHASE_COPY)
		migration_enter(m, PHASE_ROUNDS);
	pthread_mutex_lock(&m->lock);
	m->round[m->nrounds++ % MIGRATION_ROUNDS_KEPT] =
		(struct migration_round){ .sent = *round, .percent = migration_throttle(m) };
	if (round->bytes >= RATE_BYTES_MIN)
		m->rate = MAX(m->rate, rate);
	pthread_mutex_unlock(&m->lock);
}

/* A guest that does not answer holds nobody up. */
static int begin_hints(struct source *s, struct err *e)
{
	const struct migration_control *c = &s->m->control;
	int r;

	if (!c->hint || !c->hint(c->arg, MIGRATION_HINT_CAN))
		return 0;
	r = ram_sender_expect_hints(s->m->ram, e);
	s->hints = !r && c->hint(c->arg, MIGRATION_HINT_ON);
	return r;
}

static void end_hints(struct source *s)
{
	const struct migration_control *c = &s->m->control;

	ram_sender_end_hints(s->m->ram);
	if (s->hints)
		c->hint(c->arg, MIGRATION_HINT_OFF);
	s->hints = false;
}

/* One more round, or as much of it as there is time for; a lost connection is no failure. */
static int one_round(struct source *s, struct err *e)
{
	struct ram_round round;

	for (;;) {
		int r = look_at_goals(s, e);

		if (r)
			return r == -ETIME ? 0 : r;
		r = ram_sender_round(s->m->ram, &round, e);
		end_hints(s);
		if (!r) {
			note_round(s, &round);
			return 0;
		}
		if (r == -ENOTCONN)
			r = source_reconnect(s, e);
		if (r && r != -ETIME)
			return r;
	}
}

/* What was written since the last round began, and what that means. */
static int look_ahead(struct source *s, struct outlook *o, struct migration_goals *goals,
		      struct err *e)
{
	struct migration *m = s->m;
	uint64_t bytes;
	int r = ram_sender_harvest(m->ram, e);

	if (r)
		return r;
	*o = (struct outlook){ .before = s->last.pending,
			       .pending = ram_sender_pending(m->ram),
			       .percent = migration_throttle(m) };
	/* Not every page is sent whole. */
	bytes = o->before ? o->pending * s->last.bytes / o->before : 0;
	pthread_mutex_lock(&m->lock);
	*goals = m->goals;
	o->limit_ns = goals->blackout_ms * UINT64_C(1000000);
	o->send_ns = m->rate ? bytes * 1000000000 / m->rate : 0;
	if (s->last.duration_ns)
		m->round[migration_last_round(m)].written_per_s = o->pending * 1000000000 /
								  s->last.duration_ns;
	m->blackout_ns = converge_blackout_ns(o);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/* *enough: the guest may stop. Otherwise there has to be another round. */
static int judge(struct source *s, bool *enough, struct err *e)
{
	struct migration *m = s->m;
	struct migration_goals goals;
	struct outlook o;
	int r = look_ahead(s, &o, &goals, e);

	if (r)
		return r;
	*enough = converge_is_enough(&o);
	if (*enough)
		return 0;
	if ((loop_now_ns() - m->began_ns[PHASE_CONNECT]) / 1000000000 < goals.deadline_s) {
		source_throttle(s, converge_percent(&o));
		return 0;
	}
	*enough = goals.late || converge_blackout_ns(&o) <= o.limit_ns;
	return *enough ? 0
		       : err_set(e, -ETIMEDOUT,
				 "the guest writes too much: after %u s it would still stand still "
				 "for %" PRIu64 " ms instead of %u",
				 goals.deadline_s, converge_blackout_ns(&o) / 1000000,
				 goals.blackout_ms);
}

/* Rounds until there were enough; at least one, in all. */
static int copy(struct source *s, struct err *e)
{
	bool enough = false;
	int r = s->m->nrounds ? judge(s, &enough, e) : 0;

	while (!r && !enough) {
		r = one_round(s, e);
		if (!r)
			r = judge(s, &enough, e);
	}
	return r;
}

static int offer(struct source *s, struct err *e)
{
	int r = handover_source_offer(&s->hand, e);

	while (r == -ENOTCONN) {
		r = source_reconnect(s, e);
		if (!r)
			r = handover_source_offer(&s->hand, e);
	}
	return r;
}

/* As a stream has them; who reads knows by SEAL that there are no more. */
static int send_states(struct source *s, const struct state_buf *states, struct err *e)
{
	struct state_view v = { states->data, states->len };
	struct iovec iov[2];
	const uint8_t *payload;
	uint64_t len;
	int r = 0;

	while (!r && state_view_take_le(&v, 8, &len) && state_view_take(&v, len, &payload)) {
		iov[1] = (struct iovec){ (void *)(uintptr_t)payload, len };
		r = section_write(&s->m->talk, SECTION_DEVICE, iov, 2, e);
	}
	return r;
}

/* The guest stands still: the rest of it goes over. */
static int stop(struct source *s, struct err *e)
{
	const struct migration_control *c = &s->m->control;
	struct state_buf states = { 0 };
	struct ram_round round;
	int r = c->stop(c->arg, s->versions, e);

	if (r)
		return r;
	s->stopped = true;
	migration_enter(s->m, PHASE_LAST_PAGES);
	r = ram_sender_finish(s->m->ram, &round, e);
	if (r)
		return r;
	pthread_mutex_lock(&s->m->lock);
	s->m->last = round;
	pthread_mutex_unlock(&s->m->lock);
	migration_enter(s->m, PHASE_DEVICES);
	r = c->saved(c->arg, &states, e);
	if (!r)
		r = send_states(s, &states, e);
	state_buf_free(&states);
	if (r)
		return r;
	migration_enter(s->m, PHASE_SEAL);
	return handover_source_seal(&s->hand, e);
}

/* How long the guest stood still, if it did; that is known from now on. */
static void note_blackout(struct source *s)
{
	struct migration *m = s->m;

	pthread_mutex_lock(&m->lock);
	m->blackout_ns = s->stopped ? loop_now_ns() - m->began_ns[PHASE_STOP] : 0;
	pthread_mutex_unlock(&m->lock);
}

/* 0: it moved. */
static int commit(struct source *s, struct err *e)
{
	struct migration *m = s->m;
	int r;

	pthread_mutex_lock(&m->lock);
	m->past_token = true;
	pthread_mutex_unlock(&m->lock);
	r = handover_source_commit(&s->hand, e);
	note_blackout(s);
	s->decided = r == HANDOVER_RUN;
	s->left = r == HANDOVER_UNDECIDED;
	if (r == HANDOVER_GIVEN)
		return 0;
	if (s->left)
		return err_set(e, -ESHUTDOWN, "it was not settled where the VM runs");
	return r == HANDOVER_RUN ? err_set(e, -EIO,
					   "the destination did not take the VM over; it goes on "
					   "here")
				 : r;
}

static void go_on(struct source *s)
{
	const struct migration_control *c = &s->m->control;

	if (s->stopped)
		c->go_on(c->arg);
	note_blackout(s);
}

/* The other side hears of it and closes.  A data connection that ends before that would look like
 * one that is lost, and as if its source came again. */
static void call_off(struct source *s, const char *why)
{
	struct pollfd p = { .fd = s->m->talk.fd, .events = POLLIN };
	uint64_t limit_ns = loop_now_ns() + CLOSE_MS * UINT64_C(1000000), now_ns;
	char unread[256];

	handover_source_cancelled(&s->hand, why);
	if (!s->hand.h.connected)
		return;
	do {
		now_ns = loop_now_ns();
	} while (now_ns < limit_ns && poll(&p, 1, (int)((limit_ns - now_ns) / 1000000)) > 0 &&
		 socket_receive(p.fd, unread, sizeof(unread), MSG_DONTWAIT) > 0);
}

/*
 * The VM is the source's as before; this is tried until it is so, or the process ends, in which
 * the guest does not run without it.  A destination that has lost its
 * connection hears of it on a new one: without an arbiter it would wait for ever.
 */
static void take_back(struct source *s, bool cut, const char *why)
{
	struct handover *h = &s->hand.h;
	struct err e;

	for (bool told = false; handover_source_take_back(&s->hand, &e); told = true) {
		if (!told)
			log_warn("the VM cannot be taken back yet, it is tried again: %s", e.text);
		s->left = atomic_load(&s->hand.leave);
		if (s->left)
			break;
		source_pause(SOURCE_PAUSE_MS, s->hand.resolve_fd, &e);
	}
	if (!s->left)
		go_on(s);
	if (cut && s->versions)
		h->connected = !source_settle(s, h->ch, &e);
	call_off(s, why);
}

/* Before the offer there is nothing to take back, and nothing is known to write. */
static void go_on_here(struct source *s, int r, const char *why)
{
	struct migration *m = s->m;

	pthread_mutex_lock(&m->lock);
	m->past_token = false;
	pthread_mutex_unlock(&m->lock);
	if (s->left)
		return;
	if (s->decided) {
		go_on(s);
	} else if (m->phase >= PHASE_OFFER) {
		take_back(s, r == -ENOTCONN || !s->hand.h.connected, why);
	} else {
		go_on(s);
		call_off(s, why);
	}
}

static int migrate(struct source *s, struct err *e)
{
	struct migration *m = s->m;
	int r = source_connect(s, "begin", e);

	if (r)
		return r;
	migration_enter(m, PHASE_COPY);
	r = m->control.log(m->control.arg, true, e);
	if (!r)
		r = ram_sender_start(m->ram, e);
	if (!r)
		r = begin_hints(s, e);
	if (!r)
		r = copy(s, e);
	end_hints(s);
	if (r)
		return r;
	migration_enter(m, PHASE_OFFER);
	r = offer(s, e);
	if (!r)
		r = copy(s, e);
	if (!r) {
		migration_enter(m, PHASE_STOP);
		r = stop(s, e);
	}
	if (r)
		return r;
	migration_enter(m, PHASE_HAND_OVER);
	return commit(s, e);
}

/* How often the VM has begun to run: its first writable disk says so, and a VM that has none is
 * known by what it was when it came here. */
static int find_generation(struct source *s, struct err *e)
{
	struct owner_record record;
	struct journal_entry came;
	struct vm_disk *d, *first = NULL;
	int r;

	list_for_each (d, &s->m->vm->disks, node) {
		if (!d->readonly && !first)
			first = d;
	}
	if (first) {
		r = owner_read(first->disk, &record, e);
		s->hand.h.id.generation = r ? 0 : record.generation;
		return r;
	}
	r = journal_read(s->m->uuid, JOURNAL_DESTINATION, &came, e);
	s->hand.h.id.generation = r ? 1 : came.generation + (came.state == JOURNAL_ACCEPTED);
	return r == -ENOENT ? 0 : r;
}

static int prepare(struct source *s, struct err *e)
{
	struct migration *m = s->m;
	struct handover *h = &s->hand.h;
	struct ram_sender *ram;
	int r = migration_open_journal(m, h, JOURNAL_SOURCE, e);

	if (!r)
		r = tcp_host(m->url, s->host, e);
	if (!r)
		r = find_generation(s, e);
	/* What the destination takes is the next one of both. */
	if (!r && m->vm->lease)
		r = lease_raise(m->vm->lease, &h->id.generation, e);
	if (r)
		return r;
	snprintf(h->peer, sizeof(h->peer), "%.255s", m->url);
	h->ch = &m->talk;
	h->connected = true;
	h->reconnect = source_settle;
	h->reconnect_arg = s;
	r = ram_sender_new(&ram, m->vm, e);
	pthread_mutex_lock(&m->lock);
	m->ndata = source_streams(m);
	m->memory_bytes = guest_mem_bytes(m->vm->mem);
	if (!r) {
		m->ram = ram;
		ram_sender_set_end(ram, end_ns(m));
		ram_sender_set_bandwidth(ram, m->goals.bandwidth);
		ram_sender_set_compress(ram, m->goals.compress);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* A person may say where the VM runs, as long as nobody else knows. */
static int listen_to_resolve(struct migration *m, struct handover_source *hand, struct err *e)
{
	hand->resolve_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hand->resolve_fd < 0)
		return err_set(e, -errno, "no eventfd: %s", strerror(errno));
	pthread_mutex_lock(&m->lock);
	m->hand = hand;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/* After a failure the VM is here as before. */
int migration_source(struct migration *m, struct err *e)
{
	struct source s = { .m = m };
	struct ram_sender *ram;
	struct err unused;
	int r = listen_to_resolve(m, &s.hand, e);

	if (!r)
		r = prepare(&s, e);
	if (!r)
		r = migrate(&s, e);
	if (!r)
		migration_enter(m, PHASE_END);
	source_throttle(&s, 0);
	if (r)
		go_on_here(&s, r, e->text);
	migration_close(m);
	pthread_mutex_lock(&m->lock);
	m->hand = NULL;
	m->left = s.left;
	ram = TAKE(m->ram);
	if (ram)
		m->counted = *ram_sender_progress(ram);
	pthread_mutex_unlock(&m->lock);
	if (ram)
		ram_sender_stop(ram);
	if (r && !s.left)
		m->control.log(m->control.arg, false, &unused);
	ram_sender_free(ram);
	cleanup_fd(&s.hand.resolve_fd);
	json_decref(s.versions);
	return r;
}

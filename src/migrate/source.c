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
#include "devices.h"
#include "encodings.h"
#include "handover.h"
#include "hello.h"
#include "lease.h"
#include "log.h"
#include "loop.h"
#include "migration_internal.h"
#include "owner.h"
#include "section.h"
#include "tcp.h"
#include "vm.h"

enum {
	PAUSE_FIRST_MS = 50, /* before the next attempt to connect */
	PAUSE_LAST_MS = 2000,
	STREAMS_DEFAULT = 1,
	RATE_BYTES_MIN = 1 << 20, /* a shorter round says nothing of the rate */
	CLOSE_MS = 3000, /* for the other side, to hear that it is called off */
};

struct source {
	struct migration *m;
	char host[TCP_HOST_MAX]; /* whom a certificate must name */
	struct handover_source hand;
	json_t *versions; /* of states, that the other side knows */
	struct ram_round last; /* while the guest runs */
	bool stopped;
	bool decided; /* behind the token: it is known who has the VM, and written */
	bool left; /* neither: the process ends before that */
};

static int pause_ms(int ms, int cancel_fd, struct err *e)
{
	struct pollfd p = { .fd = cancel_fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0 ? err_set(e, -ECANCELED, "it was called off") : 0;
}

static int connect_one(struct source *s, struct channel *ch, json_t *hello, struct err *e)
{
	struct migration *m = s->m;
	int r;

	ch->silence_ms = MIGRATION_SILENCE_MS;
	r = migration_connect(ch, m->url, m->tls, s->host, e);
	if (r)
		return r;
	json_object_set_new(hello, "session", json_string(m->session));
	return hello_begin(ch, hello, e);
}

/* Of states; what cannot be written for it is refused before anything else goes there. */
static int take_versions(struct source *s, const json_t *versions, struct err *e)
{
	json_auto_t *vm = json_loads(s->m->vm_hello, 0, NULL);
	json_auto_t *blockers = json_array();

	if (!json_is_object(versions))
		return err_set(e, -EBADMSG, "the destination does not say what it can read");
	devices_check_versions(json_object_get(vm, "records"), versions, blockers);
	if (json_array_size(blockers))
		return migration_refuse(blockers, e);
	s->versions = json_deep_copy(versions);
	return s->versions ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* What the destination says of itself. */
static int take_answer(struct source *s, const json_t *answer, struct err *e)
{
	char refused[400], host[TLS_IDENTITY_MAX];
	int r = 0;

	hello_copy_text(answer, "refused", refused, sizeof(refused));
	if (*refused)
		return err_set(e, -ECONNREFUSED, "the destination refuses: %s", refused);
	if (!s->versions) {
		r = take_versions(s, json_object_get(answer, "versions"), e);
		ram_sender_allow(s->m->ram, encodings_of(answer));
	}
	if (r)
		return r;
	hello_copy_text(answer, "host", host, sizeof(host));
	migration_know_peer(s->m, host, s->m->tls ? s->host : "");
	return 0;
}

/* The first of a session, which brings the VM's configuration, or one after a loss. */
static int connect_talk(struct source *s, const char *role, struct err *e)
{
	struct migration *m = s->m;
	json_auto_t *hello = json_pack("{s:s, s:s, s:s, s:i, s:b, s:I}", "role", role, "godwit",
				       GODWIT_VERSION, "vm", m->uuid, "streams", (int)m->ndata,
				       "paused", m->paused, "generation",
				       (json_int_t)s->hand.h.id.generation);
	const bool first = !strcmp(role, "begin");
	json_auto_t *vm = first ? json_loads(m->vm_hello, 0, NULL) : NULL;
	json_auto_t *answer = NULL;
	int r;

	if (first)
		json_object_update(hello, vm);
	r = connect_one(s, &m->talk, hello, e);
	if (first && !r) {
		migration_enter(m, PHASE_HELLO);
		m->talk.silence_ms = MIGRATION_BUILD_MS;
	}
	if (!r)
		r = hello_await_answer(&m->talk, &answer, e);
	m->talk.silence_ms = MIGRATION_SILENCE_MS;
	return r ? r : take_answer(s, answer, e);
}

static int connect_all(struct source *s, const char *role, struct err *e)
{
	struct channel *data[MIGRATION_STREAMS_MAX];
	struct migration *m = s->m;
	int r;

	m->talk.cancel_fd = m->cancel_fd;
	r = connect_talk(s, role, e);
	for (unsigned i = 0; !r && i < m->ndata; i++) {
		json_auto_t *hello = json_pack("{s:s, s:i}", "role", "data", "index", (int)i);

		m->data[i].cancel_fd = m->cancel_fd;
		r = connect_one(s, &m->data[i], hello, e);
		data[i] = &m->data[i];
	}
	return r ? r : ram_sender_attach(m->ram, data, m->ndata, e);
}

/* The vCPUs are slowed down by that much from now on. */
static void throttle(struct source *s, unsigned percent)
{
	struct migration *m = s->m;

	if (percent == migration_throttle(m))
		return;
	m->control.throttle(m->control.arg, percent);
	pthread_mutex_lock(&m->lock);
	m->step[m->nsteps++ % MIGRATION_STEPS_KEPT] =
		(struct migration_step){ .at_ns = loop_now_ns(), .percent = percent };
	pthread_mutex_unlock(&m->lock);
}

static int reconnect(struct source *s, struct err *e)
{
	uint64_t limit = loop_now_ns() + MIGRATION_RECONNECT_S * UINT64_C(1000000000);
	int ms = PAUSE_FIRST_MS, r;

	throttle(s, 0);
	do {
		migration_close(s->m);
		r = pause_ms(ms, s->m->cancel_fd, e);
		if (!r)
			r = connect_all(s, "again", e);
		ms = MIN(2 * ms, PAUSE_LAST_MS);
	} while (r == -ENOTCONN && loop_now_ns() < limit);
	s->hand.h.connected = !r;
	pthread_mutex_lock(&s->m->lock);
	s->m->reconnects++;
	pthread_mutex_unlock(&s->m->lock);
	return r == -ENOTCONN ? err_prefix(e, -EIO, "the connection did not come back in %d s",
					   MIGRATION_RECONNECT_S)
			      : r;
}

/* After the token; only the hand-over goes on, and it cannot be called off. */
static int settle_again(void *arg, struct channel *ch, struct err *e)
{
	struct source *s = arg;
	int r;

	channel_close(ch);
	ch->cancel_fd = s->hand.resolve_fd;
	r = pause_ms(PAUSE_LAST_MS / 4, s->hand.resolve_fd, e);
	return r ? r : connect_talk(s, "settle", e);
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

/* One more round; a lost connection is no failure. */
static int one_round(struct source *s, struct err *e)
{
	struct ram_round round;
	int r = ram_sender_round(s->m->ram, &round, e);

	while (r == -ENOTCONN) {
		r = reconnect(s, e);
		if (!r)
			r = ram_sender_round(s->m->ram, &round, e);
	}
	if (!r)
		note_round(s, &round);
	return r;
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
		throttle(s, converge_percent(&o));
		return 0;
	}
	*enough = goals.late;
	return goals.late ? 0
			  : err_set(e, -ETIMEDOUT,
				    "the guest writes too much: after %u s it would still stand "
				    "still for %" PRIu64 " ms instead of %u",
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
		r = reconnect(s, e);
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
		 recv(p.fd, unread, sizeof(unread), MSG_DONTWAIT) > 0);
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
		pause_ms(PAUSE_LAST_MS, s->hand.resolve_fd, &e);
	}
	if (!s->left)
		go_on(s);
	if (cut && s->versions)
		h->connected = !settle_again(s, h->ch, &e);
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
		take_back(s, r == -ENOTCONN, why);
	} else {
		go_on(s);
		call_off(s, why);
	}
}

static int migrate(struct source *s, struct err *e)
{
	struct migration *m = s->m;
	int r = connect_all(s, "begin", e);

	if (r)
		return r;
	migration_enter(m, PHASE_COPY);
	r = m->control.log(m->control.arg, true, e);
	if (!r)
		r = ram_sender_start(m->ram, e);
	if (!r)
		r = copy(s, e);
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
	h->reconnect = settle_again;
	h->reconnect_arg = s;
	r = ram_sender_new(&ram, m->vm, e);
	pthread_mutex_lock(&m->lock);
	m->ndata = m->streams ? m->streams : STREAMS_DEFAULT;
	for (unsigned i = 0; i < m->vm->mem->nregions; i++)
		m->memory_bytes += m->vm->mem->region[i].size_bytes;
	if (!r) {
		m->ram = ram;
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
	throttle(&s, 0);
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

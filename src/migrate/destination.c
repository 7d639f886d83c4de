/* SPDX-License-Identifier: Apache-2.0 */
/* The side that a VM comes to, from top to bottom. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "acceptor.h"
#include "cleanup.h"
#include "devices.h"
#include "encodings.h"
#include "handover.h"
#include "hello.h"
#include "loop.h"
#include "migration_internal.h"
#include "owner.h"
#include "ram_receive.h"
#include "section.h"
#include "thread.h"
#include "trial.h"
#include "uuid.h"
#include "vm.h"

enum {
	AGAIN_MS = 2 * MIGRATION_RECONNECT_S * 1000,
	/* What brings nothing for so long is cut, whatever it looks like: a proxy may hide it. */
	MEMORY_SILENCE_MS = 60000, /* a section may have to wait for its turn */
	TOKEN_SILENCE_MS = 10000, /* the source has nothing else to do */
	LOOK_MS = 100, /* between looks at what the guest has done */
};

/* One data connection and who reads it. */
struct reader {
	struct destination *d;
	unsigned index;
	pthread_t thread;
	bool runs;
	int result;
	struct err e;
};

struct destination {
	struct migration *m;
	struct handover_destination hand;
	struct ram_receiver *ram;
	struct reader reader[MIGRATION_STREAMS_MAX];
	struct state_buf states;
	bool paused;
};

static uint64_t in_ms(unsigned ms)
{
	return loop_now_ns() + ms * UINT64_C(1000000);
}

static void dismiss(struct arrival *in)
{
	json_decref(TAKE(in->hello));
	channel_close(&in->ch);
}

/* Is it this role, and of this migration? */
static bool is(const struct destination *d, const json_t *hello, const char *role)
{
	return !strcmp(hello_text(hello, "role"), role) &&
	       !strcmp(hello_text(hello, "session"), d->m->session);
}

/* versions: of states that can be loaded here; NULL: the source has them. */
static int welcome(struct channel *ch, json_t *versions, struct err *e)
{
	json_auto_t *answer = NULL;
	char host[65];

	owner_this_host(host);
	answer = json_pack("{s:s, s:s, s:i, s:o, s:o*}", "host", host, "godwit", GODWIT_VERSION,
			   "streams", MIGRATION_STREAMS_MAX, "encodings", encodings_list(),
			   "versions", versions);
	return hello_answer(ch, answer, e);
}

static void *read_memory(void *arg)
{
	struct reader *r = arg;

	r->result = ram_receiver_run(r->d->ram, r->index, &r->d->m->data[r->index], &r->e);
	if (r->result == -ENOTCONN)
		shutdown(r->d->m->talk.fd, SHUT_RDWR);
	return NULL;
}

static int serve_one(struct destination *d, struct err *e);

/* The source speaks before it has connected, and so it calls it off, or is gone. */
static int hear_early(struct destination *d, struct err *e)
{
	int r = serve_one(d, e);

	return r < 0 ? r : err_set(e, -EBADMSG, "the source sends what makes no sense yet");
}

/* One of the connections that follow the first one. */
static int accept_data_one(struct destination *d, struct err *e)
{
	uint64_t limit_ns = in_ms(MIGRATION_HELLO_MS);
	struct migration *m = d->m;
	int r;

	for (;;) {
		struct arrival in;
		struct reader *reader;
		json_int_t i;

		r = acceptor_next(m->acceptor, limit_ns, &m->talk, &in, e);
		if (r)
			return r == -EAGAIN ? hear_early(d, e) : r;
		i = json_integer_value(json_object_get(in.hello, "index"));
		if (!is(d, in.hello, "data") || i < 0 || i >= m->ndata || d->reader[i].runs) {
			dismiss(&in);
			continue;
		}
		json_decref(in.hello);
		m->data[i] = in.ch;
		m->data[i].silence_ms = MEMORY_SILENCE_MS;
		reader = &d->reader[i];
		*reader = (struct reader){ .d = d, .index = (unsigned)i };
		r = thread_new(&reader->thread, "_receiveN", SANDBOX_MIGRATION, 0, read_memory,
			       reader);
		if (r)
			return err_set(e, r, "cannot start a thread: %s", strerror(-r));
		reader->runs = true;
		return 0;
	}
}

static int accept_data(struct destination *d, struct err *e)
{
	int r = 0;

	for (unsigned n = 0; !r && n < d->m->ndata; n++)
		r = accept_data_one(d, e);
	return r;
}

/* 0: all memory is there. */
static int join_readers(struct destination *d, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < d->m->ndata; i++) {
		if (!d->reader[i].runs)
			continue;
		pthread_join(d->reader[i].thread, NULL);
		d->reader[i].runs = false;
		if (!r && d->reader[i].result) {
			r = d->reader[i].result;
			*e = d->reader[i].e;
		}
	}
	return r;
}

static void drop_connections(struct destination *d)
{
	struct err unused;

	for (unsigned i = 0; i < d->m->ndata; i++)
		if (d->m->data[i].fd >= 0)
			shutdown(d->m->data[i].fd, SHUT_RDWR);
	join_readers(d, &unused);
	migration_close(d->m);
}

static bool good_streams(const json_t *hello)
{
	json_int_t n = json_integer_value(json_object_get(hello, "streams"));

	return n >= 1 && n <= MIGRATION_STREAMS_MAX;
}

static int check_hello(const json_t *hello, bool begins, struct err *e)
{
	if (uuid_is(hello_text(hello, "vm")) && json_is_object(json_object_get(hello, "config")) &&
	    (!begins || (uuid_is(hello_text(hello, "session")) && good_streams(hello) &&
			 json_integer_value(json_object_get(hello, "generation")) >= 1)))
		return 0;
	return err_set(e, -EBADMSG, "what the source says of its VM makes no sense");
}

/* Does it run here?  The copy is for main: no JSON is for two threads. */
static int build(struct destination *d, const json_t *hello, bool stays,
		 struct migration_place *place, struct err *e)
{
	const struct migration_control *c = &d->m->control;

	return c->build(c->arg, json_deep_copy(hello), stays, place, e);
}

/* What the source says of itself and its VM. */
static int take_hello(struct destination *d, const json_t *hello, struct migration_place *place,
		      struct err *e)
{
	struct migration *m = d->m;
	struct handover *h = &d->hand.h;
	int r;

	pthread_mutex_lock(&m->lock);
	hello_copy_text(hello, "session", m->session, sizeof(m->session));
	m->ndata = (unsigned)json_integer_value(json_object_get(hello, "streams"));
	pthread_mutex_unlock(&m->lock);
	hello_copy_text(hello, "vm", m->uuid, sizeof(m->uuid));
	h->id.generation = (uint64_t)json_integer_value(json_object_get(hello, "generation"));
	snprintf(h->peer, sizeof(h->peer), "%s", m->peer);
	d->paused = json_is_true(json_object_get(hello, "paused"));
	r = build(d, hello, true, place, e);
	if (!r) {
		m->vm = place->vm;
		m->vm->came_paused = d->paused;
		r = ram_receiver_new(&d->ram, m->vm->mem, m->ndata, e);
	}
	if (!r)
		r = migration_open_journal(m, h, JOURNAL_DESTINATION, e);
	return r ? r : handover_destination_expect(&d->hand, e);
}

/* A source asks, and moves nothing yet.  Its connection may do as it likes. */
static void answer_check(struct destination *d, struct arrival *in)
{
	struct migration_place place = { 0 };
	json_auto_t *answer = NULL;
	char host[65];
	struct err e;

	build(d, in->hello, false, &place, &e);
	if (!place.blockers)
		place.blockers = json_pack("[s]", e.text);
	owner_this_host(host);
	answer = json_pack("{s:s, s:s, s:o, s:o*}", "host", host, "godwit", GODWIT_VERSION,
			   "blockers", place.blockers, "versions", place.versions);
	in->ch.silence_ms = MIGRATION_HELLO_MS;
	if (!hello_answer(&in->ch, answer, &e))
		trial_receive(&in->ch, &e);
}

/* What became of a VM that the source offered is in the journal; the VM itself is another's by now,
 * or gone with its process. */
static void answer_settle(struct journal *journal, struct channel *ch)
{
	struct handover_disks disks = { .journal = journal };
	struct err e;

	ch->silence_ms = MIGRATION_HELLO_MS;
	if (!welcome(ch, NULL, &e))
		handover_answer(&handover_disks_ops, &disks, ch, &e);
}

/* Of a VM that an earlier process of this host expected.  -EBUSY: one still does. */
static void answer_for_earlier(struct arrival *in)
{
	const char *vm = hello_text(in->hello, "vm");
	struct journal_entry last;
	struct journal *journal;
	struct err e;

	if (!uuid_is(vm) || journal_read(vm, JOURNAL_DESTINATION, &last, &e) ||
	    journal_open(&journal, vm, JOURNAL_DESTINATION, &e))
		return;
	answer_settle(journal, &in->ch);
	journal_close(journal);
}

/* A source, and a VM that makes sense; whoever else comes is sent away. */
static int accept_first(struct destination *d, struct arrival *in, struct err *e)
{
	int r;

	for (;;) {
		bool begins, asks;
		struct err why;

		r = acceptor_next(d->m->acceptor, 0, NULL, in, e);
		if (r)
			return r;
		begins = !strcmp(hello_text(in->hello, "role"), "begin");
		asks = !strcmp(hello_text(in->hello, "role"), "check");
		r = begins || asks ? check_hello(in->hello, begins, &why) : 0;
		if (begins && !r)
			return 0;
		if (r)
			hello_refuse(&in->ch, why.text);
		else if (asks)
			answer_check(d, in);
		else if (!strcmp(hello_text(in->hello, "role"), "settle"))
			answer_for_earlier(in);
		dismiss(in);
	}
}

static int begin_with(struct destination *d, const json_t *hello, struct err *e)
{
	struct migration_place place = { 0 };
	int r = take_hello(d, hello, &place, e);

	if (!r)
		r = welcome(&d->m->talk, TAKE(place.versions), e);
	else if (json_array_size(place.blockers))
		hello_refuse_all(&d->m->talk, place.blockers);
	else
		hello_refuse(&d->m->talk, e->text);
	json_decref(place.versions);
	json_decref(place.blockers);
	return r;
}

/* The first connection, and this side's answer. */
static int begin(struct destination *d, struct err *e)
{
	struct migration *m = d->m;
	struct arrival in;
	int r = accept_first(d, &in, e);

	if (r)
		return r;
	migration_enter(m, PHASE_HELLO);
	m->talk = in.ch;
	migration_know_peer(m, in.address, in.identity);
	r = begin_with(d, in.hello, e);
	json_decref(in.hello);
	return r ? r : accept_data(d, e);
}

/* The source may have another number of connections from now on. */
static int resize(struct destination *d, const json_t *hello, struct err *e)
{
	unsigned n = (unsigned)json_integer_value(json_object_get(hello, "streams"));

	if (n == d->m->ndata)
		return 0;
	pthread_mutex_lock(&d->m->lock);
	d->m->ndata = n;
	pthread_mutex_unlock(&d->m->lock);
	return ram_receiver_resize(d->ram, n, e);
}

/* The source's next connection, of this role or of both.  It takes the place of the last one, which
 * the source has lost or closed, whatever it looks like from here. */
static int accept_again(struct destination *d, uint64_t limit_ns, const struct channel *last,
			bool *data, struct err *e)
{
	struct migration *m = d->m;
	int r;

	for (;;) {
		struct arrival in;
		bool settle;

		r = acceptor_next(m->acceptor, limit_ns, last, &in, e);
		if (r)
			return r;
		*data = is(d, in.hello, "again") && good_streams(in.hello);
		settle = is(d, in.hello, "settle");
		if (*data || settle) {
			drop_connections(d);
			m->talk = in.ch;
			r = *data ? resize(d, in.hello, e) : 0;
			json_decref(in.hello);
			if (!r)
				return welcome(&m->talk, NULL, e);
			hello_refuse(&m->talk, e->text);
			return r;
		}
		hello_refuse(&in.ch, is(d, in.hello, "again")
					     ? "memory comes over 1 to 16 connections"
					     : "another migration is under way here");
		dismiss(&in);
	}
}

/* With its data connections; as accept_again(). */
static int take_again(struct destination *d, uint64_t limit_ns, const struct channel *last,
		      struct err *e)
{
	bool data = false;
	int r = accept_again(d, limit_ns, last, &data, e);

	if (r == -EAGAIN)
		return r;
	state_buf_free(&d->states); /* they come again, all of them */
	return !r && data ? accept_data(d, e) : r;
}

/* The source connects anew; that may fail, too. */
static int come_back(struct destination *d, struct err *e)
{
	uint64_t limit_ns = in_ms(AGAIN_MS);
	int r;

	do {
		drop_connections(d);
		r = take_again(d, limit_ns, NULL, e);
	} while (r == -ENOTCONN && loop_now_ns() < limit_ns);
	d->hand.h.connected = !r;
	return r;
}

/* Of the hand-over, which has all that it needs but the connection. */
static int talk_again(void *arg, struct channel *ch, struct err *e)
{
	struct destination *d = arg;
	bool data;
	int r;

	channel_close(ch);
	r = accept_again(d, in_ms(MIGRATION_HELLO_MS), NULL, &data, e);
	ch->silence_ms = TOKEN_SILENCE_MS;
	return r;
}

static int gather_state(struct destination *d, struct section *s, struct err *e)
{
	struct state_buf *b = &d->states;
	uint64_t len = s->left;
	uint8_t *payload;
	int r;

	if (len > SECTION_RECORD_MAX || b->len + len > DEVICES_BYTES_MAX)
		return err_set(e, -EBADMSG, "the state of a device is too big");
	state_buf_put_le(b, 8, len);
	payload = state_buf_grow(b, len);
	if (!payload)
		return err_set(e, -ENOMEM, "out of memory for the state of a device");
	r = section_read(s, payload, len, e);
	return r ? r : section_end(s, e);
}

/* One section of the connection: 1: the VM is sealed. */
static int serve_one(struct destination *d, struct err *e)
{
	struct section s;
	int r = section_begin(&s, &d->m->talk, e);

	if (r)
		return r;
	if (s.type == SECTION_DEVICE)
		return gather_state(d, &s, e);
	if (handover_is_message(s.type))
		return handover_destination_serve(&d->hand, &s, e);
	return err_set(e, -EBADMSG, "the source sends what makes no sense here (%" PRIu32 ")",
		       s.type);
}

static int serve(struct destination *d, struct err *e)
{
	int r;

	do {
		r = take_again(d, 0, &d->m->talk, e);
		if (r == -EAGAIN)
			r = serve_one(d, e);
		if (r == -ENOTCONN)
			r = come_back(d, e);
	} while (!r);
	return r == 1 ? 0 : r;
}

static int load(struct destination *d, struct err *e)
{
	const struct migration_control *c = &d->m->control;
	int r = join_readers(d, e);

	return r ? r : c->load(c->arg, &d->states, e);
}

/* 0: the guest runs here. */
static int take_over(struct destination *d, struct err *e)
{
	const struct migration_control *c = &d->m->control;
	int r;

	d->m->talk.silence_ms = TOKEN_SILENCE_MS;
	handover_destination_ready(&d->hand);
	migration_enter(d->m, PHASE_HAND_OVER);
	r = handover_destination_await_token(&d->hand, e);
	if (r != HANDOVER_RUN)
		return r < 0 ? r : -ECONNREFUSED;
	migration_enter_at(d->m, PHASE_TAKE_DISKS, d->hand.tried_ns);
	migration_enter_at(d->m, PHASE_ACCEPT, d->hand.locked_ns);
	migration_enter(d->m, PHASE_RUN);
	c->run(c->arg, d->paused);
	handover_destination_accepted(&d->hand);
	return 0;
}

int migration_destination(struct migration *m, struct err *e)
{
	struct destination d = { .m = m };
	int r;

	d.hand.h.ch = &m->talk;
	d.hand.h.connected = true;
	d.hand.h.reconnect = talk_again;
	d.hand.h.reconnect_arg = &d;
	r = begin(&d, e);
	if (!r) {
		migration_enter(m, PHASE_COPY);
		r = serve(&d, e);
	}
	if (!r) {
		migration_enter(m, PHASE_STOP);
		r = load(&d, e);
	}
	if (r && m->disks.journal)
		handover_destination_refuse(&d.hand, e->text);
	if (!r)
		r = take_over(&d, e);
	drop_connections(&d);
	ram_receiver_free(d.ram);
	state_buf_free(&d.states);
	return r;
}

/* Somebody, however late; meanwhile it is seen how the guest goes on. */
static int next_question(struct migration *m, struct arrival *in, struct err *e)
{
	int r = -ENOTCONN;

	while (r == -ENOTCONN && !migration_record_is_whole(m))
		r = acceptor_next(m->acceptor, in_ms(LOOK_MS), NULL, in, e);
	return r == -ENOTCONN ? acceptor_next(m->acceptor, 0, NULL, in, e) : r;
}

/* A source that did not hear that its VM was accepted asks, however late. */
void migration_answer(struct migration *m)
{
	struct destination d = { .m = m };
	struct arrival in;
	struct err e;

	while (!next_question(m, &in, &e)) {
		m->talk = in.ch;
		if (is(&d, in.hello, "settle"))
			answer_settle(m->disks.journal, &m->talk);
		json_decref(in.hello);
		channel_close(&m->talk);
	}
}

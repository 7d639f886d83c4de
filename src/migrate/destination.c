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
#include "handover.h"
#include "hello.h"
#include "loop.h"
#include "migration_internal.h"
#include "owner.h"
#include "ram_receive.h"
#include "section.h"
#include "thread.h"
#include "uuid.h"
#include "vm.h"

enum { AGAIN_MS = 2 * MIGRATION_RECONNECT_S * 1000 };

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

/* versions: of states that can be loaded here; NULL: the source has them.  The VM is
 * main's by then. */
static int welcome(struct destination *d, json_t *versions, struct err *e)
{
	json_auto_t *answer = NULL;
	char host[65];

	owner_this_host(host);
	answer = json_pack("{s:s, s:s, s:o*}", "host", host, "godwit", GODWIT_VERSION, "versions",
			   versions);
	return hello_answer(&d->m->talk, answer, e);
}

static void *read_memory(void *arg)
{
	struct reader *r = arg;

	r->result = ram_receiver_run(r->d->ram, r->index, &r->d->m->data[r->index], &r->e);
	return NULL;
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

		r = acceptor_next(m->acceptor, limit_ns, &in, e);
		if (r)
			return r;
		i = json_integer_value(json_object_get(in.hello, "index"));
		if (!is(d, in.hello, "data") || i < 0 || i >= m->ndata || d->reader[i].runs) {
			dismiss(&in);
			continue;
		}
		json_decref(in.hello);
		m->data[i] = in.ch;
		reader = &d->reader[i];
		*reader = (struct reader){ .d = d, .index = (unsigned)i };
		r = thread_new(&reader->thread, "_receiveN", 0, read_memory, reader);
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

static int check_hello(const json_t *hello, struct err *e)
{
	json_int_t streams = json_integer_value(json_object_get(hello, "streams"));

	if (uuid_is(hello_text(hello, "session")) && uuid_is(hello_text(hello, "vm")) &&
	    streams >= 1 && streams <= MIGRATION_STREAMS_MAX &&
	    json_integer_value(json_object_get(hello, "generation")) >= 1 &&
	    json_is_object(json_object_get(hello, "config")))
		return 0;
	return err_set(e, -EBADMSG, "what the source says of its VM makes no sense");
}

/* What the source says of itself and its VM. */
static int take_hello(struct destination *d, const json_t *hello, struct err *e)
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
	r = m->control.build(m->control.arg, json_deep_copy(json_object_get(hello, "config")),
			     &m->vm, e);
	if (!r)
		r = ram_receiver_new(&d->ram, m->vm->mem, m->ndata, e);
	if (!r)
		r = migration_open_journal(m, h, JOURNAL_DESTINATION, e);
	return r ? r : handover_destination_expect(&d->hand, e);
}

/* A source, and a VM that makes sense; whoever else comes is sent away. */
static int accept_first(struct destination *d, struct arrival *in, struct err *e)
{
	int r;

	for (;;) {
		struct err why;

		r = acceptor_next(d->m->acceptor, 0, in, e);
		if (r)
			return r;
		if (!strcmp(hello_text(in->hello, "role"), "begin")) {
			if (!check_hello(in->hello, &why))
				return 0;
			hello_refuse(&in->ch, why.text);
		}
		dismiss(in);
	}
}

/* The first connection, and this side's answer. */
static int begin(struct destination *d, struct err *e)
{
	struct migration *m = d->m;
	struct arrival in;
	int r = accept_first(d, &in, e);

	if (r)
		return r;
	m->talk = in.ch;
	migration_know_peer(m, in.address, in.identity);
	r = take_hello(d, in.hello, e);
	json_decref(in.hello);
	if (r) {
		hello_refuse(&m->talk, e->text);
		return r;
	}
	r = welcome(d, devices_versions(m->vm), e);
	return r ? r : accept_data(d, e);
}

/* The source's next connection of this role, or of both. */
static int accept_again(struct destination *d, uint64_t limit_ns, bool *data, struct err *e)
{
	struct migration *m = d->m;
	int r;

	for (;;) {
		struct arrival in;
		bool settle;

		r = acceptor_next(m->acceptor, limit_ns, &in, e);
		if (r)
			return r;
		*data = is(d, in.hello, "again");
		settle = is(d, in.hello, "settle");
		if (*data || settle) {
			json_decref(in.hello);
			m->talk = in.ch;
			return welcome(d, NULL, e);
		}
		hello_refuse(&in.ch, "another migration is under way here");
		dismiss(&in);
	}
}

/* The source connects anew; that may fail, too. */
static int come_back(struct destination *d, struct err *e)
{
	uint64_t limit_ns = in_ms(AGAIN_MS);
	bool data = false;
	int r;

	do {
		drop_connections(d);
		r = accept_again(d, limit_ns, &data, e);
		if (!r && data)
			r = accept_data(d, e);
	} while (r == -ENOTCONN && loop_now_ns() < limit_ns);
	d->hand.h.connected = !r;
	return r;
}

/* Of the hand-over, which has all that it needs but the connection. */
static int talk_again(void *arg, struct channel *ch, struct err *e)
{
	struct destination *d = arg;
	bool data;

	channel_close(ch);
	return accept_again(d, in_ms(MIGRATION_HELLO_MS), &data, e);
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
		r = serve_one(d, e);
		if (r == -ENOTCONN) {
			state_buf_free(&d->states); /* they come again, all of them */
			r = come_back(d, e);
		}
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

	handover_destination_ready(&d->hand);
	migration_enter(d->m, PHASE_HAND_OVER);
	r = handover_destination_await_token(&d->hand, e);
	if (r != HANDOVER_RUN)
		return r < 0 ? r : -ECONNREFUSED;
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

/* A source that did not hear that its VM was accepted asks, however late. */
void migration_answer(struct migration *m)
{
	struct destination d = { .m = m };
	struct arrival in;
	struct err e;

	while (!acceptor_next(m->acceptor, 0, &in, &e)) {
		m->talk = in.ch;
		if (is(&d, in.hello, "settle") && !welcome(&d, NULL, &e)) {
			m->talk.silence_ms = MIGRATION_HELLO_MS;
			handover_answer(&handover_disks_ops, &m->disks, &m->talk, &e);
		}
		json_decref(in.hello);
		channel_close(&m->talk);
	}
}

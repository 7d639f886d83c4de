/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "bits.h"
#include "devices.h"
#include "encodings.h"
#include "hello.h"
#include "loop.h"
#include "source.h"
#include "thread.h"

enum {
	PAUSE_FIRST_MS = 50, /* before the next attempt to connect */
	STREAMS_AUTO_MAX = 4, /* these fill any network that a host has today */
};

int source_pause(int ms, int cancel_fd, struct err *e)
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
		s->may_rearrange = json_is_integer(json_object_get(answer, "streams"));
	}
	if (r)
		return r;
	hello_copy_text(answer, "host", host, sizeof(host));
	migration_know_peer(s->m, host, s->m->tls ? s->host : "");
	return 0;
}

/* The first of a session, which brings the VM's configuration, or one that follows. */
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

int source_connect(struct source *s, const char *role, struct err *e)
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
void source_throttle(struct source *s, unsigned percent)
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

int source_reconnect(struct source *s, struct err *e)
{
	uint64_t limit = loop_now_ns() + MIGRATION_RECONNECT_S * UINT64_C(1000000000);
	int ms = PAUSE_FIRST_MS, r;

	source_throttle(s, 0);
	do {
		migration_close(s->m);
		r = source_pause(ms, s->m->cancel_fd, e);
		if (!r)
			r = source_connect(s, "again", e);
		ms = MIN(2 * ms, SOURCE_PAUSE_MS);
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
int source_settle(void *arg, struct channel *ch, struct err *e)
{
	struct source *s = arg;
	int r;

	channel_close(ch);
	ch->cancel_fd = s->hand.resolve_fd;
	r = source_pause(SOURCE_PAUSE_MS / 4, s->hand.resolve_fd, e);
	return r ? r : connect_talk(s, "settle", e);
}

/* Each takes a processor at most; the guest keeps those of its own. */
static unsigned good_streams(const struct migration *m)
{
	unsigned all = thread_processors(), used = m->paused ? 0 : m->nvcpus;

	return all > used ? MIN(all - used, STREAMS_AUTO_MAX) : 1;
}

unsigned source_streams(const struct migration *m)
{
	return m->goals.streams ? m->goals.streams : good_streams(m);
}

/* What was sent is there, and nothing of it goes again. */
int source_rearrange(struct source *s, unsigned n, struct err *e)
{
	struct migration *m = s->m;
	int r = s->may_rearrange ? ram_sender_settle(m->ram, e) : 0;

	if (!s->may_rearrange || (r && r != -ENOTCONN))
		return r;
	s->hand.h.connected = false;
	migration_close(m);
	pthread_mutex_lock(&m->lock);
	m->ndata = n;
	pthread_mutex_unlock(&m->lock);
	r = source_connect(s, "again", e);
	if (r == -ENOTCONN)
		return source_reconnect(s, e);
	s->hand.h.connected = !r;
	return r;
}

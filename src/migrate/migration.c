/* SPDX-License-Identifier: Apache-2.0 */
#include "migration.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "acceptor.h"
#include "bits.h"
#include "cleanup.h"
#include "lease.h"
#include "loop.h"
#include "migration_internal.h"
#include "tcp.h"
#include "thread.h"
#include "uuid.h"
#include "vcpu.h"
#include "vm.h"

enum {
	SETTLE_MS = 5000, /* for one that was called off, to end well */
	LEAVE_MS = 5000, /* and then to end as it is; what hangs in the kernel does not */
};

uint64_t migration_wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void migration_enter_at(struct migration *m, enum migration_phase phase, uint64_t at_ns)
{
	pthread_mutex_lock(&m->lock);
	m->phase = phase;
	m->began_ns[phase] = at_ns;
	pthread_mutex_unlock(&m->lock);
}

void migration_enter(struct migration *m, enum migration_phase phase)
{
	migration_enter_at(m, phase, loop_now_ns());
}

void migration_know_peer(struct migration *m, const char *peer, const char *identity)
{
	pthread_mutex_lock(&m->lock);
	snprintf(m->peer, sizeof(m->peer), "%s", peer);
	snprintf(m->peer_identity, sizeof(m->peer_identity), "%s", identity);
	pthread_mutex_unlock(&m->lock);
}

void migration_close(struct migration *m)
{
	channel_close(&m->talk);
	for (unsigned i = 0; i < m->ndata; i++)
		channel_close(&m->data[i]);
}

int migration_open_journal(struct migration *m, struct handover *h, enum journal_role role,
			   struct err *e)
{
	m->disks.vm = m->vm;
	m->disks.uuid = m->uuid;
	h->ops = &handover_disks_ops;
	h->ctx = &m->disks;
	snprintf(h->id.session, sizeof(h->id.session), "%s", m->session);
	if (m->vm->lease)
		h->arbiter = ARBITER_LEASE;
	if (m->vm->lease && role == JOURNAL_DESTINATION)
		lease_name(m->vm->lease, m->session);
	return journal_open(&m->disks.journal, m->uuid, role, e);
}

static void *migration_main(void *arg)
{
	struct migration *m = arg;
	struct err e;
	int r = m->incoming ? migration_destination(m, &e) : migration_source(m, &e);

	/* Whoever has nothing more to answer leaves it to the next one. */
	if (r || !m->incoming)
		journal_close(TAKE(m->disks.journal));
	pthread_mutex_lock(&m->lock);
	m->phase = PHASE_OVER;
	m->began_ns[PHASE_OVER] = loop_now_ns();
	m->ended_wall_us = migration_wall_us();
	m->end = !r ? MIGRATION_MOVED : r == -ECANCELED ? MIGRATION_CANCELLED : MIGRATION_FAILED;
	if (r)
		m->why = e;
	pthread_mutex_unlock(&m->lock);
	/* Nobody waits for the disk but who hears that it failed: a guest goes on already. */
	if (r)
		migration_record(m);
	m->control.over(m->control.arg, m->end, r ? e.text : NULL);
	if (!r)
		migration_record(m);
	if (m->incoming && !r)
		migration_answer(m);
	eventfd_write(m->done_fd, 1);
	return NULL;
}

/* All but the thread. */
static void discard(struct migration *m)
{
	acceptor_free(m->acceptor);
	migration_close(m);
	tls_credentials_free(m->tls);
	journal_close(m->disks.journal);
	if (m->listen_fd >= 0)
		close(m->listen_fd);
	if (m->cancel_fd >= 0)
		close(m->cancel_fd);
	if (m->done_fd >= 0)
		close(m->done_fd);
	pthread_mutex_destroy(&m->lock);
	free(m->vm_hello);
	free(m);
}

int migration_read_credentials(struct tls_credentials **out, const char *dir, enum tls_side side,
			       struct err *e)
{
	int r = dir ? tls_credentials_read(out, dir, e) : 0;

	return r || !dir ? r : tls_credentials_check(*out, side, e);
}

int migration_connect(struct channel *ch, const char *url, const struct tls_credentials *tls,
		      const char *host, struct err *e)
{
	int r = tcp_connect(url, ch, e);

	return r || !tls ? r : tls_client(ch, tls, host, e);
}

/* On failure *out may be half made. */
static int prepare(struct migration **out, const struct migration_config *c, bool incoming,
		   struct err *e)
{
	struct migration *m = *out = calloc(1, sizeof(*m));

	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	m->control = c->control;
	m->incoming = incoming;
	m->vm = c->vm;
	m->paused = c->paused;
	m->goals = c->goals;
	m->began_ns[PHASE_CONNECT] = loop_now_ns();
	m->began_wall_us = migration_wall_us();
	m->listen_fd = m->talk.fd = -1;
	for (unsigned i = 0; i < MIGRATION_STREAMS_MAX; i++)
		m->data[i] = channel_of(-1);
	pthread_mutex_init(&m->lock, NULL);
	snprintf(m->url, sizeof(m->url), "%s", c->url);
	snprintf(m->uuid, sizeof(m->uuid), "%s", c->uuid ? c->uuid : "");
	m->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->cancel_fd < 0 || m->done_fd < 0)
		return err_set(e, -errno, "no eventfd: %s", strerror(errno));
	m->vm_hello = strdup(c->vm_hello ? c->vm_hello : "");
	if (!m->vm_hello)
		return err_set(e, -ENOMEM, "out of memory");
	return migration_read_credentials(&m->tls, c->tls_dir, incoming ? TLS_SERVER : TLS_CLIENT,
					  e);
}

static int start(struct migration **out, struct migration *m, int r, struct err *e)
{
	if (!r) {
		r = thread_new(&m->thread, m->incoming ? "_receive" : "_migrate", SANDBOX_MAIN, 0,
			       migration_main, m);
		if (r)
			err_set(e, r, "cannot start a thread: %s", strerror(-r));
	}
	if (!r) {
		m->runs = true;
		*out = m;
	} else if (m) {
		discard(m);
	}
	return r;
}

int migration_send(struct migration **out, const struct migration_config *c, struct err *e)
{
	struct migration *m;
	int r = prepare(&m, c, false, e);

	if (!r)
		r = uuid_new(m->session, e);
	if (!r)
		m->nvcpus = vcpu_throttled_ns(c->vm, m->throttled_before_ns, MIGRATION_VCPUS_TOLD);
	if (!r)
		memcpy(m->throttled_ns, m->throttled_before_ns, sizeof(m->throttled_ns));
	return start(out, m, r, e);
}

static int listen_for_it(struct migration *m, bool in_the_clear, struct err *e)
{
	char url[MIGRATION_URL_MAX];
	int r;

	snprintf(url, sizeof(url), "%s", m->url);
	if (!m->tls && !in_the_clear && !tcp_is_loopback(url))
		return err_set(e, -EINVAL,
			       "%s can be reached from other hosts, and nothing protects what "
			       "comes in there; give certificates (--tls DIR, or tls_dir in a "
			       "request), or say so (--plaintext, or plaintext in a request)",
			       url);
	r = tcp_listen(url, &m->listen_fd, m->url, sizeof(m->url), e);
	return r ? r : acceptor_new(&m->acceptor, m->listen_fd, m->cancel_fd, m->tls, e);
}

int migration_receive(struct migration **out, const struct migration_config *c, struct err *e)
{
	struct migration *m;
	int r = prepare(&m, c, true, e);

	if (!r)
		r = listen_for_it(m, c->in_the_clear, e);
	return start(out, m, r, e);
}

static bool joins_within(struct migration *m, unsigned ms)
{
	const struct channel done = { .fd = m->done_fd, .cancel_fd = -1 };

	if (m->runs && handover_wait(&done, (int)ms) == 1) {
		pthread_join(m->thread, NULL);
		m->runs = false;
	}
	return !m->runs;
}

static void tell_to_leave(struct migration *m)
{
	pthread_mutex_lock(&m->lock);
	if (m->hand) {
		atomic_store(&m->hand->leave, true);
		eventfd_write(m->hand->resolve_fd, 1);
	}
	pthread_mutex_unlock(&m->lock);
}

int migration_leave(struct migration *m, struct err *e)
{
	migration_cancel(m);
	if (!joins_within(m, SETTLE_MS))
		tell_to_leave(m);
	if (joins_within(m, LEAVE_MS) && !m->left)
		return 0;
	return err_set(e, -EINPROGRESS,
		       "this host's records still say that the VM is being handed over to %s; say "
		       "where it runs before it is started anew: godwit resolve %s --run or "
		       "--discard",
		       m->incoming ? "this host" : m->url, m->uuid);
}

bool migration_free(struct migration *m)
{
	struct err unused;

	if (!m)
		return true;
	migration_leave(m, &unused);
	if (m->runs)
		return false;
	discard(m);
	return true;
}

int migration_refuse(const json_t *blockers, struct err *e)
{
	char text[sizeof(e->text)] = "";
	const json_t *blocker;
	size_t i, at = 0;

	json_array_foreach(blockers, i, blocker)
	{
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? "; " : "",
				       json_string_value(blocker));
		at = MIN(at, sizeof(text) - 1);
	}
	return err_set(e, -ENOTSUP, "%s", text);
}

void migration_move_on(struct migration *m)
{
	journal_unlock(m->disks.journal);
}

const char *migration_url(const struct migration *m)
{
	return m->url;
}

void migration_cancel(struct migration *m)
{
	eventfd_write(m->cancel_fd, 1);
}

bool migration_is_incoming(const struct migration *m)
{
	return m->incoming;
}

bool migration_is_over(struct migration *m)
{
	bool is;

	pthread_mutex_lock(&m->lock);
	is = m->phase == PHASE_OVER;
	pthread_mutex_unlock(&m->lock);
	return is;
}

bool migration_is_past_token(struct migration *m)
{
	bool is;

	pthread_mutex_lock(&m->lock);
	is = m->past_token;
	pthread_mutex_unlock(&m->lock);
	return is;
}

bool migration_is_undecided(struct migration *m)
{
	bool is;

	pthread_mutex_lock(&m->lock);
	is = m->hand && m->hand->undecided;
	pthread_mutex_unlock(&m->lock);
	return is;
}

int migration_resolve(struct migration *m, bool run, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->hand || !m->hand->undecided) {
		r = err_set(e, -EALREADY, "it is not undecided where the VM runs");
	} else {
		m->hand->resolve = run ? RESOLVE_RUN : RESOLVE_DISCARD;
		eventfd_write(m->hand->resolve_fd, 1);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* What a round need not end for is set where it is used. */
static bool end_round(const struct migration_goals *a, const struct migration_goals *b)
{
	return a->streams != b->streams || a->deadline_s != b->deadline_s || a->late != b->late;
}

void migration_set_goals(struct migration *m, const struct migration_goals *goals)
{
	pthread_mutex_lock(&m->lock);
	if (m->ram && end_round(&m->goals, goals))
		ram_sender_set_end(m->ram, 0);
	m->goals = *goals;
	if (m->ram) {
		ram_sender_set_bandwidth(m->ram, goals->bandwidth);
		ram_sender_set_compress(m->ram, goals->compress);
	}
	pthread_mutex_unlock(&m->lock);
}

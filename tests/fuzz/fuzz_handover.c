/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a destination says to a source in a hand-over, from OFFER to the token and what follows, and
 * what a source asks of a host that has no more to do with it. The first bytes say which of the two
 * it is, who the arbiter is and, a bit for each time that something of the host is asked for,
 * whether that fails. Messages follow: u8 type, u8 arbiter, u8 length and sentence each; of type 0
 * the connection is lost and another comes, and with RAW the payload is the sentence alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/migrate/handover.h"
#include "../../src/migrate/hello.h"
#include "bits.h"
#include "cleanup.h"
#include "log.h"
#include "state_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW = 128, ANSWER = 1, OTHER_SESSION = 64, RESOLVE = 2, GENERATION = 7 };

static const char session[] = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

struct world {
	struct handover_source s;
	struct channel ch;
	int peer; /* the other end */
	struct state_view input;
	uint64_t failures; /* a bit for each */
	bool locked;
	bool said_accepted; /* the destination, or a record or lease of its */
	enum handover_record record;
};

static void require(bool what)
{
	if (!what)
		abort();
}

/* The host */

static int maybe(struct world *w, int r, struct err *e)
{
	const uint64_t one = 1;
	bool fails = w->failures & 1;

	w->failures >>= 1;
	if (!fails)
		return 0;
	/* Nobody waits for better times. */
	require(write(w->s.resolve_fd, &one, sizeof(one)) == sizeof(one));
	return err_set(e, r, "it fails");
}

static int write_record(void *ctx, const struct handover_id *id, enum handover_record record,
			struct err *e)
{
	struct world *w = ctx;
	int r = maybe(w, -EIO, e);

	(void)id;
	require(w->locked);
	if (!r)
		w->record = record;
	return r;
}

static int read_first(void *ctx, const struct handover_id *id, enum handover_record *record,
		      struct err *e)
{
	struct world *w = ctx;

	(void)id;
	require(w->locked);
	*record = w->record;
	w->said_accepted |= w->record == RECORD_ACCEPTED;
	return maybe(w, -EIO, e);
}

static int take_locks(void *ctx, struct err *e)
{
	struct world *w = ctx;
	int r = maybe(w, -EAGAIN, e);

	w->locked = !r;
	/* The destination had it meanwhile, or not. */
	if (!r && w->failures & 1)
		w->record = RECORD_ACCEPTED;
	return r;
}

static void let_go(void *ctx)
{
	((struct world *)ctx)->locked = false;
}

static int prove_lock(void *ctx, struct err *e)
{
	return maybe(ctx, -EIO, e) ? 0 : 1;
}

static int sync_disks(void *ctx, struct err *e)
{
	return maybe(ctx, -EIO, e);
}

static int write_entry(void *ctx, const struct journal_entry *entry, struct err *e)
{
	require(entry->generation >= GENERATION && !strcmp(entry->session, session));
	return maybe(ctx, -ENOSPC, e);
}

static int last_entry(void *ctx, struct journal_entry *entry, struct err *e)
{
	struct world *w = ctx;

	*entry = (struct journal_entry){ .state = (enum journal_state)(w->failures & 7),
					 .generation = GENERATION,
					 .arbiter = w->s.h.arbiter };
	memcpy(entry->session, session, sizeof(session));
	w->failures >>= 3;
	return maybe(w, -ENOENT, e);
}

static int find_entry(void *ctx, const char *of, struct journal_entry *entry, struct err *e)
{
	return strcmp(of, session) ? err_set(e, -ENOENT, "none") : last_entry(ctx, entry, e);
}

static int lease_take(void *ctx, const struct handover_id *id, struct err *e)
{
	struct world *w = ctx;
	bool mine = w->failures & 1;
	int r;

	(void)id;
	w->failures >>= 1;
	r = maybe(w, -ETIMEDOUT, e);
	w->said_accepted |= !r && !mine;
	return r ? r : mine;
}

static int lease_who(void *ctx, const struct handover_id *id, struct err *e)
{
	(void)id;
	return maybe(ctx, -ETIMEDOUT, e) ? -ETIMEDOUT : LEASE_ELSEWHERE;
}

static const struct handover_ops ops = {
	.write_first = write_record,
	.write_others = write_record,
	.read_first = read_first,
	.take_locks = take_locks,
	.let_go = let_go,
	.prove_lock = prove_lock,
	.sync_disks = sync_disks,
	.journal_write = write_entry,
	.journal_last = last_entry,
	.journal_find = find_entry,
	.lease_take = lease_take,
	.lease_who = lease_who,
};

/* The other side */

static int send_message(struct world *w, struct channel *ch, uint64_t type, uint64_t arbiter,
			const uint8_t *sentence, size_t len)
{
	struct handover_message m = { .type = SECTION_OFFER +
					      (type - 1) % (SECTION_ASK - SECTION_OFFER + 1),
				      .generation = GENERATION,
				      .arbiter = (enum arbiter)(arbiter & 3) };
	struct iovec iov[2] = { [1] = { (void *)(uintptr_t)sentence, len } };
	struct err e;

	memcpy(m.session, session, sizeof(session));
	if (arbiter & OTHER_SESSION)
		m.session[0] ^= 1;
	if (type & RAW)
		return section_write(ch, (enum section_type)(type % RAW), iov, 2, &e);
	w->said_accepted |= m.type == SECTION_ACCEPTED;
	memcpy(m.sentence, sentence, MIN(len, (size_t)HANDOVER_SENTENCE_MAX));
	return handover_send(ch, &m, &e);
}

/* All that is said on this connection is in it before it is read. */
static void speak(struct world *w, int fd)
{
	struct channel ch = channel_of(fd);
	uint64_t type, arbiter, len;
	const uint8_t *sentence;
	int r = 0;

	while (!r && state_view_take_le(&w->input, 1, &type) && type &&
	       state_view_take_le(&w->input, 1, &arbiter) &&
	       state_view_take_le(&w->input, 1, &len)) {
		len = MIN(len, w->input.len);
		state_view_take(&w->input, len, &sentence);
		r = send_message(w, &ch, type, arbiter, sentence, len);
	}
	shutdown(fd, SHUT_WR);
}

static void hang_up(struct world *w)
{
	if (w->ch.fd >= 0) {
		close(w->ch.fd);
		close(w->peer);
	}
	w->ch.fd = -1;
}

static int reconnect(void *arg, struct channel *ch, struct err *e)
{
	struct world *w = arg;
	int ends[2];

	hang_up(w);
	if (!w->input.len) {
		atomic_store(&w->s.leave, true);
		return err_set(e, -EAGAIN, "nobody is there");
	}
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
	speak(w, ends[1]);
	*ch = channel_of(ends[0]);
	w->peer = ends[1];
	return 0;
}

static int offer(struct world *w, struct err *e)
{
	int r;

	while ((r = handover_source_offer(&w->s, e)) == -ENOTCONN && !atomic_load(&w->s.leave)) {
		if (!reconnect(w, &w->ch, e))
			w->s.h.connected = true;
	}
	return r;
}

static void be_source(struct world *w)
{
	struct err e;
	int r = offer(w, &e);

	w->locked = true;
	if (!r)
		r = handover_source_seal(&w->s, &e);
	if (r) {
		handover_source_take_back(&w->s, &e);
		require(w->locked);
		handover_source_cancelled(&w->s, e.text);
		return;
	}
	r = handover_source_commit(&w->s, &e);
	require(r == HANDOVER_RUN || r == HANDOVER_GIVEN || r == HANDOVER_UNDECIDED ||
		r == -ECANCELED);
	/* One of the two has it, and no one else has its disks. */
	require(w->locked == (r == HANDOVER_RUN || r == -ECANCELED));
	require(r != HANDOVER_GIVEN || w->said_accepted);
}

static void answer(struct world *w)
{
	struct err e;
	json_t *hello;

	w->locked = true;
	handover_answer(&ops, w, &w->ch, &e);
	if (!hello_await_answer(&w->ch, &hello, &e)) {
		json_auto_t *list = json_array();

		hello_append_sentences(hello, "blockers", list);
		json_decref(hello);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .input = { data, size }, .ch = channel_of(-1), .locked = true };
	uint64_t role, arbiter;
	struct err e;

	log_set_level(LOG_ERROR);
	if (!state_view_take_le(&w.input, 1, &role) || !state_view_take_le(&w.input, 1, &arbiter) ||
	    !state_view_take_le(&w.input, 4, &w.failures))
		return 0;
	w.s.resolve_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w.s.h = (struct handover){ .ops = &ops,
				   .ctx = &w,
				   .id = { .generation = GENERATION },
				   .arbiter = arbiter % 2 ? ARBITER_LEASE : ARBITER_NONE,
				   .ch = &w.ch,
				   .reconnect = reconnect,
				   .reconnect_arg = &w };
	memcpy(w.s.h.id.session, session, sizeof(session));
	if (role & RESOLVE)
		atomic_store(&w.s.resolve, RESOLVE_RUN);
	w.s.h.connected = !reconnect(&w, &w.ch, &e);
	if (!w.s.h.connected)
		atomic_store(&w.s.leave, false);
	if (role & ANSWER)
		answer(&w);
	else
		be_source(&w);
	hang_up(&w);
	close(w.s.resolve_fd);
	return 0;
}

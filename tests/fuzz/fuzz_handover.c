/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a destination says to a source in a hand-over, from OFFER to the token and what follows,
 * what a source says to a destination, and what it asks of a host that has no more to do with it.
 * The first bytes say which of these it is, who the arbiter is and, a bit for each time that
 * something of the host is asked for, whether that fails. Messages follow: u8 type, u8 arbiter, u8
 * length and sentence each; of type 0 the connection is lost and another comes, and with RAW the
 * payload is the sentence alone.
 */
#include <errno.h>
#include <poll.h>
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

enum { RAW = 128, OTHER_SESSION = 64, GENERATION = 7 };

/* Bits of the first byte */
enum role {
	ANSWER = 1,
	RESOLVE = 2,
	DESTINATION = 4,
	CANCELLED = 8, /* the destination, at the first failure */
	RECORD = 16, /* two bits: what the record says when the destination begins */
};

static const char session[] = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

struct world {
	struct handover_source s;
	struct handover_destination d;
	bool is_destination;
	int cancel_fd;
	struct channel ch;
	int peer; /* the other end */
	struct state_view input;
	uint64_t failures; /* a bit for each */
	bool locked;
	bool said_accepted; /* the destination, or a record or lease of its */
	bool said_token;
	enum handover_record record;
	enum handover_lease lease;
	enum journal_state journal; /* of the destination */
};

static void require(bool what)
{
	if (!what)
		abort();
}

/* The host */

/* Waits are over at once, but those for ever. */
int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return ppoll(fds, n, timeout_ms < 0 ? NULL : &(struct timespec){ 0 }, NULL);
}

static bool bit(struct world *w)
{
	bool is = w->failures & 1;

	w->failures >>= 1;
	return is;
}

static int maybe(struct world *w, int r, struct err *e)
{
	const uint64_t one = 1;

	if (!bit(w))
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
	/* Where the record decides, the source may have taken the VM back. */
	require(!w->is_destination || w->d.h.arbiter != ARBITER_LOCK ||
		w->record == RECORD_OFFERED || w->record == RECORD_ACCEPTED);
	/* After a failure either may be there. */
	if (!r || (w->is_destination && bit(w)))
		w->record = record;
	return r;
}

static int read_first(void *ctx, const struct handover_id *id, enum handover_record *record,
		      struct err *e)
{
	struct world *w = ctx;

	(void)id;
	require(w->locked || w->is_destination);
	*record = w->record;
	w->said_accepted |= w->record == RECORD_ACCEPTED;
	return maybe(w, -EIO, e);
}

static int take_locks(void *ctx, struct err *e)
{
	struct world *w = ctx;
	int r = maybe(w, -EAGAIN, e);

	w->locked = !r;
	/* The other side had it meanwhile, or not. */
	if (!r && w->failures & 1 && (!w->is_destination || w->record == RECORD_OFFERED))
		w->record = w->is_destination ? RECORD_RUNNING : RECORD_ACCEPTED;
	return r && w->is_destination && bit(w) ? err_set(e, -EIO, "it fails") : r;
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
	struct world *w = ctx;
	int r = maybe(w, -ENOSPC, e);

	require(entry->generation >= GENERATION && !strcmp(entry->session, session));
	if (!r || bit(w))
		w->journal = entry->state;
	return r;
}

static int last_entry(void *ctx, struct journal_entry *entry, struct err *e)
{
	struct world *w = ctx;

	*entry = (struct journal_entry){ .state = w->journal,
					 .generation = GENERATION,
					 .arbiter = w->s.h.arbiter };
	memcpy(entry->session, session, sizeof(session));
	if (!w->is_destination) {
		entry->state = (enum journal_state)(w->failures & 7);
		w->failures >>= 3;
	}
	return maybe(w, -ENOENT, e);
}

static int find_entry(void *ctx, const char *of, struct journal_entry *entry, struct err *e)
{
	return strcmp(of, session) ? err_set(e, -ENOENT, "none") : last_entry(ctx, entry, e);
}

static int lease_take(void *ctx, const struct handover_id *id, struct err *e)
{
	struct world *w = ctx;
	int r;

	(void)id;
	/* It may be given and the answer lost. */
	if (w->lease == LEASE_NOBODYS)
		w->lease = bit(w) ? LEASE_HERE : LEASE_ELSEWHERE;
	r = maybe(w, -ETIMEDOUT, e);
	w->said_accepted |= !r && w->lease == LEASE_ELSEWHERE;
	return r ? r : w->lease == LEASE_HERE;
}

static int lease_who(void *ctx, const struct handover_id *id, struct err *e)
{
	struct world *w = ctx;

	(void)id;
	return maybe(ctx, -ETIMEDOUT, e) ? -ETIMEDOUT : (int)w->lease;
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
	w->said_token |= m.type == SECTION_TOKEN && !(arbiter & OTHER_SESSION);
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

	ch.silence_ms = 1; /* no more than there is room for */
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
		return err_set(e, w->is_destination ? -ECANCELED : -EAGAIN, "nobody is there");
	}
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
	speak(w, ends[1]);
	*ch = channel_of(ends[0]);
	ch->cancel_fd = w->cancel_fd;
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

/* 1: it is to load what has come. */
static int serve(struct world *w, struct err *e)
{
	struct section s;
	int r;

	do {
		r = section_begin(&s, &w->ch, e);
		if (!r)
			r = handover_is_message(s.type) ? handover_destination_serve(&w->d, &s, e)
							: err_set(e, -EBADMSG, "no message");
		if (r == -ENOTCONN) {
			r = reconnect(w, &w->ch, e);
			w->d.h.connected = !r;
		}
	} while (!r);
	return r;
}

/* Where it is decided who has the VM, that says this side. */
static bool is_taken(const struct world *w)
{
	if (w->d.h.arbiter == ARBITER_LOCK)
		return w->record == RECORD_ACCEPTED;
	if (w->d.h.arbiter == ARBITER_LEASE)
		return w->lease == LEASE_HERE;
	return w->journal == JOURNAL_ACCEPTED;
}

static void be_destination(struct world *w)
{
	bool offered = w->record == RECORD_OFFERED;
	struct err e;
	int r = handover_destination_expect(&w->d, &e) ?: serve(w, &e);

	if (r != 1) {
		if (r != -ECONNREFUSED)
			handover_destination_refuse(&w->d, e.text);
		require(!w->locked && !is_taken(w));
		return;
	}
	handover_destination_ready(&w->d);
	r = handover_destination_await_token(&w->d, &e);
	require(r == HANDOVER_RUN || r == HANDOVER_REFUSED || r == HANDOVER_LOST);
	require(w->locked == (r == HANDOVER_RUN));
	require(r != HANDOVER_REFUSED || !is_taken(w));
	if (r != HANDOVER_RUN)
		return;
	/* The source let it go, or is dead and a lock proves that. */
	require(w->said_token || (w->d.h.arbiter == ARBITER_LOCK && offered));
	require(is_taken(w) && w->record == RECORD_ACCEPTED);
	handover_destination_accepted(&w->d);
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
	struct world w = { .input = { data, size }, .ch = channel_of(-1) };
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
				   .ch = &w.ch,
				   .reconnect = reconnect,
				   .reconnect_arg = &w };
	memcpy(w.s.h.id.session, session, sizeof(session));
	if (role & ANSWER && !(role & DESTINATION))
		w.s.h.arbiter = (enum arbiter)(arbiter % (ARBITER_LEASE + 1));
	else
		w.s.h.arbiter = arbiter % 2 ? ARBITER_LEASE : ARBITER_NONE;
	w.d.h = w.s.h;
	w.is_destination = role & DESTINATION;
	w.locked = !w.is_destination;
	w.cancel_fd = w.is_destination && role & CANCELLED ? w.s.resolve_fd : -1;
	if (w.is_destination)
		w.record = (enum handover_record)(role / RECORD % 4);
	if (role & RESOLVE)
		atomic_store(&w.s.resolve, RESOLVE_RUN);
	w.s.h.connected = w.d.h.connected = !reconnect(&w, &w.ch, &e);
	if (!w.s.h.connected)
		atomic_store(&w.s.leave, false);
	if (w.is_destination)
		be_destination(&w);
	else if (role & ANSWER)
		answer(&w);
	else
		be_source(&w);
	hang_up(&w);
	close(w.s.resolve_fd);
	return 0;
}

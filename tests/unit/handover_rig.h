/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts in memory for a hand-over: locks, owner records, a lease, a journal each, and a
 * network that carries one message at a time.  One thread a side; a side that dies stops before
 * its next step and its locks are free.  What the model claims is claimed at each step.
 */
#ifndef HANDOVER_RIG_H
#define HANDOVER_RIG_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/migrate/handover.h"
#include "bits.h"

enum side { NOBODY, SOURCE, DEST };
enum { DISKS_MAX = 2, TURN_US = 100, CALL_OFF_TURNS = 8 };

/* What goes wrong, when the at-th message is sent or before a side takes its at-th step. */
enum fault_kind { NOTHING, CUT, CRASH, CANCEL, FULL };
struct fault {
	enum fault_kind kind;
	enum side side; /* who dies or calls off */
	bool message; /* at counts messages, else steps of the side */
	bool delivered; /* this message arrives */
	int at;
	bool happened;
};

struct world;

/* One process on a host. */
struct actor {
	struct world *w;
	enum side side;
	bool dead, over;
	int steps;
	int cancel_fd; /* eventfd */
	struct channel ch;
	int idle; /* turns in which nobody connected */
	enum handover_outcome outcome;
	pthread_t thread;
};

struct world {
	pthread_mutex_t mutex;
	enum arbiter arbiter;
	unsigned disks;
	bool come_back; /* a host that died is started again */
	bool stubborn; /* a source that lost its connection offers again */
	struct fault fault[2];

	struct actor source, dest, source_again, dest_again;
	struct actor *at_source, *at_dest; /* the processes of now; NULL: the host is gone */
	enum side lock[2 * DISKS_MAX], lease;
	enum handover_record record[2 * DISKS_MAX];
	struct journal_entry journal[2];
	bool written[2]; /* the journal has an entry */
	struct handover_source handover;

	int messages, wires;
	int mailbox; /* the destination's end of a new connection; -1: none */
	bool expects, synced, whole, parked;
	unsigned was; /* journal states that were written: bits */
	bool was_whole;
	bool ready; /* the source was told READY */
	bool called_off; /* the source was, before that */
	bool settled; /* no fault strikes any more */
	bool stop; /* nobody will ask any more */
	bool source_runs, source_went_on, dest_runs, dest_ran, accepted, token_sent, discarded;
	bool refused; /* the destination said so */
	bool full[3]; /* by side: the next write fails, or the lease's next answer is lost */
};

static inline const char *plan(const struct world *w)
{
	static const char *const kinds[] = { "nothing", "cut", "crash", "cancel", "full" };
	static char text[256];
	int len = snprintf(text, sizeof(text), "arbiter %d, disks %u, back %d, stubborn %d",
			   (int)w->arbiter, w->disks, w->come_back, w->stubborn);

	for (int i = 0; i < 2 && w->fault[i].kind; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				"; %s of side %d at %s %d%s", kinds[w->fault[i].kind],
				(int)w->fault[i].side, w->fault[i].message ? "message" : "step",
				w->fault[i].at, w->fault[i].delivered ? ", delivered" : "");
	return text;
}

/* An assertion of Check's that holds is written down, too, in a file that all threads wait for. */
#define CLAIM(w, holds)                                                                            \
	do {                                                                                       \
		if (!(holds))                                                                      \
			ck_abort_msg("%s: %s", #holds, plan(w));                                   \
	} while (0)

/* Only a lock that both hosts see is one place for both. */
static inline unsigned place(const struct actor *a, unsigned disk)
{
	return a->w->arbiter != ARBITER_LOCK && a->side == DEST ? DISKS_MAX + disk : disk;
}

static inline void enter(struct world *w)
{
	pthread_mutex_lock(&w->mutex);
}

static inline void leave(struct world *w)
{
	pthread_mutex_unlock(&w->mutex);
}

/* Inside. */
static inline void die(struct actor *a)
{
	struct world *w = a->w;

	a->dead = true;
	for (unsigned i = 0; i < ARRAY_SIZE(w->lock); i++)
		if (w->lock[i] == a->side)
			w->lock[i] = NOBODY;
	if (a->side == SOURCE)
		w->source_runs = false;
	else
		w->dest_runs = w->whole = false;
	shutdown(a->ch.fd, SHUT_RDWR);
}

/* The dead do nothing.  Inside, which it leaves then. */
static inline void check_alive(struct actor *a)
{
	if (!a->dead)
		return;
	leave(a->w);
	pthread_exit(NULL);
}

static inline void strike(struct world *w, const struct fault *f)
{
	struct actor *a = f->side == SOURCE ? w->at_source : w->at_dest;
	uint64_t one = 1;

	if (!a || a->dead || w->settled)
		return;
	w->called_off |= f->kind == CANCEL && a == &w->source && !a->over && !w->ready;
	if (f->kind == CRASH)
		die(a);
	else if (f->kind == FULL)
		w->full[f->side] = true;
	else if (f->kind == CANCEL)
		ck_assert_int_eq(write(a->cancel_fd, &one, sizeof(one)), sizeof(one));
}

/* One step of a side, unless it dies before it.  Enters. */
static inline struct world *step(void *ctx)
{
	struct actor *a = ctx;
	struct world *w = a->w;

	enter(w);
	check_alive(a);
	a->steps++;
	for (unsigned i = 0; i < ARRAY_SIZE(w->fault); i++) {
		struct fault *f = &w->fault[i];

		if (f->kind && !f->message && !f->happened && f->side == a->side &&
		    f->at == a->steps) {
			f->happened = true;
			strike(w, f);
		}
	}
	check_alive(a);
	return w;
}

/*
 * The functions of struct handover_ops; ctx is the actor.
 */
static inline int write_record(void *ctx, unsigned disk, enum handover_record record, struct err *e)
{
	struct world *w = step(ctx);
	struct actor *a = ctx;
	int r = 0;

	CLAIM(w, w->lock[place(a, disk)] == a->side);
	CLAIM(w, !disk || w->record[place(a, 0)] == record);
	if (w->full[a->side])
		r = err_set(e, -ENOSPC, "the disk is full");
	else
		w->record[place(a, disk)] = record;
	w->full[a->side] = false;
	CLAIM(w, record != RECORD_ACCEPTED || !w->refused);
	if (!r && w->arbiter == ARBITER_LOCK && record == RECORD_ACCEPTED)
		w->accepted = true;
	leave(w);
	return r;
}

static inline int write_first(void *ctx, const struct handover_id *id, enum handover_record record,
			      struct err *e)
{
	(void)id;
	return write_record(ctx, 0, record, e);
}

static inline int write_others(void *ctx, const struct handover_id *id, enum handover_record record,
			       struct err *e)
{
	const struct actor *a = ctx;

	(void)id;
	return a->w->disks == 2 ? write_record(ctx, 1, record, e) : 0;
}

static inline int read_first(void *ctx, const struct handover_id *id, enum handover_record *record,
			     struct err *e)
{
	struct world *w = step(ctx);

	(void)id, (void)e;
	*record = w->record[place(ctx, 0)];
	leave(w);
	return 0;
}

static inline void let_go(void *ctx)
{
	struct actor *a = ctx;

	for (unsigned i = a->w->disks; i-- > 0;) {
		struct world *w = step(ctx);

		if (w->lock[place(a, i)] == a->side)
			w->lock[place(a, i)] = NOBODY;
		leave(w);
	}
}

static inline int take_locks(void *ctx, struct err *e)
{
	struct actor *a = ctx;
	bool taken = true;

	for (unsigned i = 0; taken && i < a->w->disks; i++) {
		struct world *w = step(ctx);
		enum side *lock = &w->lock[place(a, i)];

		if (*lock == NOBODY)
			*lock = a->side;
		taken = *lock == a->side;
		leave(w);
	}
	if (taken)
		return 0;
	let_go(ctx);
	return err_set(e, -EAGAIN, "another has the lock");
}

static inline int prove_lock(void *ctx, struct err *e)
{
	struct world *w = step(ctx);
	bool refused = w->lock[place(ctx, 0)] != NOBODY;

	(void)e;
	leave(w);
	return refused;
}

static inline int sync_disks(void *ctx, struct err *e)
{
	struct world *w = step(ctx);

	(void)e;
	w->synced = w->parked;
	leave(w);
	return 0;
}

static inline int write_journal(void *ctx, const struct journal_entry *entry, struct err *e)
{
	struct world *w = step(ctx);
	struct actor *a = ctx;
	int r = 0;

	if (w->full[a->side])
		r = err_set(e, -ENOSPC, "the disk is full");
	w->full[a->side] = false;
	CLAIM(w, entry->state != JOURNAL_ANSWERED || entry->arbiter != ARBITER_LOCK ||
			 w->was & BIT(JOURNAL_PROVEN));
	if (!r) {
		w->journal[a->side == DEST] = *entry;
		w->written[a->side == DEST] = true;
		w->was |= 1U << entry->state;
		CLAIM(w, entry->state != JOURNAL_ACCEPTED || !w->refused);
		if (w->arbiter == ARBITER_NONE && entry->state == JOURNAL_ACCEPTED)
			w->accepted = true;
	}
	leave(w);
	return r;
}

static inline int journal_last_entry(void *ctx, struct journal_entry *entry, struct err *e)
{
	struct world *w = step(ctx);
	struct actor *a = ctx;
	bool found = w->written[a->side == DEST];

	*entry = w->journal[a->side == DEST];
	leave(w);
	return found ? 0 : err_set(e, -ENOENT, "no entry");
}

static inline int find_entry(void *ctx, const char *session, struct journal_entry *entry,
			     struct err *e)
{
	int r = journal_last_entry(ctx, entry, e);

	return r || !strcmp(entry->session, session) ? r : err_set(e, -ENOENT, "no entry");
}

static inline int lease_take(void *ctx, const struct handover_id *id, struct err *e)
{
	struct world *w = step(ctx);
	const struct actor *a = ctx;
	bool mine, lost;

	(void)id;
	if (w->lease == NOBODY)
		w->lease = a->side;
	mine = w->lease == a->side;
	w->accepted |= w->lease == DEST;
	lost = w->full[a->side];
	w->full[a->side] = false;
	leave(w);
	return lost ? err_set(e, -ETIMEDOUT, "the lease does not answer") : mine;
}

static inline int lease_who(void *ctx, const struct handover_id *id, struct err *e)
{
	struct world *w = step(ctx);
	const struct actor *a = ctx;
	enum side who = w->lease;

	(void)id, (void)e;
	leave(w);
	return who == NOBODY ? LEASE_NOBODYS : who == a->side ? LEASE_HERE : LEASE_ELSEWHERE;
}

static const struct handover_ops rig_ops = {
	.write_first = write_first,
	.write_others = write_others,
	.read_first = read_first,
	.take_locks = take_locks,
	.let_go = let_go,
	.prove_lock = prove_lock,
	.sync_disks = sync_disks,
	.journal_write = write_journal,
	.journal_last = journal_last_entry,
	.journal_find = find_entry,
	.lease_take = lease_take,
	.lease_who = lease_who,
};

/*
 * The network: a thread between the two ends of a connection.
 */
struct wire {
	struct world *w;
	int fd[2]; /* to the source, to the destination */
};

/* What must be durable before a message goes out. */
static inline void claim_message(struct world *w, enum section_type type)
{
	switch (type) {
	case SECTION_OFFER:
		CLAIM(w, w->expects && w->was & BIT(JOURNAL_OFFERED));
		break;
	case SECTION_SEAL:
		CLAIM(w, w->synced && w->was & BIT(JOURNAL_ANSWERED));
		break;
	case SECTION_TOKEN:
		CLAIM(w, w->was_whole);
		w->token_sent = true;
		break;
	case SECTION_ACCEPTED:
		CLAIM(w, w->accepted);
		break;
	case SECTION_REFUSED:
		CLAIM(w, !w->accepted);
		w->refused = true;
		break;
	default:
		break;
	}
}

/* One message on its way; false: the connection is cut. */
static inline bool carry(struct wire *wire, int from)
{
	struct world *w = wire->w;
	bool deliver = true, go_on = true;
	uint8_t bytes[1024];
	size_t len;

	if (recv(wire->fd[from], bytes, 16, MSG_WAITALL) != 16)
		return false;
	len = 16 + get_le(bytes + 8, 8);
	ck_assert_uint_le(len, sizeof(bytes));
	if (recv(wire->fd[from], bytes + 16, len - 16, MSG_WAITALL) != (ssize_t)len - 16)
		return false;
	enter(w);
	claim_message(w, (enum section_type)get_le(bytes, 4));
	w->messages++;
	for (unsigned i = 0; i < ARRAY_SIZE(w->fault); i++) {
		struct fault *f = &w->fault[i];

		if (!f->kind || !f->message || f->happened || f->at != w->messages)
			continue;
		f->happened = true;
		strike(w, f);
		deliver &= f->delivered;
		go_on &= f->kind == CANCEL;
	}
	if (deliver && send(wire->fd[!from], bytes, len, MSG_NOSIGNAL) < 0)
		go_on = false;
	w->ready |= get_le(bytes, 4) == SECTION_READY;
	leave(w);
	return go_on;
}

static inline void *run_wire(void *arg)
{
	struct wire *wire = arg;
	struct pollfd p[2] = { { .fd = wire->fd[0], .events = POLLIN },
			       { .fd = wire->fd[1], .events = POLLIN } };
	bool go_on = true;

	while (go_on && poll(p, 2, -1) > 0)
		for (int i = 0; i < 2; i++)
			if (go_on && p[i].revents)
				go_on = carry(wire, i);
	close(wire->fd[0]);
	close(wire->fd[1]);
	enter(wire->w);
	wire->w->wires--;
	leave(wire->w);
	free(wire);
	return NULL;
}

/* The ends of a new connection.  Inside. */
static inline void connect_both(struct world *w, int *source_fd, int *dest_fd)
{
	struct wire *wire = calloc(1, sizeof(*wire));
	pthread_t thread;
	int s[2], d[2];

	wire->w = w;
	w->wires++;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, d), 0);
	ck_assert_int_eq(fcntl(s[0], F_SETFL, O_NONBLOCK) + fcntl(d[0], F_SETFL, O_NONBLOCK), 0);
	*source_fd = s[0];
	*dest_fd = d[0];
	wire->fd[0] = s[1];
	wire->fd[1] = d[1];
	ck_assert_int_eq(pthread_create(&thread, NULL, run_wire, wire), 0);
	pthread_detach(thread);
}

static inline void hang_up(struct channel *ch)
{
	if (ch->fd >= 0)
		close(ch->fd);
	ch->fd = -1;
}

static inline int connect_to_dest(void *arg, struct channel *ch, struct err *e)
{
	struct actor *a = arg;
	struct world *w = a->w;
	bool there;

	usleep(TURN_US);
	enter(w);
	check_alive(a);
	hang_up(ch);
	there = w->at_dest && !w->at_dest->dead && !w->at_dest->over;
	if (there) {
		if (w->mailbox >= 0)
			close(w->mailbox);
		connect_both(w, &ch->fd, &w->mailbox);
	}
	leave(w);
	return there ? 0 : err_set(e, -EAGAIN, "the destination does not answer");
}

static inline int accept_source(void *arg, struct channel *ch, struct err *e)
{
	struct actor *a = arg;
	struct world *w = a->w;
	int r = 0;

	usleep(TURN_US / 4);
	enter(w);
	check_alive(a);
	hang_up(ch);
	ch->fd = w->mailbox;
	w->mailbox = -1;
	if (ch->fd < 0)
		r = err_set(e, -EAGAIN, "nobody connected");
	/* Somebody waits for nothing any more and calls it off. */
	a->idle = r && (w->at_source != &w->source || w->source.over) ? a->idle + 1 : 0;
	if (a->idle > CALL_OFF_TURNS)
		r = -ECANCELED;
	leave(w);
	return r;
}

/*
 * A person, on the host of a source that died.
 */

/* Who says where it runs, where nothing else does, has looked at the destination's host; 0: it
 * still waits there. */
static inline int look_there(struct actor *a)
{
	struct world *w = step(a);
	const struct actor *d = w->at_dest;
	const bool waits = d && !d->dead && !d->outcome;
	int r = w->accepted ? HANDOVER_GIVEN : waits ? 0 : HANDOVER_RUN;

	leave(w);
	usleep(r ? 0 : TURN_US);
	return r;
}

/* With the locks: the record and the lease say no, or not; 0: the lease does not answer. */
static inline int may_start(struct actor *a, bool answered)
{
	enum handover_record record;
	struct err e;
	int r = 1;

	if (a->w->arbiter == ARBITER_LEASE)
		r = lease_take(a, NULL, &e);
	else if (a->w->arbiter == ARBITER_LOCK && answered && !read_first(a, NULL, &record, &e))
		r = record != RECORD_ACCEPTED;
	return r < 0 ? 0 : r ? HANDOVER_RUN : HANDOVER_GIVEN;
}

/* "godwit resolve --run" and "godwit run": its memory is lost, and a cold start leaves a record
 * that is no other's.  0: not yet. */
static inline int start_cold(struct actor *a, const struct journal_entry *last)
{
	const bool answered = last->state == JOURNAL_ANSWERED;
	struct journal_entry entry = *last;
	int r = HANDOVER_RUN;
	struct err e;

	if (answered && a->w->arbiter == ARBITER_NONE)
		r = look_there(a);
	if (r != HANDOVER_RUN)
		return r;
	if (take_locks(a, &e))
		return a->w->accepted ? HANDOVER_GIVEN : 0;
	r = may_start(a, answered);
	entry.state = JOURNAL_RUNNING;
	if (r == HANDOVER_RUN &&
	    (write_first(a, NULL, RECORD_OTHER, &e) || write_others(a, NULL, RECORD_OTHER, &e) ||
	     write_journal(a, &entry, &e)))
		r = 0;
	if (r != HANDOVER_RUN)
		let_go(a);
	return r;
}

#endif

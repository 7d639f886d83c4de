/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-over of docs/handover.md: who runs the VM of one migration, decided in one place, after
 * any loss of the connection and any crash.  The states and messages are called as on that page,
 * and tests/model checks the same steps.
 *
 * Source, on "_migrate": offer, (rounds; park; send the rest,) seal, commit; instead of commit
 * take_back.  Destination, on "_receive": expect, before the handshake's answer; serve, for each
 * message; ready, once all is loaded; await_token; the guest runs; accepted.  All of it blocks,
 * until the channel's cancel_fd is readable; the source's token cannot be called off.
 *
 * What the protocol touches is behind handover_ops, so that tests can be both hosts.  Messages
 * come from the network: one that does not belong there counts as a connection that is lost.
 */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "journal.h"
#include "section.h"

/* One message: session, arbiter and generation, then a sentence. */
enum { HANDOVER_SENTENCE_MAX = 255 };
struct handover_message {
	enum section_type type;
	char session[37];
	uint64_t generation; /* at which the VM is offered */
	enum arbiter arbiter; /* of SEEN: what the destination found */
	char sentence[HANDOVER_SENTENCE_MAX + 1]; /* of REFUSED and CANCEL: why; printable */
};

int handover_send(struct channel *, const struct handover_message *, struct err *);
/* The payload of a section whose header was read; any other type is -EBADMSG. */
int handover_receive(struct section *, struct handover_message *, struct err *);
static inline bool handover_is_message(uint32_t type)
{
	return type >= SECTION_OFFER && type <= SECTION_ASK;
}
const char *handover_message_name(enum section_type);

/* What an owner record says about a migration of generation g. */
enum handover_record {
	RECORD_OTHER, /* none, or nothing of these */
	RECORD_RUNNING, /* running, g */
	RECORD_OFFERED, /* offered, g, this migration */
	RECORD_ACCEPTED, /* running, g + 1, this migration; read: or whatever came of it later */
};

enum handover_lease { LEASE_NOBODYS, LEASE_HERE, LEASE_ELSEWHERE };

struct handover_id {
	char session[37];
	uint64_t generation;
};

/* Each is done, and durable, when it returns 0; -errno with a sentence. */
struct handover_ops {
	/* Owner records, with the locks in hand: of the first writable disk by id, of all others in
	 * order.  After a failure either may be there, the old one or the new one. */
	int (*write_first)(void *ctx, const struct handover_id *, enum handover_record,
			   struct err *);
	int (*write_others)(void *ctx, const struct handover_id *, enum handover_record,
			    struct err *);
	/* With or without the lock. */
	int (*read_first)(void *ctx, const struct handover_id *, enum handover_record *,
			  struct err *);

	/* Locks of all writable disks in order, no waiting; nothing if they are held.  -EAGAIN:
	 * another has one of them, and none is held now, as after any other failure. */
	int (*take_locks)(void *ctx, struct err *);
	void (*let_go)(void *ctx); /* in reverse order; nothing if they are not held */
	/* 1: the first one's lock is refused here, as another has it; 0: it was free, and is. */
	int (*prove_lock)(void *ctx, struct err *);
	int (*sync_disks)(void *ctx, struct err *); /* what the guest wrote is on every disk */

	int (*journal_write)(void *ctx, const struct journal_entry *, struct err *);
	int (*journal_last)(void *ctx, struct journal_entry *, struct err *); /* -ENOENT */
	int (*journal_find)(void *ctx, const char *session, struct journal_entry *, struct err *);

	/* The lease of generation g + 1.  1: this host has it now, or had it; 0: another has;
	 * -errno: unknown, it may have been given. */
	int (*lease_take)(void *ctx, const struct handover_id *, struct err *);
	/* enum handover_lease, or -errno: unknown. */
	int (*lease_who)(void *ctx, const struct handover_id *, struct err *);
};

/*
 * What both sides have.  The caller fills it in; ch is past the handshake.  For a source arbiter is
 * ARBITER_LEASE if there is a lease, else it is found out; for a destination likewise.
 */
struct handover {
	const struct handover_ops *ops;
	void *ctx;
	struct handover_id id;
	char peer[256]; /* for the journal */
	enum arbiter arbiter;
	struct channel *ch;
	bool connected;
	/*
	 * Give ch the fd of a new connection of this migration, past its handshake, and close the
	 * old one.  Waits for a while, as between attempts, but not for ever.  -ECANCELED: called
	 * off.  Whatever else: not now.  A source's ends its wait when resolve_fd is readable.
	 */
	int (*reconnect)(void *arg, struct channel *, struct err *);
	void *reconnect_arg;
};

enum handover_outcome {
	HANDOVER_RUN = 1, /* the VM is this side's: locks in hand, records and journal written */
	HANDOVER_GIVEN, /* source: the destination has it */
	HANDOVER_UNDECIDED, /* source: told to leave before it was known who has it */
	HANDOVER_REFUSED, /* destination: it never runs it */
	HANDOVER_LOST, /* destination: as if it had crashed; handover_answer() tells from now on */
};

enum handover_resolve { RESOLVE_NOT, RESOLVE_RUN, RESOLVE_DISCARD };

struct handover_source {
	struct handover h;
	bool offered; /* journal and records say so */
	bool refused; /* the destination said so: it never runs it */
	_Atomic(bool) undecided; /* neither side is known to have it; any thread reads */
	/* A person: main writes the word, then adds to the eventfd, which never blocks; -1: there
	 * is none.  Each word has the lock and the record looked at once more. */
	_Atomic(enum handover_resolve) resolve;
	_Atomic(bool) leave; /* as resolve: the process ends, what is written stays as it is */
	int resolve_fd;
};

/*
 * Until SEEN.  -ENOTCONN: the connection is lost; again with a new one, or take_back.
 * -ECONNREFUSED: the destination refuses, with its sentence.  After any failure but -ENOTCONN
 * only take_back is left.
 */
int handover_source_offer(struct handover_source *, struct err *);
/* The VM is parked and drained, and the rest is sent: until READY.  On failure take_back. */
int handover_source_seal(struct handover_source *, struct err *);
/*
 * The token.  -ECANCELED: called off before its first byte, take_back.  Else HANDOVER_RUN or
 * HANDOVER_GIVEN, however long that takes, or HANDOVER_UNDECIDED.
 */
int handover_source_commit(struct handover_source *, struct err *);
/* Instead of the token: the VM is the source's as before.  After a failure, which leaves a parked
 * VM parked, it may be tried again. */
int handover_source_take_back(struct handover_source *, struct err *);
/* After take_back, and once the VM runs again: CANCEL, as far as it can be said. */
void handover_source_cancelled(struct handover_source *, const char *sentence);

struct handover_destination {
	struct handover h;
	bool seen; /* an arbiter was looked for */
	bool whole; /* all memory and state are loaded */
	bool token;
	bool lease_asked; /* and perhaps given */
	uint64_t tried_ns, locked_ns; /* CLOCK_MONOTONIC, first and last: to take the disks */
};

int handover_destination_expect(struct handover_destination *, struct err *);
/*
 * One message whose header was read.  0: served.  1: SEAL; load everything, then say ready.
 * -ECONNREFUSED: called off or refused, for good.  -ENOTCONN: the connection is lost.
 */
int handover_destination_serve(struct handover_destination *, struct section *, struct err *);
/* All is loaded: READY. */
void handover_destination_ready(struct handover_destination *);
/* HANDOVER_RUN, _REFUSED or _LOST; of the others e says why. */
int handover_destination_await_token(struct handover_destination *, struct err *);
/* Before ready, or called off: never to run this one. */
int handover_destination_refuse(struct handover_destination *, const char *sentence);
/* The guest runs: ACCEPTED.  Later connections of the session are for handover_answer(). */
void handover_destination_accepted(struct handover_destination *);

/*
 * Answer one message of a source whose migration is over here, or was cut short by a crash: from
 * the journal, and where that is open, from the record or the lease.  -ENOENT: this host knows
 * nothing of it, and never says no.
 */
int handover_answer(const struct handover_ops *, void *ctx, struct channel *, struct err *);

/*
 * Parts that both sides use.
 */
void handover_say(struct handover *, enum section_type, const char *sentence);
/* The next message of this migration.  -ECANCELED: called off.  -ENOTCONN: no connection. */
int handover_hear(struct handover *, struct handover_message *, struct err *);
/* The same, if its header was read. */
int handover_take(struct handover *, struct section *, struct handover_message *, struct err *);
/* Until the connection has something to read, or for so long (-1: for ever): 1, 0, -ECANCELED. */
int handover_wait(const struct channel *, int timeout_ms);
int handover_journal(struct handover *, enum journal_state, struct err *);

#endif

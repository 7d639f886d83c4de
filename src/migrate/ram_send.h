/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending side of a live migration's memory: all pages that hold anything while the VM runs,
 * then in rounds those that were written meanwhile, the last of them with the VM stopped.
 *
 * One thread: new, attach, start, round as often as it takes, finish, stop, free. A page always
 * travels on the same connection, (gpa / 2 MiB) % n, so that rounds need no barrier; with more than
 * one each has a thread of its own during a round.
 *
 * -ENOTCONN: a connection is lost; whatever was not acknowledged will be sent again. Attach new
 * connections, all of them, and do what failed once more. -ECANCELED: called off. Anything else is
 * final. A sender may be stopped and freed after any of them.
 */
#ifndef RAM_SEND_H
#define RAM_SEND_H

#include <stdatomic.h>
#include <stdint.h>

#include "channel.h"
#include "err.h"
#include "migration.h"

struct ram_sender;
struct vm;

/* Since the beginning; any thread may read it. */
struct ram_progress {
	_Atomic uint64_t bytes; /* handed to the connections */
	_Atomic uint64_t pages, zero_pages; /* sent whole; sent as zero */
	_Atomic uint64_t diff_pages, diff_bytes; /* sent as differences, of so many bytes */
	_Atomic uint64_t compressed_pages, compressed_bytes; /* of pages; in so many bytes */
	_Atomic unsigned codec; /* of page_codecs + 1; 0: pages go as they are */
	_Atomic unsigned why; /* enum compress_why: they do, or not */
	_Atomic uint64_t hinted_pages; /* not sent: the guest need not keep them */
	_Atomic uint64_t resent_pages; /* of those: were under way when a connection was lost */
	_Atomic uint64_t round; /* 1: the first */
	_Atomic uint64_t remaining; /* pages of this round that are not looked at yet */
};

struct ram_round {
	uint64_t pending; /* pages, when it began, without those that were left out */
	uint64_t bytes, pages, zero_pages, diff_pages, hinted_pages;
	uint64_t duration_ns;
};

/* vm->mem is all it needs to live longer; vm->fd -1: without KVM. */
int ram_sender_new(struct ram_sender **, struct vm *, struct err *);

/* Before the first attach: what else than whole pages the receiver can read, of encodings.h. */
void ram_sender_allow(struct ram_sender *, unsigned encodings);

/* The receiver is at work behind each of them, and if n is another one than before it has been
 * resized; the channels stay the caller's and are used until the next attach or free. */
int ram_sender_attach(struct ram_sender *, struct channel *const data[], unsigned n, struct err *);

/* Log on. From here on pages count as pending when they are written. */
int ram_sender_start(struct ram_sender *, struct err *);
/* Between start and the first round: pages that the guest hints at from now on are left out of that
 * round, and go later if they are written after this.  Then hints are no use any more. */
int ram_sender_expect_hints(struct ram_sender *, struct err *);
void ram_sender_end_hints(struct ram_sender *); /* twice is fine */
/* -ETIME: it has ended early, and goes on when it is called again, over these connections or new
 * ones. */
int ram_sender_round(struct ram_sender *, struct ram_round *, struct err *);
/* After a round that ended early: all that went is acknowledged when this returns, and the
 * receivers are done. New connections are to be attached before more can go. */
int ram_sender_settle(struct ram_sender *, struct err *);
/* The VM is stopped, and it knows no bandwidth limit: when this returns 0, all is in the
 * receiver's memory. */
int ram_sender_finish(struct ram_sender *, struct ram_round *, struct err *);
void ram_sender_stop(struct ram_sender *); /* log off; takes milliseconds */
void ram_sender_free(struct ram_sender *);

/* Look what was written, without sending it: a round and finish do so by themselves. */
int ram_sender_harvest(struct ram_sender *, struct err *);
/* Pages that were found written and are not sent. */
uint64_t ram_sender_pending(const struct ram_sender *);

/* Any thread, one at a time; from then on. 0: no limit. */
void ram_sender_set_bandwidth(struct ram_sender *, uint64_t bytes_per_second);
void ram_sender_set_compress(struct ram_sender *, enum migration_compress);
/* A round ends then, of CLOCK_MONOTONIC; in the beginning never. */
void ram_sender_set_end(struct ram_sender *, uint64_t at_ns);
const struct ram_progress *ram_sender_progress(const struct ram_sender *);

#endif

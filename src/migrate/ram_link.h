/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One data connection of a ram_sender: gathers pages into sections and keeps the tables of those
 * that are under way. Acknowledgements come every SECTION_ACK_EVERY sections and wait in the socket
 * until the ring is full or all is sent: nothing waits for a single section.
 *
 * One thread at a time.
 */
#ifndef RAM_LINK_H
#define RAM_LINK_H

#include "guest_mem.h"
#include "limiter.h"
#include "ram_send.h"
#include "section.h"

/* Bitmaps of one region, a bit per page; no two links touch the same word. */
struct ram_bits {
	uint64_t *pending; /* to be sent */
	uint64_t *filled; /* was sent: may be anything but zero over there */
};

/* What the links of a sender share. */
struct ram_source {
	struct guest_mem *mem;
	unsigned encodings; /* bits of encodings.h, that both sides know */
	struct page_cache *cache; /* NULL: no differences are made */
	_Atomic unsigned compress; /* enum migration_compress */
	struct ram_bits bits[GUEST_MEM_REGIONS];
	struct limiter limiter;
	_Atomic uint64_t end_ns; /* a round but the last ends then: ram_sender_set_end() */
	struct ram_progress progress;
};

/* The runs of a section; the table is as it is sent. */
struct ram_runs {
	unsigned n;
	uint64_t bytes;
	gpa_t end; /* of the newest run */
	uint8_t table[SECTION_RAM_HEAD_BYTES + SECTION_RUN_BYTES * SECTION_RUNS_MAX];
};

enum { RAM_RING = 8 * SECTION_ACK_EVERY };

struct ram_link {
	struct ram_source *source;
	struct channel *ch;
	struct limiter_taker taker;
	struct ram_runs pages, zeros; /* being gathered */
	struct ram_runs copies, diffs; /* as well, by the pack */
	struct ram_pack *pack; /* NULL: pages go whole, from where they are */
	uint64_t sent, acked; /* sections */
	struct ram_runs ring[RAM_RING]; /* those between, section i in ring[i % RAM_RING] */
};

static inline bool ram_runs_is_full(const struct ram_runs *runs, gpa_t gpa)
{
	return runs->bytes == SECTION_PAGES_MAX ||
	       (runs->n == SECTION_RUNS_MAX && gpa != runs->end);
}

/* A page, unless it is full. */
void ram_runs_add(struct ram_runs *, gpa_t);

/* Its connection is gone for good: what the receiver need not have is pending again. */
void ram_link_abandon(struct ram_link *);
/* On a new connection: the receiver says what it has, the rest is pending again. */
int ram_link_attach(struct ram_link *, struct channel *, struct err *);

/* The page is pending no more when it is taken. hole: it is zero, and is not looked at; hurry: no
 * bandwidth limit. */
int ram_link_page(struct ram_link *, struct guest_mem_region *, uint64_t page, bool hole,
		  bool hurry, struct err *);
int ram_link_flush(struct ram_link *, bool hurry, struct err *);
/* What the pack made of these runs; they are empty then. Nothing, if they are already. */
int ram_link_send(struct ram_link *, enum section_type, struct ram_runs *, const void *body,
		  size_t len, bool hurry, struct err *);
/* After the last flush: returns when everything is acknowledged. */
int ram_link_done(struct ram_link *, struct err *);

#endif

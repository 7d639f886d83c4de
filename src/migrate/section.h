/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing of streams: sections with a type, a length and a checksum, written from and
 * read to buffers of the caller, so that pages are never copied on their way.
 */
#ifndef SECTION_H
#define SECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "channel.h"
#include "err.h"

/* Written into streams: they never change. */
enum section_type {
	SECTION_MEMORY = 1,
	SECTION_RAM = 2,
	SECTION_DEVICE = 3,
	SECTION_END = 4,
	/* On the data connections of a live migration; from 16 on, as above 4 is room for files */
	SECTION_PAGES = 16, /* as RAM, but section_write_pages(), and flags of enum section_flag */
	SECTION_ZEROS = 17, /* runs of pages that became zero: a table of runs, no pages */
	SECTION_ACK = 18, /* u64: sections of this connection that are in memory */
	SECTION_DONE = 19, /* u64: sections before it: the last one */
	SECTION_DIFF = 20, /* as ZEROS; then u16 length and difference (page_diff.h) of each page */
	SECTION_LZ4 = 21, /* as PAGES, but the pages are one LZ4 block, */
	SECTION_ZSTD = 22, /* or a Zstandard frame */
	/* The messages of a hand-over (handover.h). */
	SECTION_OFFER = 32,
	SECTION_SEEN = 33,
	SECTION_SEAL = 34,
	SECTION_READY = 35,
	SECTION_TOKEN = 36,
	SECTION_ACCEPTED = 37,
	SECTION_REFUSED = 38,
	SECTION_CANCEL = 39,
	SECTION_ASK = 40,
	SECTION_HELLO = 48, /* the first words of a connection (hello.h) */
	SECTION_TRIAL = 49, /* bytes that are thrown away (trial.h) */
};

/* The second word of a PAGES section's head; the first is the number of runs. */
enum section_flag {
	SECTION_FIRST_TIME = 1 << 0, /* a hint: pages among these were never sent before */
};

enum {
	SECTION_RUN_BYTES = 16, /* address and length */
	SECTION_RAM_HEAD_BYTES = 8, /* before the runs */
	SECTION_RUNS_MAX = 256,
	SECTION_PAGES_MAX = 2 << 20, /* bytes of pages in one RAM section */
	SECTION_PACKED_MAX =
		256 << 10, /* bytes behind the runs of DIFF, and of pages in LZ4 and ZSTD */
	SECTION_ACK_EVERY = 16, /* sections; how often a receiver acknowledges */
	SECTION_RECORD_MAX = 16 << 20, /* bytes of a DEVICE section */
};

/* The bytes before the first section. */
int section_write_magic(struct channel *, struct err *);
int section_read_magic(struct channel *, struct err *);

/* Write one section; iov[0] is used for its header, niov includes it.  iov is used up. */
int section_write(struct channel *, enum section_type, struct iovec *iov, int niov, struct err *);
/* The same, but the checksum covers iov[1] only: pages on a connection have that of TCP or TLS. */
int section_write_pages(struct channel *, enum section_type, struct iovec *iov, int niov,
			struct err *);

struct section {
	struct channel *ch;
	uint32_t type, crc, expected;
	uint64_t left; /* of the payload */
};

/* Read the header of the next section. */
int section_begin(struct section *, struct channel *, struct err *);
/* Read exactly this much of the payload; iov, at most SECTION_RUNS_MAX, is used up. */
int section_read(struct section *, void *, size_t len, struct err *);
int section_readv(struct section *, struct iovec *iov, int niov, struct err *);
/* Refuse damage in what was read so far. Before pages: it must not send them elsewhere. */
int section_check(const struct section *, struct err *);
/* For what section_write_pages() leaves out of the checksum. */
int section_read_pages(struct section *, struct iovec *iov, int niov, struct err *);
/* Refuse what was not read, or what is damaged. */
int section_end(const struct section *, struct err *);

#endif

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

enum section_type { SECTION_MEMORY = 1, SECTION_RAM, SECTION_DEVICE, SECTION_END };

enum {
	SECTION_RUN_BYTES = 16, /* address and length */
	SECTION_RAM_HEAD_BYTES = 8, /* before the runs */
	SECTION_RUNS_MAX = 256,
	SECTION_PAGES_MAX = 2 << 20, /* bytes of pages in one RAM section */
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
/* The same, for what section_write_pages() leaves out of the checksum. */
int section_read_pages(struct section *, struct iovec *iov, int niov, struct err *);
/* Refuse what was not read, or what is damaged. */
int section_end(const struct section *, struct err *);

#endif

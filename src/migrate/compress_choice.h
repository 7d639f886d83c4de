/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether pages are compressed, and by what: from numbers only. Where that is left open, they go as
 * they are over a link that is hardly slower than any compressor. For others each is tried on a
 * batch, and the one with which a page is over there first is taken. That is looked at again when
 * it gains nothing any more, and now and then: for that pages go as they are for a while, as a link
 * that is not full does not show how fast it is.
 */
#ifndef COMPRESS_CHOICE_H
#define COMPRESS_CHOICE_H

#include <stdint.h>

#include "migration.h"
#include "page_codec.h"

enum compress_why {
	COMPRESS_NOT_KNOWN, /* the link's speed is not */
	COMPRESS_ASKED,
	COMPRESS_NOT_READ, /* the destination cannot */
	COMPRESS_FAST_LINK,
	COMPRESS_NO_GAIN,
	COMPRESS_GAIN,
};

struct compress_choice {
	enum migration_compress wanted;
	unsigned encodings; /* that the destination reads */
	unsigned codec; /* of page_codecs; PAGE_CODECS: pages go as they are */
	enum compress_why why;
	bool trying; /* codec is on trial, and those behind it are to come */
	uint64_t rest; /* pages to go before the next look */
	struct {
		uint64_t ns, bytes; /* of a page, on average; 0: not known */
	} cost[PAGE_CODECS];
};

void compress_choice_set(struct compress_choice *, enum migration_compress, unsigned encodings);
/* The link was found to take so long for a page as it is. */
void compress_choice_link(struct compress_choice *, uint64_t pages, uint64_t page_ns);
/* A batch was compressed. */
void compress_choice_note(struct compress_choice *, uint64_t pages, uint64_t ns, uint64_t bytes,
			  uint64_t page_ns);
/* How long a page takes in all, in the form that it has now. */
uint64_t compress_choice_ns(const struct compress_choice *, uint64_t page_ns);

#endif

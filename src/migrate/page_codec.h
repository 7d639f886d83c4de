/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What compresses pages: a batch of them at once, each batch by itself. Who decompresses one may
 * have it from an enemy.
 *
 * One thread at a time for each context.
 */
#ifndef PAGE_CODEC_H
#define PAGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "encodings.h"
#include "section.h"

enum { PAGE_CODECS = 2 };

struct page_codec {
	const char *name;
	enum encoding encoding;
	enum section_type type;
	/* The length of what is in out; 0: there is no room for it. */
	size_t (*compress)(void *context, const void *in, size_t len, void *out, size_t room);
	/* Exactly so many bytes, and no other is written. */
	bool (*decompress)(void *context, const void *in, size_t len, void *out, size_t wanted);
	void *(*new_compressor)(void); /* NULL: there is no memory */
	void *(*new_decompressor)(void);
	void (*free_compressor)(void *context);
	void (*free_decompressor)(void *context);
};

/* From the fastest to the one that makes least of it. */
extern const struct page_codec page_codecs[PAGE_CODECS];

#endif

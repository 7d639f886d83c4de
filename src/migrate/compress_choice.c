/* SPDX-License-Identifier: Apache-2.0 */
#include "compress_choice.h"

#include <string.h>

#include "bits.h"
#include "guest_mem.h"

enum {
	FAST_NS = 8000, /* of a page, 4 Gbit/s: copying and unpacking cost a part of that, too */
	LOOK_AGAIN_PAGES = 512 * MIB / GUEST_PAGE_BYTES,
	WEIGHT = 8, /* of what is known of a cost, against what a batch adds */
};

static bool is_read(const struct compress_choice *c, unsigned codec)
{
	return c->encodings & page_codecs[codec].encoding;
}

static uint64_t codec_ns(const struct compress_choice *c, unsigned codec, uint64_t page_ns)
{
	return c->cost[codec].ns + c->cost[codec].bytes * page_ns / GUEST_PAGE_BYTES;
}

uint64_t compress_choice_ns(const struct compress_choice *c, uint64_t page_ns)
{
	return c->codec < PAGE_CODECS ? codec_ns(c, c->codec, page_ns) : page_ns;
}

static void take(struct compress_choice *c, unsigned codec, enum compress_why why)
{
	c->codec = codec;
	c->why = why;
	c->trying = false;
	c->rest = LOOK_AGAIN_PAGES;
}

/* The next of those that are read. */
static unsigned next_codec(const struct compress_choice *c, unsigned codec)
{
	while (codec < PAGE_CODECS && !is_read(c, codec))
		codec++;
	return codec;
}

void compress_choice_set(struct compress_choice *c, enum migration_compress wanted,
			 unsigned encodings)
{
	unsigned codec = wanted - MIGRATION_COMPRESS_LZ4;

	*c = (struct compress_choice){ .wanted = wanted, .encodings = encodings };
	if (wanted == MIGRATION_COMPRESS_AUTO)
		c->codec = PAGE_CODECS;
	else if (wanted == MIGRATION_COMPRESS_NONE)
		take(c, PAGE_CODECS, COMPRESS_ASKED);
	else if (is_read(c, codec))
		take(c, codec, COMPRESS_ASKED);
	else
		take(c, PAGE_CODECS, COMPRESS_NOT_READ);
}

void compress_choice_link(struct compress_choice *c, uint64_t pages, uint64_t page_ns)
{
	c->rest -= MIN(c->rest, pages);
	if (c->wanted != MIGRATION_COMPRESS_AUTO || c->rest || c->codec < PAGE_CODECS)
		return;
	c->why = COMPRESS_FAST_LINK;
	if (page_ns < FAST_NS)
		return;
	memset(c->cost, 0, sizeof(c->cost));
	c->codec = next_codec(c, 0);
	c->trying = c->codec < PAGE_CODECS;
	c->why = c->trying ? COMPRESS_NOT_KNOWN : COMPRESS_NOT_READ;
}

static void note_cost(struct compress_choice *c, uint64_t ns, uint64_t bytes)
{
	uint64_t *known_ns = &c->cost[c->codec].ns, *known_bytes = &c->cost[c->codec].bytes;

	*known_ns = *known_ns ? (*known_ns * (WEIGHT - 1) + ns) / WEIGHT : ns;
	*known_bytes = *known_bytes ? (*known_bytes * (WEIGHT - 1) + bytes) / WEIGHT : bytes;
}

/* All have had a batch: the least time, if it is clearly less than that of the link alone. */
static void decide(struct compress_choice *c, uint64_t page_ns)
{
	uint64_t least = page_ns / 4 * 3;
	unsigned best = PAGE_CODECS;

	for (unsigned i = 0; i < PAGE_CODECS; i++)
		if (is_read(c, i) && codec_ns(c, i, page_ns) < least) {
			least = codec_ns(c, i, page_ns);
			best = i;
		}
	take(c, best, best < PAGE_CODECS ? COMPRESS_GAIN : COMPRESS_NO_GAIN);
}

void compress_choice_note(struct compress_choice *c, uint64_t pages, uint64_t ns, uint64_t bytes,
			  uint64_t page_ns)
{
	unsigned next = next_codec(c, c->codec + 1);

	note_cost(c, ns / pages, bytes / pages);
	if (c->wanted != MIGRATION_COMPRESS_AUTO)
		return;
	c->rest -= MIN(c->rest, pages);
	if (c->trying && next < PAGE_CODECS) {
		c->codec = next;
	} else if (c->trying) {
		decide(c, page_ns);
	} else if (compress_choice_ns(c, page_ns) >= page_ns) {
		take(c, PAGE_CODECS, COMPRESS_NO_GAIN);
	} else if (!c->rest) {
		c->codec = PAGE_CODECS;
		c->why = COMPRESS_NOT_KNOWN;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "page_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bits.h"

#define CACHE_BYTES_MAX UINT64_C(0x4000000)

enum {
	MEMORY_SHARE = 8, /* of the guest's memory, one part in so many at most */
	PIECE_PAGES = 2 * MIB / GUEST_PAGE_BYTES,
};

struct page_cache {
	uint64_t nslots; /* a multiple of PIECE_PAGES times n, so that no slot has two owners */
	unsigned n;
	uint8_t *pages;
	struct slot {
		uint64_t tag; /* number of the page + 1; 0: none */
		uint64_t round; /* in which it was filled */
	} slot[];
};

struct page_cache *page_cache_new(uint64_t memory_bytes, unsigned n)
{
	const uint64_t unit = (uint64_t)n * PIECE_PAGES;
	uint64_t most = MIN(CACHE_BYTES_MAX, memory_bytes / MEMORY_SHARE) / GUEST_PAGE_BYTES;
	uint64_t nslots = MAX(most / unit, 1) * unit, bytes = nslots * GUEST_PAGE_BYTES;
	struct page_cache *c = calloc(1, sizeof(*c) + nslots * sizeof(c->slot[0]));

	if (!c)
		return NULL;
	/* It takes memory where it is filled. */
	c->pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->pages == MAP_FAILED) {
		free(c);
		return NULL;
	}
	c->nslots = nslots;
	c->n = n;
	return c;
}

void page_cache_free(struct page_cache *c)
{
	if (!c)
		return;
	munmap(c->pages, c->nslots * GUEST_PAGE_BYTES);
	free(c);
}

static uint64_t slot_of(const struct page_cache *c, gpa_t gpa)
{
	return gpa / GUEST_PAGE_BYTES % c->nslots;
}

static uint64_t tag_of(gpa_t gpa)
{
	return gpa / GUEST_PAGE_BYTES + 1;
}

uint8_t *page_cache_find(struct page_cache *c, gpa_t gpa)
{
	uint64_t slot = slot_of(c, gpa);

	return c->slot[slot].tag == tag_of(gpa) ? c->pages + slot * GUEST_PAGE_BYTES : NULL;
}

uint8_t *page_cache_put(struct page_cache *c, gpa_t gpa, uint64_t round)
{
	uint64_t slot = slot_of(c, gpa);
	struct slot *s = &c->slot[slot];

	if (s->tag && s->tag != tag_of(gpa) && s->round + 1 >= round)
		return NULL;
	*s = (struct slot){ tag_of(gpa), round };
	return c->pages + slot * GUEST_PAGE_BYTES;
}

void page_cache_forget(struct page_cache *c, gpa_t gpa)
{
	uint64_t slot = slot_of(c, gpa);

	if (c->slot[slot].tag == tag_of(gpa))
		c->slot[slot].tag = 0;
}

void page_cache_clear(struct page_cache *c, unsigned i)
{
	for (uint64_t slot = (uint64_t)i * PIECE_PAGES; slot < c->nslots;
	     slot += (uint64_t)c->n * PIECE_PAGES)
		memset(&c->slot[slot], 0, PIECE_PAGES * sizeof(c->slot[0]));
}

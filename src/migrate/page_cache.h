/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of pages as the destination has them, to make differences against: a bounded part of
 * them, of which each page has one slot that it shares with others (direct mapped). Pages that lie
 * together have slots of their own as long as the cache is bigger than they are; beyond that some
 * stay and others never come in, rather than all drive each other out.
 *
 * A connection has the pages of (gpa / 2 MiB) % n, and no two connections share a slot: each link's
 * thread uses those of its own pages, and there is no lock.
 */
#ifndef PAGE_CACHE_H
#define PAGE_CACHE_H

#include <stdint.h>

#include "guest_mem.h"

struct page_cache;

/* For so much guest memory on n connections.  NULL: there is no memory for it. */
struct page_cache *page_cache_new(uint64_t memory_bytes, unsigned n);
void page_cache_free(struct page_cache *);

/* What the destination has there; NULL: that is not known. */
uint8_t *page_cache_find(struct page_cache *, gpa_t);
/* Its slot, to be filled with what is sent in this round. NULL: it belongs to another page, which
 * was sent in this round or the one before. */
uint8_t *page_cache_put(struct page_cache *, gpa_t, uint64_t round);
/* It is sent in another way. */
void page_cache_forget(struct page_cache *, gpa_t);
/* All that connection i has. */
void page_cache_clear(struct page_cache *, unsigned i);

#endif

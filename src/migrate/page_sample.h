/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest has in its memory and how much of it it writes, from looks at a few hundred random
 * pages.  A look reads only what is in memory anyway: what was never touched, was given back or is
 * swapped out stays so.
 *
 * Any thread that the memory outlives, one at a time.
 */
#ifndef PAGE_SAMPLE_H
#define PAGE_SAMPLE_H

#include <stdbool.h>

#include "memory_watch.h"

struct guest_mem;
struct page_sample;

/* How long after the look before: a page that is written again and again counts once in each. */
enum page_window {
	PAGE_WINDOW_SHORT, /* page_sample_short_ms(): how fast it writes */
	PAGE_WINDOW_LONG, /* many: to how much memory */
};

struct page_sample *page_sample_new(struct guest_mem *); /* NULL: out of memory */
void page_sample_free(struct page_sample *); /* NULL is fine */
/* The first one is only what the next is compared with. */
void page_sample_look(struct page_sample *, enum page_window);
/* How long the next short window should be: a second, or less where most of what is written at all
 * is written anew in that. */
unsigned page_sample_short_ms(const struct page_sample *);
/* The guest's memory has grown or shrunk since, or nobody has looked for long. */
bool page_sample_is_stale(const struct page_sample *);
/* What the whole memory would be, as far as the sample shows it. */
void page_sample_find(const struct page_sample *, struct memory_writes *);

#endif

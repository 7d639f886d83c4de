/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of guest pages without sending them.  Any thread. */
#ifndef PAGE_H
#define PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "guest_mem.h"

/* Reads no further than the first block that is not. */
bool page_is_zero(const void *page);

/*
 * The next part [*from, *to) of the region that may hold anything; false: no more.  Reading a
 * hole of shared memory would allocate it; reading private memory costs nothing but time.
 */
bool page_next_data(const struct guest_mem *, const struct guest_mem_region *, uint64_t *from,
		    uint64_t *to);

/* Set the bits of all pages of the region that may hold anything.  This knows of private memory,
 * too, what was never touched. */
void page_find_data(const struct guest_mem *, const struct guest_mem_region *, uint64_t *bits);

#endif

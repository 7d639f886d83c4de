/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page as the difference to what it held before: for each run of bytes that changed, how many
 * bytes before it did not, how many did, and those. Both numbers are LEB128 of at most two bytes.
 * Behind the last run nothing changed; a page that did not change at all has no bytes.
 *
 * Any thread.  Nobody else may write to any of these pages meanwhile: of a page that a guest writes
 * to, make a copy first.
 */
#ifndef PAGE_DIFF_H
#define PAGE_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest_mem.h"

/* A longer difference is not worth its name. */
enum { PAGE_DIFF_MAX = GUEST_PAGE_BYTES / 2 };

/* What makes page out of base, *len bytes; false: it would be longer than PAGE_DIFF_MAX, and out
 * holds anything.  Pages are aligned to 32 bytes. */
bool page_diff_make(const void *base, const void *page, uint8_t out[PAGE_DIFF_MAX], size_t *len);

/* Make page, which is the base, what it became.  The difference may come from an enemy: false, and
 * nothing changed, if it is none. */
bool page_diff_apply(void *page, const uint8_t *diff, size_t len);

#endif

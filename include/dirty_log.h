/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of guest memory were written: KVM's dirty bitmap (the guest, by its vCPUs) with the
 * monitor's own (guest_mem_mark_dirty()).  Bitmaps have one bit per page of a region.
 *
 * Where KVM can (manual protection), harvesting only looks, and a page is write-protected when
 * its bit is cleared, just before it is read: a guest is slowed down where the reader is and not
 * everywhere at once.  Then the log may begin with every bit set.
 *
 * start and stop: one thread.  harvest and clear: any, but no two for the same bits.  A VM without
 * KVM (fd -1) has the monitor's own bits only.
 */
#ifndef DIRTY_LOG_H
#define DIRTY_LOG_H

#include <stdint.h>

#include "err.h"

struct dirty_log;
struct vm;

int dirty_log_start(struct dirty_log **, struct vm *, struct err *);
void dirty_log_stop(struct dirty_log *); /* frees it, too */

/* Set the bits of the pages of a region that were written since they were last cleared. */
int dirty_log_harvest(struct dirty_log *, unsigned region, uint64_t *bits, struct err *);

/*
 * Before pages are read: from now on a write to them is seen again.  bits[0] begins with the page
 * first; first and npages are multiples of 64, but at the region's end.
 */
int dirty_log_clear(struct dirty_log *, unsigned region, uint64_t first, uint64_t npages,
		    const uint64_t *bits, struct err *);

#endif

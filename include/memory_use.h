/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the guest's memory the host holds.  The kernel keeps these sums for a process, so a
 * look costs the same for every size of guest; to tell the monitor's own few MiB apart it would
 * walk all pages.  Pages of shared memory that are swapped out are in neither number.
 */
#ifndef MEMORY_USE_H
#define MEMORY_USE_H

#include "counters.h"

struct memory_use {
	_Atomic uint64_t rss, swapped; /* bytes */
};

extern const struct counter_table memory_use_table;

struct vm;
/* use is zeroed; false: this host does not tell.  On main. */
bool memory_use_read(struct vm *, struct memory_use *use);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the migrations went that this host took part in, for people and their tools: one file for
 * each, and each side, in "migrations" of the state directory.  A name is when it began, in UTC, so
 * that names sort by time, the VM's uuid, and the side.  Of each VM the newest HISTORY_KEPT are
 * kept.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum { HISTORY_KEPT = 32 };

struct history_entry {
	const char *uuid; /* of the VM */
	bool incoming;
	uint64_t began_us; /* since 1970 */
};

/* There as a whole, or not at all; takes the place of what was written of this entry before.  Waits
 * for the disk. */
int history_write(const struct history_entry *, const json_t *, struct err *);

#endif

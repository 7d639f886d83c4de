/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When memory was copied often enough, and how much the vCPUs are slowed down before that: from
 * numbers only.
 *
 * The blackout is to be one that nobody notices, not just one that is allowed. As long as each
 * round finds at most half of what the one before did, nothing has to be done for that. Then the
 * vCPUs are slowed down rather than stopped earlier: a round that they spend at a part of their
 * speed costs the guest no more than standing still while the same pages are sent.
 */
#ifndef CONVERGE_H
#define CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

/* After a round. */
struct outlook {
	uint64_t before; /* pages that it began with */
	uint64_t pending; /* that were written since */
	uint64_t send_ns; /* how long those take, if the guest stands still now */
	uint64_t limit_ns; /* the longest blackout that is wanted */
	unsigned percent; /* that the vCPUs are slowed down by */
};

/* If it stops now. */
uint64_t converge_blackout_ns(const struct outlook *);
/* No blackout of another round's end is worth that round. */
bool converge_is_enough(const struct outlook *);
/* By how much to slow the vCPUs down in the next round. */
unsigned converge_percent(const struct outlook *);

#endif

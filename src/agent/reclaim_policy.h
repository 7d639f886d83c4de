/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel is to put into the host's swap of VMs that have given what they can, while the
 * host is still short of memory.  Pure.
 */
#ifndef RECLAIM_POLICY_H
#define RECLAIM_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reclaim_host {
	double seconds; /* since the beat before */
	uint64_t lack, swap; /* bytes that it is short of, and that its swap has free */
};

/* Seconds are 0 at first. */
struct reclaim_guest {
	uint64_t min, most, resident; /* bytes that it keeps, may have, and has of the host's */
	bool gives; /* something else can be had of it yet */
	double psi; /* share of time that its group waited for memory */
	double seconds; /* for so long there was nothing else */
	uint64_t bytes; /* to be put there; 0: nothing */
};

void reclaim_policy(const struct reclaim_host *, struct reclaim_guest *const guests[], size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory each VM of a host is to have: as long as the host is short of it, VMs that can do
 * without some give it, those with most to spare first; whoever waits for memory has it back at
 * once, and all have it back slowly when the host has plenty.  Pure: samples in, targets out.
 *
 * A guest is left what it uses and beside that three deviations of what it used in the last
 * samples, or what its monitor leaves it (docs/memory.md) if that is more.  One that comes to
 * use more has more before it has to wait, host short or not.
 */
#ifndef MEMORY_POLICY_H
#define MEMORY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMORY_BEAT_S = 2, MEMORY_SAMPLES = 60 };

struct memory_host {
	uint64_t available, reserve; /* reserve: of it, so much should stay */
	uint64_t margin; /* it is short with less than this beside the reserve */
};

/* Of a guest, at each beat. */
struct memory_sample {
	uint64_t asked, given; /* what it is to have and has; bytes */
	uint64_t available; /* of that, to its programs */
	uint64_t stalls; /* how often anybody waited for memory in it: only grows */
	double psi; /* share of time that its group waited for memory */
};

enum memory_why { MEMORY_STAYS, MEMORY_TAKEN, MEMORY_STALLED, MEMORY_NEEDED, MEMORY_PLENTY };

/* All 0 before its first sample but for min and max. */
struct memory_guest {
	uint64_t min, max; /* what it may have at least and at most */
	struct memory_sample now;
	uint64_t used[MEMORY_SAMPLES]; /* a ring */
	unsigned n, next;
	uint64_t risen; /* what it uses, since the sample before */
	uint64_t step; /* that the last taking took; 0: it was given back */
	unsigned rest; /* beats since it was last given or taken anything */
	unsigned calm; /* and since it waited for memory */
	bool stalled; /* since the sample before */
	uint64_t target;
	enum memory_why why;
};

void memory_guest_add(struct memory_guest *, const struct memory_sample *);
/* What it can do with, as far as is known: within min and max. */
uint64_t memory_guest_wants(const struct memory_guest *);

/* One beat: target and why of each, of whom a sample was added. */
void memory_policy(const struct memory_host *, struct memory_guest *const guests[], size_t n);
/* After that: what the host is short of when all this has come and gone, and whether there may be
 * more to be had of one, or it has to be left alone first. */
uint64_t memory_lack(const struct memory_host *, struct memory_guest *const guests[], size_t n);
bool memory_guest_gives(const struct memory_guest *);

#endif

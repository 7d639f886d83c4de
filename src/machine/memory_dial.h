/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the guest has, as one number: what it was made with, and what it plugs of the
 * rest (virtio_mem.h), less what its balloon takes (balloon.h).  The balloon does what blocks are
 * too large for, and stands in for blocks that the guest cannot unplug.
 *
 * Less of it goes by steps, as far as the guest says that it can do without, and if it cannot, it
 * has back what it had.
 *
 * All calls on main, under the machine lock.
 */
#ifndef MEMORY_DIAL_H
#define MEMORY_DIAL_H

#include "balloon.h"
#include "config.h"
#include "loop.h"
#include "machine.h"
#include "vm.h"

struct memory_dial {
	struct vm *vm;
	const struct config *config; /* says how much it is to be */
	struct timer look;
	unsigned looks_left; /* after all is as it is to be */
	uint64_t wanted, before; /* bytes: in the end, and when that was changed */
	uint64_t now; /* what the guest is asked for on its way */
	/* What the guest has plugged, since when */
	uint64_t plugged, plugged_ns;
	uint64_t kept; /* of it the balloon stands in for */
	/* What the guest says of itself; samples, oom_kills: before it was asked */
	struct balloon_ask ask;
	bool asking, kills_known;
	uint64_t samples, oom_kills;
	unsigned starved; /* answers with nothing to spare, one after another */
	void (*back)(void *arg, uint64_t bytes); /* it is to be so much again; NULL: nobody cares */
	void *arg;
};

void memory_dial_init(struct memory_dial *, struct vm *, const struct config *);
void memory_dial_cancel(struct memory_dial *);
/* The VM runs, from the start, after a reset or again: it goes on from there. */
void memory_dial_watch(struct memory_dial *);
void memory_dial_reset(
	struct memory_dial *); /* the guest begins anew, with what it was made with */
/* As machine_resize_memory(). */
void memory_dial_turn(struct memory_dial *, bool gently);
/* As machine_memory(). */
void memory_dial_read(const struct memory_dial *, struct machine_memory *);

#endif

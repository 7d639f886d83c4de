/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on virtio devices: of hostile.c, which looks at what each of them did to a disk, and of
 * evil.c, which makes them on all devices as fast as it can. An attack starts from a device that is
 * ready with one queue; what it leaves behind is reset afterwards.
 */
#ifndef GUEST_HOSTILE_H
#define GUEST_HOSTILE_H

#include "lib/virtio.h"

enum { QUEUE_SIZE = 16, PAGE = 4096 };

struct target {
	struct virtio d;
	struct virtq q;
	struct blk_request r;
	uint16_t queue; /* the one that is used */
	uint64_t features; /* that are wanted */
	uint64_t patience_us; /* until an attack must have been noticed */
	bool asked; /* for a reset, the device has */
};

struct attack {
	const char *name;
	void (*run)(struct target *t);
	bool any_status; /* it may have changed the status itself */
};

extern const struct attack queue_attacks[], register_attacks[]; /* end with a NULL name */

extern uint8_t scratch[16 * PAGE]; /* what a device may be told to write to */

void random_seed(uint64_t s);
uint64_t random64(void);
void raw(struct target *t, unsigned i, uint64_t address, uint32_t length, uint16_t flags,
	 uint16_t next);
void post(struct target *t, uint16_t head); /* in the ring, and kicked */
void target_start(struct target *t);
void tried(struct target *t); /* after one of several: begins anew if the device asks for it */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of hostile.c. An attack starts from a block device that is ready with one queue; what
 * it leaves behind is reset afterwards.
 */
#ifndef GUEST_HOSTILE_H
#define GUEST_HOSTILE_H

#include "lib/virtio.h"

enum { QUEUE_SIZE = 16, PAGE = 4096 };

struct target {
	struct virtio d;
	struct virtq q;
	struct blk_request r;
};

struct attack {
	const char *name;
	void (*run)(struct target *t);
	bool any_status; /* it may have changed the status itself */
};

extern const struct attack queue_attacks[], register_attacks[]; /* end with a NULL name */

extern uint8_t scratch[16 * PAGE]; /* what a device may be told to write to */

uint64_t random64(void);
void raw(struct target *t, unsigned i, uint64_t address, uint32_t length, uint16_t flags,
	 uint16_t next);
void post(struct target *t, uint16_t head); /* in the ring, and kicked */
void tried(struct target *t); /* after one of several: begins anew if the device asks for it */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces of evil.c. */
#ifndef GUEST_EVIL_H
#define GUEST_EVIL_H

#include "hostile.h"

enum {
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_MEM = 24,
	BALLOON_INFLATE = 0,
	DEVICES_MAX = 16,
};

extern struct target victims[DEVICES_MAX];
extern unsigned nvictims;

/* As fast as the queue takes it, what its kind of device can be told that is not true */
void flood(struct target *t);
/* All that needs no queue, from another processor */
void storm(void);
void plugs(void); /* slots and vCPUs are given up, asked for or not */

#endif

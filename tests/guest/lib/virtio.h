/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-pci driver (virtio 1.2, 4.1, split virtqueues), polling, with the rings in the open so
 * that a test may also misuse them.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "pci.h"

enum {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLK = 2,
	VIRTIO_ID_RNG = 4,

	/* 2.1 */
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,

	/* 4.1.4.3: the common configuration */
	VIRTIO_DEVICE_FEATURE_SELECT = 0x00,
	VIRTIO_DEVICE_FEATURE = 0x04,
	VIRTIO_DRIVER_FEATURE_SELECT = 0x08,
	VIRTIO_DRIVER_FEATURE = 0x0c,
	VIRTIO_CONFIG_VECTOR = 0x10,
	VIRTIO_NUM_QUEUES = 0x12,
	VIRTIO_STATUS = 0x14,
	VIRTIO_GENERATION = 0x15,
	VIRTIO_QUEUE_SELECT = 0x16,
	VIRTIO_QUEUE_SIZE = 0x18,
	VIRTIO_QUEUE_VECTOR = 0x1a,
	VIRTIO_QUEUE_ENABLE = 0x1c,
	VIRTIO_QUEUE_NOTIFY_OFF = 0x1e,
	VIRTIO_QUEUE_DESC = 0x20,
	VIRTIO_QUEUE_DRIVER = 0x28,
	VIRTIO_QUEUE_DEVICE = 0x30,
	VIRTIO_COMMON_BYTES = 0x38,
	VIRTIO_NO_VECTOR = 0xffff,

	/* 2.7.5 */
	VIRTQ_NEXT = 1,
	VIRTQ_WRITE = 2,
	VIRTQ_INDIRECT = 4,
	VIRTQ_MAX = 128,

	/* 5.2 */
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_STATUS_OK = 0,
	BLK_SECTOR = 512,
};

#define VIRTIO_F_INDIRECT (1ull << 28)
#define VIRTIO_F_EVENT_INDEX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_BLK_F_FLUSH (1ull << 9)

struct virtio {
	unsigned fn, id;
	uint64_t common, isr, config, notify; /* addresses of the structures */
	uint32_t notify_unit;
	uint64_t offered, features;
	struct msix msix;
};

struct virtq_desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct virtq_used {
	uint32_t id, length;
};

struct virtq {
	struct virtq_desc desc[VIRTQ_MAX] __attribute__((aligned(16)));
	struct {
		uint16_t flags, index, ring[VIRTQ_MAX + 1]; /* ring[size]: used_event */
	} avail __attribute__((aligned(2)));
	struct {
		uint16_t flags, index;
		struct virtq_used ring[VIRTQ_MAX];
		uint16_t room_for_event;
	} used __attribute__((aligned(4)));
	/* the driver's own */
	uint64_t notify; /* where to store the queue's number */
	uint16_t number, size, next_desc, seen;
};

struct virtq_part {
	const void *data;
	uint32_t length;
	bool to_driver; /* the device writes it */
};

struct blk_request { /* 5.2.6 */
	uint32_t type, reserved;
	uint64_t sector;
	uint8_t status;
};

bool virtio_find(struct virtio *d, unsigned id, unsigned nth);
uint8_t virtio_status(const struct virtio *d);
void virtio_set_status(const struct virtio *d, uint8_t v);
void virtio_reset(const struct virtio *d);
void virtio_begin(struct virtio *d, uint64_t wanted); /* reset to FEATURES_OK */
void virtio_ready(const struct virtio *d); /* DRIVER_OK */

/* Rings of a power of two entries, emptied; vector: an MSI-X table entry or VIRTIO_NO_VECTOR */
void virtq_setup(const struct virtio *d, struct virtq *q, uint16_t number, uint16_t size,
		 uint16_t vector);
uint16_t virtq_add(struct virtq *q, const struct virtq_part *parts, unsigned n); /* its head */
void virtq_kick(const struct virtq *q);
/* False after a long time without a used entry */
bool virtq_wait(struct virtq *q, struct virtq_used *used);

/* One request on an otherwise idle queue; false: no answer, or not BLK_STATUS_OK */
uint16_t blk_add(struct virtq *q, struct blk_request *r, uint32_t type, uint64_t sector,
		 const void *data, uint32_t length);
bool blk_do(struct virtq *q, uint32_t type, uint64_t sector, const void *data, uint32_t length);
uint64_t blk_capacity(const struct virtio *d); /* sectors */

#endif

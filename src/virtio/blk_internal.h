/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of virtio-blk: blk.c makes the device and has its configuration and state,
 * blk_requests.c does on I/O threads what the guest asks for.
 */
#ifndef BLK_INTERNAL_H
#define BLK_INTERNAL_H

#include <linux/virtio_blk.h>

#include "blk_counters.h"
#include "blk_parked.h"
#include "blk_report.h"
#include "throttle.h"

enum {
	BLK_SECTOR_BYTES = 512,
	/* Of one discard or write zeroes request, so that none takes very long. */
	BLK_RANGE_SECTORS_MAX = GIB / BLK_SECTOR_BYTES,
};

struct blk_state {
	struct virtio_state virtio[1];
	uint64_t capacity; /* sectors */
	uint32_t block_bytes;
	uint32_t nparked; /* queues */
	struct blk_parked parked[VIRTIO_QUEUES_MAX];
};

struct blk_request {
	struct vq_request vq;
	struct disk_request disk;
	struct blk_asked asked;
	enum disk_op op; /* the guest's: a write may end with a flush */
	uint64_t begun_ns;
	struct blk_queue *q;
	struct blk_request *next_free;
};

/* The I/O thread's while handed over. */
struct blk_queue {
	struct blk *blk;
	struct virtqueue *vq;
	struct disk_queue *disk;
	struct throttle throttle;
	struct blk_counters *counters;
	uint64_t kicked_ns; /* when the batch began that is taken now */
	uint64_t done_ns; /* when the batch came that completes now; 0: not looked yet */
	struct blk_request *free;
	bool write_through; /* the driver will not flush */
	struct blk_parked
		parked; /* in blk_state as it was when the queue was last started or stopped */
	bool retry; /* they are from before the queue was started */
	struct blk_reports reports;
};

struct blk {
	struct virtio_device v;
	struct blk_state s;
	const char *path, *id, *serial;
	bool readonly, direct, sparse;
	uint16_t num_queues, queue_size;
	unsigned image_type;
	struct rate_limit limit;
	struct disk *disk;
	struct vm_disk entry; /* in vm->disks */
	struct blk_queue *queue; /* num_queues of them */
	struct virtio_blk_config config;
};

extern const struct virtio_class blk_virtio_class;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk says of requests that it answers with an I/O error, so that each such answer can be
 * explained: a line in the log and an event, once a second of what the host did and once of what
 * the guest did.  All of them are counted.  On the I/O thread of the queue.
 */
#ifndef BLK_REPORT_H
#define BLK_REPORT_H

#include "device.h"
#include "disk.h"
#include "pace.h"

struct blk_reports {
	struct pace failed, refused;
};

/* The host could not do it; error: a positive errno. */
void blk_report_failed(struct blk_reports *, struct device *, const struct disk_request *,
		       const char *path, int error);

/* The same, and it is parked: the VM pauses. */
void blk_report_parked(struct device *, const struct disk_request *, const char *path, int error);

/* A request as the guest made it. */
struct blk_asked {
	uint32_t type;
	uint64_t sector;
	uint32_t readable_bytes, writable_bytes; /* by the device, header and status among them */
};

/* The guest may not ask for that (virtio 1.2, 5.2.6.2). */
void blk_report_refused(struct blk_reports *, struct device *, const struct blk_asked *,
			const char *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device holds: a list, newest first, that device_free() walks.  Nothing is acquired
 * without its claim, so a half-attached device leaves nothing behind.
 */
#ifndef CLAIM_H
#define CLAIM_H

#include "device.h"

struct claim {
	struct claim *next;
	struct device *dev;
	void (*release)(struct claim *);
	union {
		struct region region;
		struct region *mapped_later;
		struct watch *watch;
		struct timer *timer;
		struct {
			struct region *of;
			struct ioeventfd *ioeventfd;
		} kick;
		struct {
			void (*release)(void *);
			void *arg;
		} other;
		unsigned gsi;
		int fd;
	} u;
};

void claims_release(struct device *);

#endif

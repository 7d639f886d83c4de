/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner record of a writable disk: which VM runs on it, how often one has begun to, and
 * whether it is being handed over.  It is one line of JSON in a file beside the image, DISK.owner,
 * where DISK is the image itself and not a link to it, so that whoever sees the image sees the
 * record.  A block device has no place beside it: its record is in this host's state directory
 * (journal.h), named after the device's resolved path, and no other host sees it.
 *
 * Only who has the lock of the disk may write it; on main or on a migration's thread.
 */
#ifndef OWNER_H
#define OWNER_H

#include <stdint.h>

#include "disk.h"
#include "err.h"

extern const struct broker_service owner_path; /* broker.h */

enum owner_state { OWNER_RUNNING, OWNER_OFFERED };

struct owner_record {
	char vm[37]; /* uuid */
	uint64_t generation; /* from 1 on; one more each time that a VM begins to run on it */
	char host[65];
	char session[37]; /* uuid of the migration; "": none */
	enum owner_state state;
};

/* -ENOENT: it has none, it was never run; -EBADMSG: it is damaged.  With or without the lock. */
int owner_read(struct disk *, struct owner_record *, struct err *);
/* Durable when it returns; on failure the old one is there, or the new one. */
int owner_write(struct disk *, const struct owner_record *, struct err *);

void owner_this_host(char host[65]); /* as records name it */

#endif

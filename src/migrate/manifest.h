/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.json of a snapshot: what its files must be.
 *
 *	{"format": 1, "godwit": "0.1.0", "vm": uuid, "created": "2026-01-31T12:00:00Z",
 *	 "files": {"devices": {"file": "devices", "bytes": N, "crc32c": "01234567"},
 *	           "memory": {"file": "memory-ranges", "bytes": N, "extent_bytes": 67108864,
 *	                      "crc32c": ["01234567", null]}},
 *	 "regions": [{"base": N, "bytes": N, "offset": N}],
 *	 "disks": [{"id": "disk0", "path": "/images/web.img", "generation": 3}],
 *	 "needs": {}}
 *
 * null: an extent of memory that is all zero.  A disk has the generation of its owner record
 * (owner.h), unless it is read-only or has none.  needs (cpu_compat.h) is missing in older ones.
 */
#ifndef MANIFEST_H
#define MANIFEST_H

#include <jansson.h>
#include <stdbool.h>

#include "guest_mem.h"

#define SNAPSHOT_CONFIG "config.json"
#define SNAPSHOT_DEVICES "devices"
#define SNAPSHOT_MEMORY "memory-ranges"
#define SNAPSHOT_STATE "state.json"

enum { SNAPSHOT_FORMAT = 1, SNAPSHOT_EXTENT_BYTES = 64 << 20 };

struct manifest_extent {
	bool zero;
	uint32_t crc; /* else; holes count as zeros */
};

struct manifest_region {
	uint64_t base, bytes, offset;
};

struct manifest {
	char uuid[37]; /* of the VM */
	uint64_t devices_bytes, memory_bytes;
	uint32_t devices_crc;
	struct manifest_region region[GUEST_MEM_REGIONS];
	unsigned nregions;
	size_t nextents;
	struct manifest_extent *extent;
	json_t *disks;
	json_t *needs; /* NULL: none */
};

/* Of this memory; extents are still to be filled in. */
int manifest_new(struct manifest **, const char *uuid, json_t *disks, json_t *needs,
		 const struct guest_mem *, struct err *);
void manifest_free(struct manifest *); /* NULL is fine */
json_t *manifest_write(const struct manifest *); /* NULL: out of memory */
/* -EBADMSG: refused. */
int manifest_read(struct manifest **, const json_t *, struct err *);
/* -EBADMSG: it is of a VM with other memory. */
int manifest_check_memory(const struct manifest *, const struct guest_mem *, struct err *);

#endif

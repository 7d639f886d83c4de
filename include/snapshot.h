/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stopped VM as a directory:
 *
 *	config.json    its configuration, which may be edited; no checksum covers it
 *	devices        a stream (stream.h) without RAM
 *	memory-ranges  RAM, each region at its fd_offset; pages that are all zero are holes
 *	state.json     what the others must be; a directory without it is no snapshot
 *
 * Files are written under other names and get these when all is on the disk, state.json the last.
 * A snapshot is not written again, as its memory may be mapped: whoever has it mapped holds a
 * shared flock(2) on memory-ranges.
 *
 * Who gives a snapshot is trusted like a guest, but must not change memory-ranges while it is
 * mapped.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <jansson.h>
#include <stdatomic.h>

#include "err.h"

struct guest_mem;
struct manifest;
struct state_buf;
struct vm;

struct snapshot_source {
	const char *uuid; /* the VM's */
	const char *config; /* text of config.json */
	json_t *disks; /* of state.json: an array of {id, path, generation} */
	json_t *needs; /* of state.json: what the guest needs of a host (cpu_compat.h) */
	const struct guest_mem *mem;
	const struct state_buf *devices; /* of devices_save() */
	const atomic_bool *cancel; /* true: give up soon; -ECANCELED */
};

/* Any thread, while the VM is stopped.  dir is made if it is not there; on failure nothing of it
 * is left.  -EEXIST: there is something of that name in it already. */
int snapshot_save(const char *dir, const struct snapshot_source *, struct err *);

struct snapshot {
	json_t *config;
	const json_t *disks; /* of state.json; the generation may be missing */
	const json_t *needs; /* of state.json; NULL: it does not say */
	struct manifest *manifest;
	int devices_fd, memory_fd;
};

/* Opened and checked, but for the contents of memory.  -EBADMSG: damaged, or no snapshot. */
int snapshot_open(struct snapshot *, const char *dir, struct err *);
void snapshot_close(struct snapshot *); /* also one that did not open; mapped memory stays */

/* The machine of so much memory could be this one's: look before memory_fd is mapped. */
int snapshot_check_size(const struct snapshot *, uint64_t memory_bytes, struct err *);
/* Instead of mapping it; the memory is fresh.  Contents are checked, too. */
int snapshot_load_memory(const struct snapshot *, struct guest_mem *, struct err *);
/* As devices_load(). */
int snapshot_load_devices(const struct snapshot *, struct vm *, struct err *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole stopped VM as one stream of bytes: snapshot file, pipe or socket.  Called on main
 * under the machine lock while all devices are STOPPED and no vCPU runs; the fd is blocking,
 * belongs to the caller and is read exactly up to the stream's end.
 *
 *	stream:  "godwitVM", u32 format, u32 0, sections; all numbers are little endian
 *	section: u32 type, u32 crc32c of type, length and payload, u64 length, payload
 *	MEMORY:  u64 base, u64 bytes of each region of RAM; comes before RAM
 *	RAM:     u32 number of runs, u32 0, u64 address and u64 bytes of each run, their pages;
 *	         pages that are all zero are left out
 *	DEVICE:  name of the kind, name of the id, record of state_codec.h (none: no state)
 *	END:     u64 number of sections before it, u64 bytes of pages in them
 *
 * Who sends a stream is trusted like a guest.  There is no second format for live streams.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdio.h>

#include "err.h"

struct guest_mem;
struct state_buf;
struct vm;

/* Nothing is written if a device refuses to be saved. */
int stream_save(struct vm *, int fd, struct err *);

/*
 * Fill a machine that was built from the same configuration and reset.  The devices' states
 * change only once the whole stream was accepted, memory before; on failure the VM is good
 * for nothing but to be freed.  -EBADMSG: the stream is refused.
 */
int stream_load(struct vm *, int fd, struct err *);

/* The same without RAM sections, for who keeps RAM elsewhere.  The first from any thread, with what
 * devices_save() gave; the second leaves memory alone. */
int stream_save_devices(const struct guest_mem *, const struct state_buf *devices, int fd,
			struct err *);
int stream_load_devices(struct vm *, int fd, struct err *);

/* Print a stream as text; needs no VM. */
int stream_print(FILE *, int fd, struct err *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue as the device sees it (virtio 1.2, 2.7).  While handed over it belongs to
 * one I/O thread and nobody locks it.  The guest's descriptors are read once, checked, and
 * turned into a request: a cursor over guest buffers that hides where descriptors begin.
 *
 * A guest that breaks the rules breaks its queue: vq_pop() returns nothing any more and the
 * owner is told through broken().  A queue that is called back is stopped first: vq_pop()
 * returns nothing, and drained() follows the vq_flush() after the last vq_complete().
 */
#ifndef VIRTQUEUE_H
#define VIRTQUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "guest_mem.h"
#include "state.h"

enum { VIRTQUEUE_SIZE_MAX = 1024, VIRTQUEUE_SEGMENTS_MAX = 256 };

/* What the guest configured and how far the device is: travels with a save. */
struct virtqueue_state {
	uint16_t size; /* a power of two */
	bool enabled;
	uint16_t vector;
	uint64_t desc, driver, device; /* guest addresses: descriptor table, avail, used */
	uint16_t next_avail, next_used;
};

extern const struct state_desc virtqueue_state_desc;

struct virtqueue {
	struct virtqueue_state *s;
	struct guest_mem *mem;
	bool event_idx;
	void (*broken)(struct virtqueue *, const char *why); /* on the queue's thread */
	void (*signal)(struct virtqueue *); /* interrupt the guest; any thread */
	void (*drained)(struct virtqueue *); /* stopped and nothing in flight, from vq_flush() */
	void *owner;
	unsigned index;
	bool is_broken, stopped;
	bool delegated; /* the kernel serves it: no kicks, no pops; until vq_take_back() */
	uint16_t signalled_used; /* used index at the last look at used_event */
	bool signalled_used_valid;
	unsigned in_flight; /* popped and not completed */
	/* host addresses, checked when the queue starts */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

struct vq_range {
	gpa_t gpa;
	uint32_t len;
};

/* Segments: first nreadable device-readable, then nwritable device-writable. */
struct vq_request {
	uint16_t head;
	uint16_t nreadable, nwritable, nranges;
	uint32_t readable_bytes, writable_bytes; /* left before the cursor's end */
	uint16_t segment_max;
	struct iovec *segment; /* storage of segment_max entries, set by the owner */
	struct vq_range *range; /* the same: the writable part as the guest gave it, from which
				 * vq_complete() marks pages, whatever host I/O did to segment */
	uint16_t read_at, write_at; /* cursors: first segment not used up */
};

/* Check the rings and take up where s says.  -EINVAL: not in guest memory or misaligned. */
int vq_start(struct virtqueue *, struct guest_mem *, bool event_idx, struct err *);

/* Next request; false when there is none (or the queue is broken). */
bool vq_pop(struct virtqueue *, struct vq_request *);
/* Take back the last n pops: nothing of them was used, and they come again. */
void vq_unpop(struct virtqueue *, unsigned n);
/* A popped request is given up without an answer: its owner keeps the head, and no longer the
 * request.  vq_fetch() takes it up anew from a head, in another process too, once and before the
 * first pop since the queue was started.  False: the queue is broken. */
void vq_park(struct virtqueue *);
bool vq_fetch(struct virtqueue *, struct vq_request *, uint16_t head);
/* Ask for kicks again; true if requests came in meanwhile and vq_pop() must be tried. */
bool vq_enable_kicks(struct virtqueue *);
void vq_disable_kicks(struct virtqueue *);

/* The kernel has served a delegated queue up to there. */
void vq_take_back(struct virtqueue *, uint16_t next_avail);

/* Copy from the readable part, to the writable part; returns bytes moved, less at the end. */
size_t req_read(struct vq_request *, void *, size_t len);
size_t req_write(struct vq_request *, const void *, size_t len);
/* Take exactly len bytes of the readable (writable) part as iovecs for host I/O: points into
 * the request's own segments.  Returns their number, or -EINVAL if there is less, or if a
 * segment must be split and no entry of the storage is free.  Readable before writable. */
int req_take_readable(struct vq_request *, uint64_t len, struct iovec **);
int req_take_writable(struct vq_request *, uint64_t len, struct iovec **);

/* Give the request back with the number of bytes written from its writable start; marks the
 * writable pages dirty.  The guest sees it at the next vq_flush(). */
void vq_complete(struct virtqueue *, struct vq_request *, uint32_t written_bytes);
/* Publish completions and interrupt the guest if it wants to know: once per batch. */
void vq_flush(struct virtqueue *);

#endif

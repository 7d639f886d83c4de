/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of virtqueues: guest memory with one queue in it, and a device that counts. */
#ifndef VIRTQUEUE_BENCH_H
#define VIRTQUEUE_BENCH_H

#include <check.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "virtqueue.h"

/* Guest memory: 256 KiB from 0 and 64 KiB from 4 GiB. */
enum {
	LOW_BYTES = 256 * KIB,
	HIGH_BYTES = 64 * KIB,
	DESC = 0x1000,
	AVAIL = 0x2000,
	USED = 0x3000,
	TABLE = 0x4000,
	DATA = 0x10000,
	SIZE = 8,
	SEGMENTS = 6,
};
#define HIGH UINT64_C(0x100000000)

struct bench {
	struct guest_mem mem;
	_Atomic uint64_t dirty[2][8];
	struct virtqueue_state s;
	struct virtqueue vq;
	struct vq_request req;
	struct iovec segment[64];
	struct vq_range range[64];
	unsigned signals, drained;
	const char *why;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

static struct bench b;

static inline void note_broken(struct virtqueue *vq, const char *why)
{
	ck_assert_ptr_eq(vq, &b.vq);
	ck_assert_ptr_null(b.why);
	b.why = why;
}

static inline void note_signal(struct virtqueue *vq)
{
	ck_assert_ptr_eq(vq, &b.vq);
	b.signals++;
}

static inline void note_drained(struct virtqueue *vq)
{
	ck_assert_uint_eq(vq->in_flight, 0);
	b.drained++;
}

static inline void *at(gpa_t gpa)
{
	return guest_mem_at(&b.mem, gpa, 1);
}

static inline void start(bool event_idx)
{
	struct err e;

	ck_assert_int_eq(vq_start(&b.vq, &b.mem, event_idx, &e), 0);
}

static inline void setup(void)
{
	b = (struct bench){ .mem = { .region = { { .base = 0, .size_bytes = LOW_BYTES },
						 { .base = HIGH, .size_bytes = HIGH_BYTES } },
				     .nregions = 2,
				     .fd = -1 },
			    .s = { .size = SIZE, .desc = DESC, .driver = AVAIL, .device = USED } };
	for (unsigned i = 0; i < 2; i++) {
		b.mem.region[i].host = aligned_alloc(4096, b.mem.region[i].size_bytes);
		memset(b.mem.region[i].host, 0, b.mem.region[i].size_bytes);
		b.mem.region[i].dirty = b.dirty[i];
	}
	b.vq = (struct virtqueue){
		.s = &b.s, .broken = note_broken, .signal = note_signal, .drained = note_drained
	};
	b.req = (struct vq_request){ .segment_max = SEGMENTS,
				     .segment = b.segment,
				     .range = b.range };
	b.desc = at(DESC);
	b.avail = at(AVAIL);
	b.used = at(USED);
}

static inline void teardown(void)
{
	free(b.mem.region[0].host);
	free(b.mem.region[1].host);
}

static inline void offer(uint16_t head)
{
	b.avail->ring[b.avail->idx & (b.s.size - 1)] = head;
	b.avail->idx++;
}

enum { N = VRING_DESC_F_NEXT, W = VRING_DESC_F_WRITE, I = VRING_DESC_F_INDIRECT };

static inline void put(unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	b.desc[i] = (struct vring_desc){ addr, len, flags, next };
}

static inline bool is_dirty(gpa_t gpa)
{
	unsigned r = gpa >= HIGH;
	uint64_t page = (gpa - (r ? HIGH : 0)) / GUEST_PAGE_BYTES;

	return b.dirty[r][page / 64] & BIT(page % 64);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose memory is the input: rings, descriptors and buffers.  The first bytes say how
 * large the queue is and what the device does with each request.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "virtqueue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RAM_BYTES = 8 * KIB,
	HIGH_BYTES = 4 * KIB,
	DESC = 0,
	AVAIL = 0x400,
	USED = 0x600,
	SEGMENTS = 40,
	STEPS = 200,
};

struct fuzz {
	struct guest_mem mem;
	_Atomic uint64_t dirty[2][1];
	struct virtqueue_state s;
	struct virtqueue vq;
	struct vq_request req[4];
	struct iovec segment[4][SEGMENTS];
	struct vq_range range[4][SEGMENTS];
	unsigned nreq;
	unsigned broken;
};

static void on_broken(struct virtqueue *vq, const char *why)
{
	struct fuzz *f = vq->owner;

	assert(why && *why && !f->broken);
	f->broken++;
}

static void on_signal(struct virtqueue *vq)
{
	assert(vq->signalled_used == vq->s->next_used);
}

static void on_drained(struct virtqueue *vq)
{
	assert(vq->stopped && !vq->in_flight);
}

/* All that the device may touch lies in guest memory. */
static void touch(struct fuzz *f, struct iovec *iov, int n, bool write)
{
	for (int i = 0; i < n; i++) {
		uint8_t *p = iov[i].iov_base;
		bool inside = false;

		for (unsigned r = 0; r < f->mem.nregions; r++)
			inside |= p >= f->mem.region[r].host &&
				  p + iov[i].iov_len <=
					  f->mem.region[r].host + f->mem.region[r].size_bytes;
		assert(inside);
		if (write)
			memset(p, 0xa5, iov[i].iov_len);
	}
}

static void work(struct fuzz *f, struct vq_request *req, uint8_t what)
{
	uint32_t readable = req->readable_bytes, writable = req->writable_bytes;
	uint8_t buf[64] = { 0 };
	unsigned len = what >> 2;
	struct iovec *iov;
	int n;

	switch (what & 3) {
	case 0:
		n = (int)req_read(req, buf, len);
		assert(n == (int)MIN(len, readable) &&
		       req->readable_bytes == readable - (unsigned)n);
		break;
	case 1:
		n = (int)req_write(req, buf, len);
		assert(n == (int)MIN(len, writable) &&
		       req->writable_bytes == writable - (unsigned)n);
		break;
	case 2:
		n = req_take_readable(req, MIN(8 * len, readable), &iov);
		touch(f, iov, n, false);
		break;
	default:
		n = req_take_writable(req, MIN(8 * len, writable), &iov);
		touch(f, iov, n, true);
	}
}

static void step(struct fuzz *f, uint8_t what)
{
	struct vq_request *last = f->nreq ? &f->req[f->nreq - 1] : NULL;

	switch (what & 7) {
	case 0:
	case 1:
		if (f->nreq < ARRAY_SIZE(f->req))
			f->nreq += vq_pop(&f->vq, &f->req[f->nreq]);
		break;
	case 2:
		if (last) {
			vq_complete(&f->vq, last, 0);
			f->nreq--;
		}
		break;
	case 3:
		vq_flush(&f->vq);
		break;
	case 4:
		if (what == 0xfc)
			f->vq.stopped = true;
		else if (what & 8)
			vq_enable_kicks(&f->vq);
		else
			vq_disable_kicks(&f->vq);
		break;
	default:
		if (last)
			work(f, last, what >> 3);
	}
	assert(f->vq.in_flight == f->nreq);
}

static void fuzz_init(struct fuzz *f, const uint8_t *data)
{
	f->mem = (struct guest_mem){ .region = { { .size_bytes = RAM_BYTES },
						 { .base = UINT64_C(1) << 32,
						   .size_bytes = HIGH_BYTES } },
				     .nregions = 2,
				     .fd = -1 };
	for (unsigned i = 0; i < f->mem.nregions; i++) {
		f->mem.region[i].host = calloc(1, f->mem.region[i].size_bytes);
		f->mem.region[i].dirty = f->dirty[i];
	}
	f->s = (struct virtqueue_state){ .size = (uint16_t)(1u << (data[0] & 7)),
					 .desc = DESC + 16u * (data[0] >> 4),
					 .driver = AVAIL + data[1],
					 .device = USED + data[2],
					 .next_avail = data[3],
					 .next_used = data[3] };
	f->vq = (struct virtqueue){ .s = &f->s,
				    .owner = f,
				    .broken = on_broken,
				    .signal = on_signal,
				    .drained = on_drained };
	for (unsigned i = 0; i < ARRAY_SIZE(f->req); i++)
		f->req[i] = (struct vq_request){ .segment_max = SEGMENTS,
						 .segment = f->segment[i],
						 .range = f->range[i] };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { HEAD = 4 };
	struct fuzz *f = calloc(1, sizeof(*f));
	size_t nsteps = size > HEAD ? MIN((size - HEAD) / 2, STEPS) : 0;
	struct err e;

	if (!f || !nsteps) {
		free(f);
		return 0;
	}
	fuzz_init(f, data);
	memcpy(f->mem.region[0].host, data + HEAD + nsteps,
	       MIN(size - HEAD - nsteps, (size_t)RAM_BYTES));
	if (!vq_start(&f->vq, &f->mem, data[0] & 8, &e))
		for (size_t i = 0; i < nsteps; i++)
			step(f, data[HEAD + i]);
	for (unsigned i = 0; i < f->mem.nregions; i++)
		free(f->mem.region[i].host);
	free(f);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest asks of its disk: virtio 1.2, 5.2.6.  On the I/O thread of the queue. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "blk_internal.h"

enum {
	CLASS_CODE = 0x018000, /* another mass storage controller */
	PENDING = -1, /* not a status byte */
};

/* The status is the last byte of the writable part (5.2.6); what is before it is passed by. */
static void blk_finish(struct blk_request *r, uint8_t status)
{
	struct blk_queue *q = r->q;
	uint32_t written = 0;
	struct iovec *passed;

	for (unsigned i = 0; i < r->vq.nranges; i++)
		written += r->vq.range[i].len;
	/* Without a status byte, or if it cannot be told apart, the guest gets no answer. */
	if (!r->vq.writable_bytes ||
	    req_take_writable(&r->vq, r->vq.writable_bytes - 1, &passed) < 0)
		written = 0;
	else
		req_write(&r->vq, &status, sizeof(status));
	vq_complete(q->vq, &r->vq, written);
	if (status == VIRTIO_BLK_S_IOERR)
		counter_add(&q->counters->errors, 1);
	r->next_free = q->free;
	q->free = r;
}

/* What completes together looks at the clock once. */
static uint64_t blk_took_ns(const struct blk_request *r)
{
	struct blk_queue *q = r->q;

	if (!q->done_ns) {
		q->done_ns = loop_now_ns();
		vm_note_first(&q->blk->v.dev.vm->arrival.first_request_ns, q->done_ns);
	}
	return q->done_ns - r->begun_ns;
}

/* Not a hint, and not what will never succeed. */
static bool blk_may_park(const struct blk_request *r, int result)
{
	return r->q->blk->v.dev.vm->pause_on_io_error && r->op != DISK_DISCARD &&
	       result != -ENOTRECOVERABLE;
}

static void blk_park(struct blk_request *r, int result)
{
	struct blk_queue *q = r->q;

	blk_parked_add(&q->parked, r->vq.head);
	vq_park(q->vq);
	blk_report_parked(&q->blk->v.dev, &r->disk, q->blk->path, -result);
	r->next_free = q->free;
	q->free = r;
}

static void blk_done(struct disk_request *disk, int result)
{
	struct blk_request *r = container_of(disk, struct blk_request, disk);
	bool is_write = disk->op == DISK_WRITE || disk->op == DISK_WRITE_ZEROES;

	if (result && blk_may_park(r, result)) {
		blk_park(r, result);
		return;
	}
	if (result)
		blk_report_failed(&r->q->reports, &r->q->blk->v.dev, disk, r->q->blk->path,
				  -result);
	if (result || !is_write || !r->q->write_through) {
		if (!result)
			blk_count(r->q->counters, r->op, disk->len, blk_took_ns(r));
		blk_finish(r, result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		return;
	}
	disk->op = DISK_FLUSH;
	disk_submit(r->q->disk, disk);
}

static int blk_submit(struct blk_request *r, const struct disk_request *what)
{
	r->disk = *what;
	r->disk.done = blk_done;
	r->op = what->op;
	r->begun_ns = r->q->kicked_ns;
	disk_submit(r->q->disk, &r->disk);
	return PENDING;
}

static int blk_refuse(struct blk_request *r, const char *why)
{
	blk_report_refused(&r->q->reports, &r->q->blk->v.dev, &r->asked, why);
	return VIRTIO_BLK_S_IOERR;
}

static bool blk_has_range(const struct blk *blk, uint64_t sector, uint64_t sectors)
{
	return sector <= blk->s.capacity && sectors <= blk->s.capacity - sector;
}

static int blk_transfer(struct blk_request *r, enum disk_op op, uint64_t sector)
{
	const struct blk *blk = r->q->blk;
	bool is_read = op == DISK_READ;
	uint64_t len = is_read ? r->vq.writable_bytes - 1 : r->vq.readable_bytes;
	struct iovec *iov;
	int n;

	if (len % BLK_SECTOR_BYTES)
		return blk_refuse(r, "its data is no whole sectors");
	if (!blk_has_range(blk, sector, len / BLK_SECTOR_BYTES))
		return blk_refuse(r, "it is not within the disk");
	if (!is_read && blk->readonly)
		return blk_refuse(r, "the disk is read-only");
	if (!len)
		return VIRTIO_BLK_S_OK;
	n = is_read ? req_take_writable(&r->vq, len, &iov) : req_take_readable(&r->vq, len, &iov);
	if (n < 0)
		return blk_refuse(r, "it has more buffers than the device takes");
	return blk_submit(r, &(struct disk_request){ .op = op,
						     .iov = iov,
						     .niov = (unsigned)n,
						     .offset = sector * BLK_SECTOR_BYTES,
						     .len = len });
}

/* 5.2.6.2 */
static int blk_range(struct blk_request *r, enum disk_op op)
{
	bool is_discard = op == DISK_DISCARD;
	struct blk *blk = r->q->blk;
	struct virtio_blk_discard_write_zeroes range;
	uint32_t sectors, flags;
	uint64_t sector;

	if (!virtio_has(&blk->v, is_discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_S_UNSUPP;
	if (r->vq.readable_bytes != sizeof(range))
		return blk_refuse(r, "it has not exactly one range");
	req_read(&r->vq, &range, sizeof(range));
	r->asked.sector = sector = le64toh(range.sector);
	sectors = le32toh(range.num_sectors);
	flags = le32toh(range.flags);
	if (flags & ~(is_discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		return VIRTIO_BLK_S_UNSUPP;
	if (sectors > BLK_RANGE_SECTORS_MAX)
		return blk_refuse(r, "its range is longer than one may be");
	if (!blk_has_range(blk, sector, sectors))
		return blk_refuse(r, "its range is not within the disk");
	if (!sectors)
		return VIRTIO_BLK_S_OK;
	return blk_submit(r, &(struct disk_request){ .op = op,
						     .offset = sector * BLK_SECTOR_BYTES,
						     .len = (uint64_t)sectors * BLK_SECTOR_BYTES,
						     .unmap = flags && blk->sparse });
}

static int blk_get_id(struct blk_request *r)
{
	const struct blk *blk = r->q->blk;
	char id[VIRTIO_BLK_ID_BYTES] = "";
	const char *serial = blk->serial ? blk->serial : blk->v.dev.id;

	memcpy(id, serial, strnlen(serial, sizeof(id)));
	req_write(&r->vq, id, MIN(sizeof(id), r->vq.writable_bytes - 1));
	return VIRTIO_BLK_S_OK;
}

/* Before any of it is taken: what is left beside the status byte. */
static uint64_t blk_data_bytes(const struct blk_request *r, uint32_t type)
{
	bool has_data = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_OUT;

	return has_data ? (uint64_t)r->vq.readable_bytes + r->vq.writable_bytes - 1 : 0;
}

/* Returns the status, or PENDING: blk_done() follows. */
static int blk_begin(struct blk_request *r)
{
	struct virtio_blk_outhdr header = { 0 };
	size_t len;

	r->asked = (struct blk_asked){ .readable_bytes = r->vq.readable_bytes,
				       .writable_bytes = r->vq.writable_bytes };
	len = req_read(&r->vq, &header, sizeof(header));
	r->asked.type = le32toh(header.type);
	r->asked.sector = le64toh(header.sector);
	if (!r->vq.writable_bytes)
		return blk_refuse(r, "it has no room for a status");
	if (len < sizeof(header))
		return blk_refuse(r, "it has no whole header");
	throttle_charge(&r->q->throttle, blk_data_bytes(r, r->asked.type));
	switch (r->asked.type) {
	case VIRTIO_BLK_T_IN:
		return blk_transfer(r, DISK_READ, r->asked.sector);
	case VIRTIO_BLK_T_OUT:
		return blk_transfer(r, DISK_WRITE, r->asked.sector);
	case VIRTIO_BLK_T_FLUSH:
		return blk_submit(r, &(struct disk_request){ .op = DISK_FLUSH });
	case VIRTIO_BLK_T_GET_ID:
		return blk_get_id(r);
	case VIRTIO_BLK_T_DISCARD:
		return blk_range(r, DISK_DISCARD);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return blk_range(r, DISK_WRITE_ZEROES);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* The first that is free, which the queue has filled. */
static void blk_take(struct blk_queue *q)
{
	struct blk_request *r = q->free;
	int status;

	q->free = r->next_free;
	status = blk_begin(r);
	if (status != PENDING)
		blk_finish(r, (uint8_t)status);
}

static bool blk_next(struct blk_queue *q)
{
	if (q->throttle.closed || !vq_pop(q->vq, &q->free->vq))
		return false;
	blk_take(q);
	return true;
}

static void blk_retry(struct blk_queue *q)
{
	struct blk_parked *p = &q->parked;

	for (uint32_t i = 0; i < p->n && vq_fetch(q->vq, &q->free->vq, p->head[i]); i++)
		blk_take(q);
	p->n = 0;
	q->retry = false;
}

static void blk_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct blk_queue *q = &container_of(v, struct blk, v)->queue[vq->index];
	unsigned taken = 0;

	if (!throttle_begin(&q->throttle))
		return;
	q->kicked_ns = loop_now_ns();
	if (q->retry)
		blk_retry(q);
	if (q->parked.n)
		return; /* blk_parked.h */
	vq_disable_kicks(vq);
	do {
		while (taken < vq->s->size && blk_next(q))
			taken++;
	} while (!q->throttle.closed && vq_enable_kicks(vq) && taken < vq->s->size);
	if (taken == vq->s->size)
		virtio_kick(v, vq->index);
	disk_commit(q->disk);
	vq_flush(vq);
}

static void blk_batch_done(void *arg)
{
	struct blk_queue *q = arg;

	q->done_ns = 0;
	vq_flush(q->vq);
}

static int blk_queue_start(struct virtio_device *v, struct virtqueue *vq, struct loop *loop,
			   struct err *e)
{
	struct blk *blk = container_of(v, struct blk, v);
	struct blk_queue *q = &blk->queue[vq->index];
	int r;

	q->vq = vq;
	/* 5.2.6.2: who cannot flush must not need to. */
	q->write_through = !virtio_has(v, VIRTIO_BLK_F_FLUSH);
	q->parked = blk->s.parked[vq->index];
	q->retry = q->parked.n;
	r = disk_queue_new(&q->disk, blk->disk, io_thread_ring(virtio_thread(v, vq->index)),
			   blk_batch_done, q, e);
	if (!r)
		throttle_start(&q->throttle, rate_limit_limiter(&blk->limit, 0), vq, loop,
			       &q->counters->throttled);
	return r;
}

static void blk_queue_stop(struct virtio_device *v, struct virtqueue *vq)
{
	struct blk_queue *q = &container_of(v, struct blk, v)->queue[vq->index];

	throttle_stop(&q->throttle);
	disk_queue_free(q->disk);
	q->disk = NULL;
}

static void blk_queue_returned(struct virtio_device *v, unsigned queue)
{
	struct blk *blk = container_of(v, struct blk, v);

	blk->s.parked[queue] = blk->queue[queue].parked;
}

static void blk_driver_reset(struct virtio_device *v)
{
	struct blk *blk = container_of(v, struct blk, v);

	blk->s.nparked = blk->num_queues;
	for (unsigned i = 0; i < blk->num_queues; i++)
		blk->s.parked[i].n = 0;
}

const struct virtio_class blk_virtio_class = {
	.id = VIRTIO_ID_BLOCK,
	.class_code = CLASS_CODE,
	.kick = blk_kick,
	.queue_start = blk_queue_start,
	.queue_stop = blk_queue_stop,
	.queue_returned = blk_queue_returned,
	.driver_reset = blk_driver_reset,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio block device: virtio 1.2, 5.2.  Each queue has a queue of the disk behind it and one
 * request more than it has entries, so that vq_pop() never lacks one and finds the guest that
 * offers too many.  Data goes between the guest's buffers and the disk without a copy; a batch
 * of requests is handed to the host at once, and a batch of completions to the guest.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "blk_counters.h"
#include "blk_report.h"
#include "throttle.h"

enum {
	SECTOR_BYTES = 512,
	PHYSICAL_BLOCK_BYTES = 4096, /* what the guest had better align to */
	BLOCK_BYTES_MAX = 65536,
	QUEUE_SIZE_MIN = 4, /* header, data and status without an indirect table */
	/* Of one discard or write zeroes request, so that none takes very long. */
	RANGE_SECTORS_MAX = GIB / SECTOR_BYTES,
	CLASS_CODE = 0x018000, /* another mass storage controller */
	CONFIG_BYTES = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	PENDING = -1, /* not a status byte */
};

enum image_type { IMAGE_UNKNOWN, IMAGE_RAW };

struct blk_state {
	struct virtio_state virtio[1];
	uint64_t capacity; /* sectors */
	uint32_t block_bytes;
};

struct blk_request {
	struct vq_request vq;
	struct disk_request disk;
	struct blk_asked asked;
	enum disk_op op; /* the guest's: a write may end with a flush */
	uint64_t begun_ns;
	struct blk_queue *q;
	struct blk_request *next_free;
};

/* The I/O thread's while handed over. */
struct blk_queue {
	struct blk *blk;
	struct virtqueue *vq;
	struct disk_queue *disk;
	struct throttle throttle;
	struct blk_counters *counters;
	uint64_t kicked_ns; /* when the batch began that is taken now */
	uint64_t done_ns; /* when the batch came that completes now; 0: not looked yet */
	struct blk_request *free;
	bool write_through; /* the driver will not flush */
	struct blk_reports reports;
};

struct blk {
	struct virtio_device v;
	struct blk_state s;
	const char *path, *id, *serial;
	bool readonly, direct, sparse;
	uint16_t num_queues, queue_size;
	unsigned image_type;
	struct rate_limit limit;
	struct disk *disk;
	struct vm_disk entry; /* in vm->disks */
	struct blk_queue *queue; /* num_queues of them */
	struct virtio_blk_config config;
};

static const char *const image_types[] = { "Unknown", "Raw", NULL };

static const struct option blk_options[] = {
	OPTION(struct blk, path, .help = "raw disk image or block device", .required = true),
	OPTION(struct blk, readonly, .help = "the guest cannot write; others may read it too",
	       .fallback = "off"),
	OPTION(struct blk, direct, .help = "around the host's page cache", .fallback = "off"),
	OPTION(struct blk, num_queues, .help = "queues, at best one per vCPU", .fallback = "1",
	       .min = 1, .max = VIRTIO_QUEUES_MAX),
	OPTION(struct blk, queue_size, .help = "entries per queue, a power of two",
	       .fallback = "128", .min = QUEUE_SIZE_MIN, .max = VIRTQUEUE_SIZE_MAX),
	OPTION(struct blk, serial, .help = "serial number, up to 20 bytes; else the id"),
	OPTION(struct blk, id, .help = "name of the device"),
	OPTION(struct blk, sparse, .help = "what the guest discards is freed on the host",
	       .fallback = "on"),
	OPTION_NAMED(struct blk, image_type, image_types,
		     .help = "Raw: also if it looks like another format", .fallback = "Unknown"),
	RATE_LIMIT_OPTIONS(struct blk, limit),
	RATE_LIMIT_GROUP_OPTION(struct blk, limit),
	OPTION_REFUSE("iommu", .fallback = "off"),
	OPTION_REFUSE("vhost_user", .fallback = "off"),
	OPTION_REFUSE("vhost_socket"),
	OPTION_REFUSE("pci_segment", .fallback = "0"),
	OPTION_REFUSE("pci_device_id"),
	OPTION_REFUSE("queue_affinity"),
	OPTION_REFUSE("backing_files", .fallback = "off"),
	OPTION_REFUSE("lock_granularity", .fallback = "ByteRange"),
};
static const struct option_table blk_option_table = OPTION_TABLE(blk_options, .first = "path");

static const struct state_field blk_fields[] = {
	STATE_STRUCTS(struct blk_state, virtio, &virtio_state_desc),
	STATE(struct blk_state, capacity),
	STATE(struct blk_state, block_bytes, .max = BLOCK_BYTES_MAX),
};
static const struct state_desc blk_state_desc = STATE_DESC(struct blk_state, "virtio-blk", 1, 1,
							   blk_fields);

static struct blk *blk_of(struct device *dev)
{
	return container_of(dev, struct blk, v.dev);
}

/* Requests: on the I/O thread */

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

static void blk_done(struct disk_request *disk, int result)
{
	struct blk_request *r = container_of(disk, struct blk_request, disk);
	bool is_write = disk->op == DISK_WRITE || disk->op == DISK_WRITE_ZEROES;

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

	if (len % SECTOR_BYTES)
		return blk_refuse(r, "its data is no whole sectors");
	if (!blk_has_range(blk, sector, len / SECTOR_BYTES))
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
						     .offset = sector * SECTOR_BYTES,
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
	if (sectors > RANGE_SECTORS_MAX)
		return blk_refuse(r, "its range is longer than one may be");
	if (!blk_has_range(blk, sector, sectors))
		return blk_refuse(r, "its range is not within the disk");
	if (!sectors)
		return VIRTIO_BLK_S_OK;
	return blk_submit(r, &(struct disk_request){ .op = op,
						     .offset = sector * SECTOR_BYTES,
						     .len = (uint64_t)sectors * SECTOR_BYTES,
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

static bool blk_next(struct blk_queue *q)
{
	struct blk_request *r = q->free;
	int status;

	if (q->throttle.closed || !vq_pop(q->vq, &r->vq))
		return false;
	q->free = r->next_free;
	status = blk_begin(r);
	if (status != PENDING)
		blk_finish(r, (uint8_t)status);
	return true;
}

static void blk_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct blk_queue *q = &container_of(v, struct blk, v)->queue[vq->index];
	unsigned taken = 0;

	if (!throttle_begin(&q->throttle))
		return;
	q->kicked_ns = loop_now_ns();
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
	r = disk_queue_new(&q->disk, blk->disk, loop, blk->queue_size, blk_batch_done, q, e);
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

static const struct virtio_class blk_virtio_class = {
	.id = VIRTIO_ID_BLOCK,
	.class_code = CLASS_CODE,
	.kick = blk_kick,
	.queue_start = blk_queue_start,
	.queue_stop = blk_queue_stop,
};

/* Life: under the machine lock */

/* From the options and the state only, so that they are the same on every host. */
static void blk_set_config(struct blk *blk)
{
	uint32_t block = blk->s.block_bytes, physical = MAX(block, PHYSICAL_BLOCK_BYTES);
	unsigned segments = MIN(blk->queue_size, VIRTQUEUE_SEGMENTS_MAX);

	blk->config = (struct virtio_blk_config){
		.capacity = htole64(blk->s.capacity),
		.seg_max = htole32(segments - 2), /* header and status */
		.blk_size = htole32(block),
		.physical_block_exp = (uint8_t)__builtin_ctz(physical / block),
		.min_io_size = htole16((uint16_t)(physical / block)),
		.num_queues = htole16(blk->num_queues),
		.max_discard_sectors = htole32(RANGE_SECTORS_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(physical / SECTOR_BYTES),
		.max_write_zeroes_sectors = htole32(RANGE_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = blk->sparse,
	};
}

static uint64_t blk_features(const struct blk *blk)
{
	uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
			    BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH);

	if (blk->num_queues > 1)
		features |= BIT(VIRTIO_BLK_F_MQ);
	if (blk->readonly)
		return features | BIT(VIRTIO_BLK_F_RO);
	features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return blk->sparse ? features | BIT(VIRTIO_BLK_F_DISCARD) : features;
}

static int blk_check_options(const struct blk *blk, struct err *e)
{
	if (!is_power_of_two(blk->queue_size))
		return err_set(e, -EINVAL, "%s: queue_size=%u is not a power of two", blk->v.dev.id,
			       blk->queue_size);
	if (blk->serial && strlen(blk->serial) > VIRTIO_BLK_ID_BYTES)
		return err_set(e, -EINVAL, "%s: serial=%s is longer than %d bytes", blk->v.dev.id,
			       blk->serial, VIRTIO_BLK_ID_BYTES);
	return 0;
}

static void blk_close(void *arg)
{
	struct blk *blk = arg;

	list_remove(&blk->entry.node);
	disk_close(blk->disk);
}

static int blk_open(struct device *dev, struct err *e)
{
	struct blk *blk = blk_of(dev);
	const struct disk_config config = { .path = blk->path,
					    .readonly = blk->readonly,
					    .direct = blk->direct,
					    .raw = blk->image_type == IMAGE_RAW,
					    .sparse = blk->sparse,
					    .later = dev->vm->incoming && !blk->readonly };
	int r = blk_check_options(blk, e);

	if (r)
		return r;
	list_init(&blk->entry.node);
	r = device_claim(dev, blk_close, blk, e);
	return r ? r : disk_open(&blk->disk, &config, e);
}

static void blk_enter(struct blk *blk)
{
	blk->entry.id = blk->v.dev.id;
	blk->entry.disk = blk->disk;
	blk->entry.readonly = blk->readonly;
	vm_add_disk(blk->v.dev.vm, &blk->entry);
}

/* All requests of all queues.  Room for one segment more than descriptors: a driver may put
 * the status behind the data in one. */
static int blk_claim_requests(struct blk *blk, struct err *e)
{
	size_t per_queue = blk->queue_size + 1u, n = blk->num_queues * per_queue;
	uint16_t segments = MIN(blk->queue_size, VIRTQUEUE_SEGMENTS_MAX) + 1;
	void *queue, *request, *segment, *range;
	int r = device_claim_memory(&blk->v.dev, blk->num_queues * sizeof(*blk->queue), &queue, e);

	if (!r)
		r = device_claim_memory(&blk->v.dev, n * sizeof(struct blk_request), &request, e);
	if (!r)
		r = device_claim_memory(&blk->v.dev, n * segments * sizeof(struct iovec), &segment,
					e);
	if (!r)
		r = device_claim_memory(&blk->v.dev, n * segments * sizeof(struct vq_range), &range,
					e);
	if (r)
		return r;
	blk->queue = queue;
	for (size_t i = n; i-- > 0;) {
		struct blk_queue *q = &blk->queue[i / per_queue];
		struct blk_request *free = (struct blk_request *)request + i;

		*free = (struct blk_request){
			.vq = { .segment_max = segments,
				.segment = (struct iovec *)segment + i * segments,
				.range = (struct vq_range *)range + i * segments },
			.q = q,
			.next_free = q->free,
		};
		q->blk = blk;
		q->counters = device_counters(&blk->v.dev, i / per_queue);
		q->free = free;
	}
	return 0;
}

static int blk_attach(struct device *dev, struct err *e)
{
	struct blk *blk = blk_of(dev);
	int r = rate_limit_attach(&blk->limit, dev, 1, throttle_changed, e);

	if (!r)
		r = device_claim_counters(dev, blk->num_queues, e);
	if (!r)
		r = blk_claim_requests(blk, e);
	if (r)
		return r;
	blk_enter(blk);
	blk->v.features = blk_features(blk);
	blk->v.config = (uint8_t *)&blk->config;
	blk->v.config_bytes = CONFIG_BYTES;
	blk->v.nqueues = blk->num_queues;
	blk->v.queue_size = blk->queue_size;
	return virtio_attach(&blk->v, &blk_virtio_class, &blk->s.virtio[0], e);
}

static void blk_reset(struct device *dev)
{
	struct blk *blk = blk_of(dev);

	virtio_reset(dev);
	blk->s.capacity = disk_size_bytes(blk->disk) / SECTOR_BYTES;
	blk->s.block_bytes = disk_block_bytes(blk->disk);
	blk_set_config(blk);
}

/* The guest keeps the block size that it knows: the disk takes any alignment. */
static int blk_loaded(struct device *dev, struct err *e)
{
	struct blk *blk = blk_of(dev);
	uint64_t bytes = disk_size_bytes(blk->disk);

	if (blk->s.capacity != bytes / SECTOR_BYTES)
		return err_set(e, -EINVAL,
			       "%s: saved with a disk of %llu sectors, but %s has %llu; give the "
			       "image that it was saved with",
			       dev->id, (unsigned long long)blk->s.capacity, blk->path,
			       (unsigned long long)(bytes / SECTOR_BYTES));
	if (!is_power_of_two(blk->s.block_bytes) || blk->s.block_bytes < SECTOR_BYTES)
		return err_set(e, -EINVAL, "%s: saved with blocks of %u bytes", dev->id,
			       blk->s.block_bytes);
	blk_set_config(blk);
	return virtio_loaded(dev, e);
}

static int blk_resize(struct device *dev, uint64_t bytes, struct err *e)
{
	return disk_resize(blk_of(dev)->disk, bytes, e);
}

/* Requests from now on have the new end; those from before have completed. */
static void blk_resized(struct device *dev)
{
	struct blk *blk = blk_of(dev);

	blk->s.capacity = disk_size_bytes(blk->disk) / SECTOR_BYTES;
	blk_set_config(blk);
	virtio_config_changed(&blk->v);
}

extern const struct device_class virtio_blk_class;
const struct device_class virtio_blk_class = {
	.kind = "virtio-blk",
	.size = sizeof(struct blk),
	.options = &blk_option_table,
	.state = &blk_state_desc,
	.state_offset = offsetof(struct blk, s),
	.counters = &blk_counter_table,
	.open = blk_open,
	.attach = blk_attach,
	.reset = blk_reset,
	.start = virtio_start,
	.stop = virtio_stop,
	.loaded = blk_loaded,
	.fetch = virtio_fetch,
	.resize = blk_resize,
	.resized = blk_resized,
};

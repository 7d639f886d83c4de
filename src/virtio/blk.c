/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio block device: virtio 1.2, 5.2.  Each queue has a queue of the disk behind it and one
 * request more than it has entries, so that vq_pop() never lacks one and finds the guest that
 * offers too many.  Data goes between the guest's buffers and the disk without a copy; a batch
 * of requests is handed to the host at once, and a batch of completions to the guest.
 */
#include <errno.h>
#include <string.h>

#include "blk_internal.h"

enum {
	PHYSICAL_BLOCK_BYTES = 4096, /* what the guest had better align to */
	BLOCK_BYTES_MAX = 65536,
	QUEUE_SIZE_MIN = 4, /* header, data and status without an indirect table */
	CONFIG_BYTES = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
};

enum image_type { IMAGE_UNKNOWN, IMAGE_RAW };

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
	STATE_COUNTED_STRUCTS(struct blk_state, parked, nparked, &blk_parked_desc, .since = 2),
};
static const struct state_desc blk_state_desc = STATE_DESC(struct blk_state, "virtio-blk", 2, 1,
							   blk_fields);

static struct blk *blk_of(struct device *dev)
{
	return container_of(dev, struct blk, v.dev);
}

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
		.max_discard_sectors = htole32(BLK_RANGE_SECTORS_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(physical / BLK_SECTOR_BYTES),
		.max_write_zeroes_sectors = htole32(BLK_RANGE_SECTORS_MAX),
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
	if (!r)
		r = disk_open(&blk->disk, &config, e);
	for (unsigned i = 0; !r && i < dev->vm->nio_threads; i++)
		r = disk_prepare(blk->disk, io_thread_ring(dev->vm->io_thread[i]), blk->num_queues,
				 e);
	return r;
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
	blk->s.capacity = disk_size_bytes(blk->disk) / BLK_SECTOR_BYTES;
	blk->s.block_bytes = disk_block_bytes(blk->disk);
	blk_set_config(blk);
}

/* The guest keeps the block size that it knows: the disk takes any alignment. */
static int blk_loaded(struct device *dev, struct err *e)
{
	struct blk *blk = blk_of(dev);
	uint64_t bytes = disk_size_bytes(blk->disk);
	int r;

	if (blk->s.capacity != bytes / BLK_SECTOR_BYTES)
		return err_set(e, -EINVAL,
			       "%s: saved with a disk of %llu sectors, but %s has %llu; give the "
			       "image that it was saved with",
			       dev->id, (unsigned long long)blk->s.capacity, blk->path,
			       (unsigned long long)(bytes / BLK_SECTOR_BYTES));
	if (!is_power_of_two(blk->s.block_bytes) || blk->s.block_bytes < BLK_SECTOR_BYTES)
		return err_set(e, -EINVAL, "%s: saved with blocks of %u bytes", dev->id,
			       blk->s.block_bytes);
	blk_set_config(blk);
	r = virtio_loaded(dev, e);
	return r ? r : blk_parked_check(&blk->v, blk->s.parked, blk->s.nparked, e);
}

static int blk_resize(struct device *dev, uint64_t bytes, struct err *e)
{
	return disk_resize(blk_of(dev)->disk, bytes, e);
}

/* Requests from now on have the new end; those from before have completed. */
static void blk_resized(struct device *dev)
{
	struct blk *blk = blk_of(dev);

	blk->s.capacity = disk_size_bytes(blk->disk) / BLK_SECTOR_BYTES;
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

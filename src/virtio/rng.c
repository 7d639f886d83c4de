/* SPDX-License-Identifier: Apache-2.0 */
/* virtio entropy device: virtio 1.2, 5.4. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <unistd.h>

#include "virtio.h"

enum {
	RNG_QUEUE_SIZE = 64,
	/* 5.4.6.1: a buffer may be filled in part; so no request takes long. */
	RNG_REQUEST_BYTES = 4096,
	RNG_CHUNK_BYTES = 256,
	RNG_SEGMENTS = RNG_QUEUE_SIZE,
	RNG_CLASS_CODE = 0x00ff00, /* a device that fits no class */
};

struct rng_state {
	struct virtio_state virtio[1];
};

struct rng_counters {
	_Atomic uint64_t bytes;
};

struct rng {
	struct virtio_device v;
	struct rng_state s;
	const char *src;
	int fd; /* of that */
	struct iovec segment[RNG_SEGMENTS]; /* the I/O thread's, as the next */
	struct vq_range range[RNG_SEGMENTS];
};

static const struct option rng_options[] = {
	OPTION(struct rng, src, .help = "Source of entropy: /dev/urandom or /dev/random",
	       .fallback = "/dev/urandom"),
	OPTION_REFUSE("iommu", .fallback = "off"),
};
static const struct option_table rng_option_table = OPTION_TABLE(rng_options, .first = "src");

static const struct state_field rng_fields[] = {
	STATE_STRUCTS(struct rng_state, virtio, &virtio_state_desc),
};
static const struct state_desc rng_state_desc = STATE_DESC(struct rng_state, "virtio-rng", 1, 1,
							   rng_fields);

static const struct counter rng_counters[] = {
	COUNTER(struct rng_counters, bytes, .metric = "godwit_rng_bytes", .unit = COUNTER_BYTES,
		.help = "Random bytes that the guest was given."),
};
static const struct counter_table rng_counter_table = COUNTER_TABLE(struct rng_counters,
								    rng_counters);

static uint32_t rng_fill(const struct rng *rng, struct vq_request *req)
{
	uint8_t chunk[RNG_CHUNK_BYTES];
	uint32_t filled = 0;

	while (filled < RNG_REQUEST_BYTES && req->writable_bytes) {
		ssize_t n = read(rng->fd, chunk, MIN(sizeof(chunk), req->writable_bytes));

		if (n > 0)
			filled += (uint32_t)req_write(req, chunk, (size_t)n);
		else if (!n || errno != EINTR)
			break;
	}
	return filled;
}

static void rng_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct rng *rng = container_of(v, struct rng, v);
	struct vq_request req = { .segment_max = RNG_SEGMENTS,
				  .segment = rng->segment,
				  .range = rng->range };
	struct rng_counters *counters = device_counters(&v->dev, 0);
	unsigned done = 0;

	vq_disable_kicks(vq);
	do {
		for (; done < vq->s->size && vq_pop(vq, &req); done++) {
			uint32_t bytes = rng_fill(rng, &req);

			counter_add(&counters->bytes, bytes);
			vq_complete(vq, &req, bytes);
		}
	} while (vq_enable_kicks(vq) && done < vq->s->size);
	if (done == vq->s->size)
		virtio_kick(v, vq->index);
	vq_flush(vq);
}

static const struct virtio_class rng_virtio_class = {
	.id = VIRTIO_ID_RNG,
	.class_code = RNG_CLASS_CODE,
	.kick = rng_kick,
};

static int rng_attach(struct device *dev, struct err *e)
{
	struct rng *rng = container_of(dev, struct rng, v.dev);
	int r;

	if (strcmp(rng->src, "/dev/urandom") && strcmp(rng->src, "/dev/random"))
		return err_set(e, -EINVAL,
			       "%s: %s cannot be a source of entropy; use src=/dev/urandom",
			       dev->id, rng->src);
	rng->fd = open(rng->src, O_RDONLY | O_CLOEXEC);
	if (rng->fd < 0)
		return err_set(e, -errno, "%s: %s cannot be opened: %s", dev->id, rng->src,
			       strerror(errno));
	r = device_claim_fd(dev, rng->fd, e);
	if (r)
		close(rng->fd);
	r = r ? r : device_claim_counters(dev, 1, e);
	if (r)
		return r;
	rng->v.nqueues = 1;
	rng->v.queue_size = RNG_QUEUE_SIZE;
	return virtio_attach(&rng->v, &rng_virtio_class, &rng->s.virtio[0], e);
}

extern const struct device_class virtio_rng_class;
const struct device_class virtio_rng_class = {
	.kind = "virtio-rng",
	.size = sizeof(struct rng),
	.options = &rng_option_table,
	.state = &rng_state_desc,
	.state_offset = offsetof(struct rng, s),
	.counters = &rng_counter_table,
	.attach = rng_attach,
	.reset = virtio_reset,
	.start = virtio_start,
	.stop = virtio_stop,
	.loaded = virtio_loaded,
	.fetch = virtio_fetch,
};

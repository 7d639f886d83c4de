/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: virtqueues with requests in all places they can be, device registers, MSI-X. */
#include "stages.h"

enum {
	BLK_QUEUE_SIZE = 32,
	RNG_QUEUE_SIZE = 8,
	RNG_BYTES = 32,
	PARKED = 5,
	BLK_REQUESTS = 6,
	BLK_BYTES = 2048,
	BLK_SECTORS = BLK_BYTES / BLK_SECTOR,
	MSIX_ENTRY = 16,
};

/* The common configuration, one field after the other; queue fields are those of queue 0. */
static const struct {
	uint8_t at, bytes;
} common_fields[] = {
	{ VIRTIO_DEVICE_FEATURE_SELECT, 4 },
	{ VIRTIO_DEVICE_FEATURE, 4 },
	{ VIRTIO_DRIVER_FEATURE_SELECT, 4 },
	{ VIRTIO_DRIVER_FEATURE, 4 },
	{ VIRTIO_CONFIG_VECTOR, 2 },
	{ VIRTIO_NUM_QUEUES, 2 },
	{ VIRTIO_STATUS, 1 },
	{ VIRTIO_GENERATION, 1 },
	{ VIRTIO_QUEUE_SELECT, 2 },
	{ VIRTIO_QUEUE_SIZE, 2 },
	{ VIRTIO_QUEUE_VECTOR, 2 },
	{ VIRTIO_QUEUE_ENABLE, 2 },
	{ VIRTIO_QUEUE_NOTIFY_OFF, 2 },
	{ VIRTIO_QUEUE_DESC, 4 },
	{ VIRTIO_QUEUE_DESC + 4, 4 },
	{ VIRTIO_QUEUE_DRIVER, 4 },
	{ VIRTIO_QUEUE_DRIVER + 4, 4 },
	{ VIRTIO_QUEUE_DEVICE, 4 },
	{ VIRTIO_QUEUE_DEVICE + 4, 4 },
};

static void common_read(const struct virtio *d, uint32_t *to)
{
	for (unsigned i = 0; i < ARRAY_SIZE(common_fields); i++) {
		uint64_t a = d->common + common_fields[i].at;

		to[i] = common_fields[i].bytes == 1   ? read8(a)
			: common_fields[i].bytes == 2 ? read16(a)
						      : read32(a);
	}
}

static void common_compare(const struct virtio *d, const uint32_t *before)
{
	uint32_t now[ARRAY_SIZE(common_fields)];

	common_read(d, now);
	for (unsigned i = 0; i < ARRAY_SIZE(common_fields); i++)
		if (now[i] != before[i])
			guest_fail("virtio device %u: register 0x%x: 0x%x became 0x%x", d->id,
				   common_fields[i].at, before[i], now[i]);
}

static struct {
	struct virtio d;
	struct virtq q;
	uint32_t common[ARRAY_SIZE(common_fields)];
	uint8_t data[PARKED][RNG_BYTES];
	uint16_t heads[PARKED];
} rng;

static bool rng_present(void)
{
	return !cmdline_has("nopci") && !cmdline_has("norng");
}

/*
 * Requests in the ring the device has not been told of. Their number is odd and the ring's size is
 * not a multiple of it, so that indices run through all positions and wrap.
 */
static void rng_build(uint32_t generation)
{
	if (!rng.d.common) {
		CHECK(virtio_find(&rng.d, VIRTIO_ID_RNG, 0));
		virtio_begin(&rng.d, 0);
		virtq_setup(&rng.d, &rng.q, 0, RNG_QUEUE_SIZE, VIRTIO_NO_VECTOR);
		virtio_ready(&rng.d);
	}
	memset(rng.data, 0, sizeof(rng.data));
	for (unsigned i = 0; i < PARKED; i++) {
		const struct virtq_part part = { rng.data[i], RNG_BYTES, true };

		rng.heads[i] = virtq_add(&rng.q, &part, 1);
	}
	write32(rng.d.common + VIRTIO_DEVICE_FEATURE_SELECT, generation % 2);
	write32(rng.d.common + VIRTIO_DRIVER_FEATURE_SELECT, (generation / 2) % 2);
	common_read(&rng.d, rng.common);
}

static void rng_verify(uint32_t generation)
{
	static const uint8_t zero[RNG_BYTES];
	struct virtq_used used;

	(void)generation;
	common_compare(&rng.d, rng.common);
	virtq_kick(&rng.q);
	for (unsigned i = 0; i < PARKED; i++) {
		CHECK(virtq_wait(&rng.q, &used));
		CHECK(used.id == rng.heads[i] && used.length && used.length <= RNG_BYTES);
		CHECK(memcmp(rng.data[i], zero, used.length));
	}
	CHECK(rng.q.used.index == rng.q.avail.index);
}

const struct item rng_item = {
	.name = "rng",
	.present = rng_present,
	.build = rng_build,
	.verify = rng_verify,
};

static struct {
	struct virtio d;
	struct virtq q;
	uint32_t common[ARRAY_SIZE(common_fields)], msix[2 * MSIX_ENTRY / 4], irqs;
	struct blk_request requests[BLK_REQUESTS];
	uint64_t data[BLK_REQUESTS][BLK_BYTES / 8];
} blk;

static bool blk_present(void)
{
	return !cmdline_has("nopci") && !cmdline_has("noblk");
}

static void blk_start(void)
{
	CHECK(virtio_find(&blk.d, VIRTIO_ID_BLK, 0));
	virtio_begin(&blk.d, VIRTIO_BLK_F_FLUSH);
	CHECK(blk.d.msix.vectors >= 2);
	msix_set(&blk.d.msix, 1, VECTOR_BLK);
	msix_set(&blk.d.msix, 0, VECTOR_BLK);
	msix_enable(&blk.d.msix, true);
	write16(blk.d.common + VIRTIO_CONFIG_VECTOR, 0);
	virtq_setup(&blk.d, &blk.q, 0, BLK_QUEUE_SIZE, 1);
	virtio_ready(&blk.d);
}

static uint64_t blk_sector(unsigned i)
{
	return 128 + i * BLK_SECTORS;
}

/*
 * Half of the writes are kicked: done but not seen, or in flight, or told again by whoever takes
 * over.  The others are only in the ring.
 */
static void blk_build(uint32_t generation)
{
	if (!blk.d.common)
		blk_start();
	for (unsigned i = 0; i < BLK_REQUESTS; i++) {
		for (unsigned w = 0; w < BLK_BYTES / 8; w++)
			blk.data[i][w] = mix(i * BLK_BYTES + w, generation);
		blk_add(&blk.q, &blk.requests[i], BLK_OUT, blk_sector(i), blk.data[i], BLK_BYTES);
		if (i == BLK_REQUESTS / 2)
			virtq_kick(&blk.q);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(blk.msix); i++)
		blk.msix[i] = read32(blk.d.msix.table + i * 4);
	common_read(&blk.d, blk.common);
}

static void blk_verify_data(uint32_t generation)
{
	static uint64_t back[BLK_BYTES / 8];

	for (unsigned i = 0; i < BLK_REQUESTS; i++) {
		CHECK(blk.requests[i].status == BLK_STATUS_OK);
		CHECK(blk_do(&blk.q, BLK_IN, blk_sector(i), back, BLK_BYTES));
		for (unsigned w = 0; w < BLK_BYTES / 8; w++)
			CHECK(back[w] == mix(i * BLK_BYTES + w, generation));
	}
}

static void blk_verify(uint32_t generation)
{
	struct virtq_used used;
	uint32_t irqs;

	for (unsigned i = 0; i < ARRAY_SIZE(blk.msix); i++)
		CHECK(read32(blk.d.msix.table + i * 4) == blk.msix[i]);
	common_compare(&blk.d, blk.common);
	cpu_irqs_on();
	virtq_kick(&blk.q);
	for (unsigned i = 0; i < BLK_REQUESTS; i++) {
		CHECK(virtq_wait(&blk.q, &used));
		CHECK(used.length == 1);
	}
	CHECK(blk.q.used.index == blk.q.avail.index);
	blk_verify_data(generation);
	irqs = guest_irq_count[VECTOR_BLK];
	CHECK(blk_do(&blk.q, BLK_FLUSH, 0, NULL, 0));
	CHECK(irq_wait(VECTOR_BLK, irqs + 1));
	CHECK(blk.q.used.index == blk.q.avail.index);
}

const struct item blk_item = {
	.name = "blk",
	.present = blk_present,
	.build = blk_build,
	.verify = blk_verify,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that lies to its virtio devices. After each attack the device either asks for a reset or
 * is in the state its driver last set; after a reset it works as if nothing had been, and so does
 * the entropy device, which was not involved. Memory that no descriptor named is unharmed.
 *
 * Command line: seed=N, only=N (one attack), strict (features that were not offered must be
 * refused, which QEMU does not), wild (BARs over RAM and chips). Writes to the beginning of the
 * disk.
 */
#include "hostile.h"

enum {
	CANARIES = 64,
	LIVE = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK
};

const char guest_name[] = "hostile";

static struct target target = { .features = VIRTIO_BLK_F_FLUSH | VIRTIO_F_INDIRECT,
				.patience_us = 1000 };
static uint64_t canaries[CANARIES][PAGE / 8] __attribute__((aligned(PAGE)));
static unsigned number, ran, asked;

static void canaries_check(bool set)
{
	for (unsigned i = 0; i < CANARIES; i++)
		for (unsigned w = 0; w < PAGE / 8; w++) {
			if (set)
				canaries[i][w] = (uint64_t)&canaries[i][w] ^ 0xc0ffee;
			else
				CHECK(canaries[i][w] == ((uint64_t)&canaries[i][w] ^ 0xc0ffee));
		}
}

/* Write, flush, read back; and the other device */
static void healthy(void)
{
	static uint64_t data[BLK_SECTOR / 8], back[BLK_SECTOR / 8], bytes[4];
	static struct virtq q;
	const struct virtq_part part = { bytes, sizeof(bytes), true };
	struct virtq_used used;
	struct virtio rng;

	target_start(&target);
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = random64();
	CHECK(blk_do(&target.q, BLK_OUT, 1, data, BLK_SECTOR));
	CHECK(blk_do(&target.q, BLK_FLUSH, 0, NULL, 0));
	CHECK(blk_do(&target.q, BLK_IN, 1, back, BLK_SECTOR));
	CHECK(!memcmp(data, back, BLK_SECTOR));
	if (!virtio_find(&rng, VIRTIO_ID_RNG, 0))
		return;
	virtio_begin(&rng, 0);
	virtq_setup(&rng, &q, 0, 8, VIRTIO_NO_VECTOR);
	virtio_ready(&rng);
	virtq_add(&q, &part, 1);
	virtq_kick(&q);
	CHECK(virtq_wait(&q, &used) && used.length && used.length <= sizeof(bytes));
	virtio_reset(&rng);
}

static void attack(const struct attack *a)
{
	unsigned this = number++;
	uint8_t status;

	if (cmdline_number("only", this) != this)
		return;
	target_start(&target);
	print("hostile: %u %s: ", this, a->name);
	target.asked = false;
	a->run(&target);
	delay_us(5000);
	status = virtio_status(&target.d);
	if (!a->any_status && (status & ~VIRTIO_NEEDS_RESET) != LIVE)
		guest_fail("status is 0x%02x", status);
	target.asked |= (status & VIRTIO_NEEDS_RESET) != 0;
	virtio_reset(&target.d);
	canaries_check(false);
	healthy();
	print(target.asked ? "asked for a reset\n" : "sane\n");
	asked += target.asked;
	ran++;
}

void guest_main(void)
{
	random_seed(cmdline_number("seed", 1));
	canaries_check(true);
	CHECK(virtio_find(&target.d, VIRTIO_ID_BLK, 0));
	healthy();
	for (const struct attack *a = queue_attacks; a->name; a++)
		attack(a);
	for (const struct attack *a = register_attacks; a->name; a++)
		attack(a);
	print("hostile: %u attacks, %u answered by asking for a reset\n", ran, asked);
}

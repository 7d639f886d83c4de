/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a ledger on its first disk: blocks of 4 KiB, each full of its number.  It is told what to
 * do by letters on the serial port:
 *
 *	w	write the next PAGE_BLOCKS at once, then flush; "ledger: kept N" says that the
 *		disk promised all of the first N, "ledger: failed REFUSED of N" that it did not:
 *		then the next w is for the same blocks
 *	c	compare all that is kept with what the disk has: "ledger: checked N", or how many
 *		blocks cannot be read
 *	q	the end
 *
 * With "auto" on the command line it writes without being told.  At the disk's end it starts anew.
 */
#include "lib/virtio.h"

enum { BLOCK = 4096, PAGE_BLOCKS = 8, SECTORS_EACH = BLOCK / BLK_SECTOR };

const char guest_name[] = "ledger";

static struct virtio disk;
static struct virtq queue;
static uint64_t page[PAGE_BLOCKS][BLOCK / 8] __attribute__((aligned(BLOCK)));
static struct blk_request request[PAGE_BLOCKS];
static uint64_t blocks, kept;

/* All that was added; returns how many the disk refused. */
static unsigned wait_for(unsigned n)
{
	unsigned refused = 0;

	virtq_kick(&queue);
	for (unsigned i = 0; i < n; i++) {
		struct virtq_used used;

		while (!virtq_wait(&queue, &used))
			; /* nobody knows how long the machine stands still */
	}
	for (unsigned i = 0; i < n; i++)
		refused += *(volatile uint8_t *)&request[i].status != BLK_STATUS_OK;
	return refused;
}

static void write_page(void)
{
	unsigned refused;

	for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
		uint64_t number = kept + i;

		for (unsigned w = 0; w < BLOCK / 8; w++)
			page[i][w] = number + 1;
		blk_add(&queue, &request[i], BLK_OUT, number % blocks * SECTORS_EACH, page[i],
			BLOCK);
	}
	refused = wait_for(PAGE_BLOCKS);
	blk_add(&queue, &request[0], BLK_FLUSH, 0, NULL, 0);
	refused += wait_for(1);
	if (refused) {
		print("ledger: failed %u of %u\n", refused, PAGE_BLOCKS + 1);
		return;
	}
	kept += PAGE_BLOCKS;
	print("ledger: kept %lu\n", kept);
}

static void check_all(void)
{
	unsigned unread = 0;

	for (uint64_t number = 0; number < kept; number++) {
		memset(page[0], 0, BLOCK);
		blk_add(&queue, &request[0], BLK_IN, number * SECTORS_EACH, page[0], BLOCK);
		if (wait_for(1)) {
			unread++;
			continue;
		}
		for (unsigned w = 0; w < BLOCK / 8; w++)
			if (page[0][w] != number + 1)
				guest_fail("block %lu has %lu", number, page[0][w]);
	}
	if (unread)
		print("ledger: %u blocks cannot be read\n", unread);
	else
		print("ledger: checked %lu\n", kept);
}

void guest_main(void)
{
	bool automatic = cmdline_has("auto");

	CHECK(virtio_find(&disk, VIRTIO_ID_BLK, 0));
	virtio_begin(&disk, VIRTIO_BLK_F_FLUSH);
	CHECK(disk.features & VIRTIO_BLK_F_FLUSH);
	virtq_setup(&disk, &queue, 0, VIRTQ_MAX, VIRTIO_NO_VECTOR);
	virtio_ready(&disk);
	blocks = blk_capacity(&disk) / SECTORS_EACH / PAGE_BLOCKS * PAGE_BLOCKS;
	print("ledger: running\n");
	for (;;) {
		int c = automatic ? 'w' : serial_get();

		if (c == 'w')
			write_page();
		else if (c == 'c')
			check_all();
		else if (c == 'q')
			return;
		else
			delay_us(1000);
	}
}

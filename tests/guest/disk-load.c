/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads its first disk at full speed until it is ended: DEPTH requests of 4 KiB are always under
 * way, from one end of the disk to the other.  Takes interrupts as a kernel's driver does, none
 * while it finds answers.  Sends 'G' when the first answers are in.
 */
#include "lib/virtio.h"

enum { DEPTH = 32, BLOCK = 4096, NO_INTERRUPT = 1, NO_NOTIFY = 1, VECTOR_BLK = VECTOR_IRQ };

const char guest_name[] = "disk-load";

static struct virtq queue;
static uint8_t data[DEPTH][BLOCK] __attribute__((aligned(BLOCK)));
static struct blk_request request[DEPTH];
static uint16_t request_of[VIRTQ_MAX]; /* by the head of its descriptors */

static uint64_t next_sector(uint64_t sectors)
{
	static uint64_t next;
	uint64_t sector = next;

	next = (next + BLOCK / BLK_SECTOR) % sectors;
	return sector;
}

static bool has_answers(void)
{
	return *(volatile uint16_t *)&queue.used.index != queue.seen;
}

/* Descriptors stay as they are: only the sector changes from one read to the next. */
static unsigned read_anew(uint64_t sectors)
{
	unsigned n = 0;

	for (; has_answers(); n++) {
		struct virtq_used used = queue.used.ring[queue.seen++ % queue.size];
		struct blk_request *r = &request[request_of[used.id]];

		CHECK(r->status == BLK_STATUS_OK);
		r->status = 0xff;
		r->sector = next_sector(sectors);
		queue.avail.ring[queue.avail.index % queue.size] = (uint16_t)used.id;
		barrier();
		queue.avail.index++;
	}
	return n;
}

static void kick(void)
{
	__sync_synchronize(); /* virtio 1.2, 2.7.13.4.1: the index before the flag */
	if (!(*(volatile uint16_t *)&queue.used.flags & NO_NOTIFY))
		virtq_kick(&queue);
}

static void wait_for_answers(void)
{
	queue.avail.flags = 0;
	__sync_synchronize(); /* virtio 1.2, 2.7.14: the flag before the index */
	if (!has_answers())
		cpu_wait_irq();
	queue.avail.flags = NO_INTERRUPT;
}

void guest_main(void)
{
	struct virtio disk;
	uint64_t sectors;
	bool told = false;

	CHECK(virtio_find(&disk, VIRTIO_ID_BLK, 0));
	virtio_begin(&disk, 0);
	msix_set(&disk.msix, 1, VECTOR_BLK);
	msix_enable(&disk.msix, true);
	virtq_setup(&disk, &queue, 0, VIRTQ_MAX, 1);
	queue.avail.flags = NO_INTERRUPT;
	virtio_ready(&disk);
	sectors = blk_capacity(&disk) / (BLOCK / BLK_SECTOR) * (BLOCK / BLK_SECTOR);
	CHECK(sectors);
	for (uint16_t i = 0; i < DEPTH; i++)
		request_of[blk_add(&queue, &request[i], BLK_IN, next_sector(sectors), data[i],
				   BLOCK)] = i;
	kick();
	for (;;) {
		if (!read_anew(sectors)) {
			wait_for_answers();
			continue;
		}
		kick();
		if (!told)
			print("G");
		told = true;
	}
}

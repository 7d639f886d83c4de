/* SPDX-License-Identifier: Apache-2.0 */
/* Evil: requests that are all right as such, and full of lies or work. */
#include "evil.h"

enum {
	BURSTS = 300,
	PORT_BYTES = 300,
	BLK_MOST_SECTORS = 64,
	BALLOON_ACTUAL = 4,
	MEM_REQUESTS = QUEUE_SIZE / 2,
	MEM_BLOCK = 0,
	MEM_ADDRESS = 16,
	MEM_SIZE = 24,
	MEM_TYPES = 5,
};

/* virtio 1.2, 5.15.6 */
struct mem_request {
	uint16_t type, padding[3];
	uint64_t address;
	uint16_t blocks, padding2[3];
};

static uint64_t pick(const uint64_t *from, unsigned n)
{
	return from[(random64() >> 32) % n];
}

static void offer(struct target *t, unsigned head)
{
	t->q.avail.ring[t->q.avail.index % QUEUE_SIZE] = (uint16_t)head;
	barrier();
	t->q.avail.index++;
}

/* Bytes without sense; where they are a header, one with all features in use. */
static void burst_of_bytes(struct target *t)
{
	for (unsigned i = 0; i < sizeof(scratch) / 8; i += 17)
		((uint64_t *)scratch)[i] = random64();
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		uint64_t r = random64() >> 16;
		uint64_t at = r % (sizeof(scratch) - PAGE);

		raw(t, i, (uint64_t)scratch + at, (uint32_t)((r >> 20) % (sizeof(scratch) - at)),
		    t->queue % 2 || r >> 47 ? 0 : VIRTQ_WRITE, 0);
		offer(t, i);
	}
}

/* All kinds of requests, some of them far too large, data to and from the same pages. */
static void burst_of_blocks(struct target *t)
{
	static struct blk_request request[QUEUE_SIZE / 3];
	static const uint32_t types[] = { BLK_IN, BLK_OUT, BLK_FLUSH, 8, 11, 13, 77 };
	uint64_t capacity = blk_capacity(&t->d);

	for (unsigned i = 0; i < ARRAY_SIZE(request); i++) {
		uint64_t r = random64() >> 8, sector = (r >> 24) % (capacity + 8);
		uint32_t type = types[(r >> 4) % ARRAY_SIZE(types)];
		uint32_t length = (uint32_t)(1 + r % BLK_MOST_SECTORS) * BLK_SECTOR;
		uint64_t *range = (uint64_t *)scratch;

		if (type == 11 || type == 13) {
			range[0] = sector;
			range[1] = capacity - sector;
			length = 16;
		}
		request[i] = (struct blk_request){ .type = type, .sector = sector };
		raw(t, 3 * i, (uint64_t)&request[i], offsetof(struct blk_request, status),
		    VIRTQ_NEXT, (uint16_t)(3 * i + 1));
		raw(t, 3 * i + 1, (uint64_t)scratch, length,
		    (uint16_t)(VIRTQ_NEXT | (type == BLK_IN || type == 8 ? VIRTQ_WRITE : 0)),
		    (uint16_t)(3 * i + 2));
		raw(t, 3 * i + 2, (uint64_t)&request[i].status, 1, VIRTQ_WRITE, 0);
		offer(t, 3 * i);
	}
}

/* Pages that there are not, those that are in use by all other devices, and each again and again */
static void burst_of_pages(struct target *t)
{
	uint32_t *page = (uint32_t *)scratch;

	for (unsigned i = 0; i < sizeof(scratch) / sizeof(*page); i++) {
		uint32_t r = (uint32_t)random64();

		page[i] = r % 2 ? r | 1u << 31 : (uint32_t)((uint64_t)scratch / PAGE + r / 2 % 16);
	}
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		raw(t, i, (uint64_t)scratch, (uint32_t)(random64() >> 40) % sizeof(scratch),
		    t->queue > 2 ? VIRTQ_WRITE : 0, 0);
		offer(t, i);
	}
	write32(t->d.config + BALLOON_ACTUAL, (uint32_t)random64());
}

/* Blocks beyond the end and around it, more than may be, given up twice, of no known type */
static void burst_of_memory(struct target *t)
{
	static struct mem_request request[MEM_REQUESTS];
	static uint8_t answer[16];
	uint64_t block = read32(t->d.config + MEM_BLOCK), base = read32(t->d.config + MEM_ADDRESS);
	uint64_t size = read32(t->d.config + MEM_SIZE);

	base |= (uint64_t)read32(t->d.config + MEM_ADDRESS + 4) << 32;
	for (unsigned i = 0; i < MEM_REQUESTS; i++) {
		uint64_t r = random64() >> 8, within = base + r % (size / block) * block;
		const uint64_t at[] = { within,        within, within, base + size, -block,
					~0ull - block, base,   0,      within + 1 };
		const uint64_t blocks[] = { 1, 2, r >> 32 & 7, 0, 0xffff, size / block };

		request[i] = (struct mem_request){ .type = (uint16_t)(r >> 16) % (MEM_TYPES + 1),
						   .address = pick(at, ARRAY_SIZE(at)),
						   .blocks = (uint16_t)pick(blocks,
									    ARRAY_SIZE(blocks)) };
		raw(t, 2 * i, (uint64_t)&request[i], r & 1 << 8 ? sizeof(*request) : r & 31,
		    VIRTQ_NEXT, (uint16_t)(2 * i + 1));
		raw(t, 2 * i + 1, (uint64_t)answer, sizeof(answer), VIRTQ_WRITE, 0);
		offer(t, 2 * i);
	}
}

static void burst(struct target *t)
{
	switch (t->d.id) {
	case VIRTIO_ID_BLK:
		burst_of_blocks(t);
		break;
	case VIRTIO_ID_BALLOON:
		burst_of_pages(t);
		break;
	case VIRTIO_ID_MEM:
		burst_of_memory(t);
		break;
	default:
		burst_of_bytes(t);
	}
}

/* A queue that has taken all gets more, any other a kick. */
void flood(struct target *t)
{
	for (unsigned i = 0; i < BURSTS; i++) {
		if (*(volatile uint16_t *)&t->q.used.index == t->q.avail.index)
			burst(t);
		virtq_kick(&t->q);
		if (i % 16 == 0)
			tried(t);
	}
	/* The serial port's reader may be slow. */
	for (unsigned i = 0; i < PORT_BYTES; i++)
		serial_put('~');
	serial_put('\n');
}

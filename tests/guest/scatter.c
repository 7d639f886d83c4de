/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a disk of known content at full speed while it is moved, as Linux does: DEPTH requests of
 * 16 pages strewn over memory, each with an indirect table, are always under way.  Of each it
 * checks the status, the length and every word, and once more when its pages are about to be used
 * again: by then they have lain still for a while, which is when a lost or stale page shows.
 *
 * Of the disk's pages a quarter is zero, one is noise, and the others differ from each other in a
 * few words, so that pages go over in all the ways there are.
 *
 * A byte '.' goes out each millisecond.  Prints "scatter: running" when the disk is written; the
 * byte 'q' ends it, after a last look at everything.
 */
#include "lib/virtio.h"

enum {
	PAGE = 4096,
	WORDS = PAGE / 8,
	SEGMENTS = 16,
	DEPTH = 32,
	POOL = 1024, /* pages that are read into */
	STRIDE = 389, /* with no factor of POOL: neighbours in a request are none in memory */
	DISK_PAGES = 1024, /* a multiple of SEGMENTS */
	FIRST_PAGES = DISK_PAGES - SEGMENTS, /* where requests begin, in turn */
	PAGE_SECTORS = PAGE / BLK_SECTOR,
	COMMAND_MS = 50,
};

const char guest_name[] = "scatter";

static uint64_t pool[POOL][WORDS] __attribute__((aligned(PAGE)));
static struct {
	uint16_t page[POOL];
	unsigned taken, given; /* in all */
} still; /* a ring of those that nothing is read into */
static struct {
	uint32_t disk_page;
	bool filled;
} holds[POOL];

/* What the device reads and writes, and what it does not, share pages. */
static struct request {
	struct virtq_desc table[SEGMENTS + 2];
	struct blk_request blk;
	uint16_t page[SEGMENTS];
	uint32_t disk_page; /* the first */
} requests[DEPTH];

static struct virtio disk;
static struct virtq queue;
static struct {
	uint64_t ms, next, beats;
} timer;
static uint64_t reads;
static bool stopping;

static uint64_t mix(uint64_t v)
{
	v *= 0x9e3779b97f4a7c15;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
	return v ^ v >> 31;
}

static uint64_t disk_word(uint32_t page, unsigned word)
{
	/* By chance, so that what a page is read into holds now this kind and now that. */
	switch (mix(page) % 4) {
	case 0:
		return 0;
	case 1:
		return mix((uint64_t)page << 16 | word);
	default:
		return mix(word) ^ (word % 32 ? 0 : mix((uint64_t)page << 16 | word));
	}
}

static void check_page(unsigned p, const char *when)
{
	for (unsigned w = 0; w < WORDS; w++)
		if (pool[p][w] != disk_word(holds[p].disk_page, w))
			guest_fail(
				"%s: page 0x%lx: word %u is 0x%lx, page %u of the disk has 0x%lx "
				"there; after %lu reads",
				when, (uint64_t)pool[p], w, pool[p][w], holds[p].disk_page,
				disk_word(holds[p].disk_page, w), reads);
}

static uint16_t take_page(void)
{
	uint16_t p = still.page[still.taken++ % POOL];

	if (holds[p].filled)
		check_page(p, "it lay still");
	return p;
}

static void give_page(unsigned p)
{
	still.page[still.given++ % POOL] = (uint16_t)p;
}

static void put_descriptor(struct request *r, unsigned i, const void *data, uint32_t length,
			   uint16_t flags)
{
	r->table[i] = (struct virtq_desc){ .address = (uint64_t)data,
					   .length = length,
					   .flags = flags,
					   .next = (uint16_t)(i + 1) };
}

static void submit(unsigned i)
{
	static uint32_t next;
	struct request *r = &requests[i];

	r->disk_page = next;
	next = (next + SEGMENTS + 1) % FIRST_PAGES;
	r->blk = (struct blk_request){ .type = BLK_IN,
				       .sector = (uint64_t)r->disk_page * PAGE_SECTORS,
				       .status = 0xff };
	put_descriptor(r, 0, &r->blk, offsetof(struct blk_request, status), VIRTQ_NEXT);
	for (unsigned s = 0; s < SEGMENTS; s++) {
		r->page[s] = take_page();
		put_descriptor(r, s + 1, pool[r->page[s]], PAGE, VIRTQ_NEXT | VIRTQ_WRITE);
	}
	put_descriptor(r, SEGMENTS + 1, &r->blk.status, 1, VIRTQ_WRITE);
	queue.desc[i] = (struct virtq_desc){ .address = (uint64_t)r->table,
					     .length = sizeof(r->table),
					     .flags = VIRTQ_INDIRECT };
	queue.avail.ring[queue.avail.index % queue.size] = (uint16_t)i;
	barrier();
	queue.avail.index++;
}

static void complete(const struct virtq_used *used)
{
	struct request *r = &requests[used->id];

	CHECK(used->id < DEPTH);
	if (*(volatile uint8_t *)&r->blk.status != BLK_STATUS_OK ||
	    used->length != SEGMENTS * PAGE + 1)
		guest_fail("request %u at sector %lu: status %u, %u bytes; after %lu reads",
			   used->id, r->blk.sector, r->blk.status, used->length, reads);
	reads++;
	for (unsigned s = 0; s < SEGMENTS; s++) {
		holds[r->page[s]].disk_page = r->disk_page + s;
		holds[r->page[s]].filled = true;
		check_page(r->page[s], "just read");
		give_page(r->page[s]);
	}
}

static bool has_answers(void)
{
	return *(volatile uint16_t *)&queue.used.index != queue.seen;
}

/* At least one answer is awaited; returns how many requests are under way then. */
static unsigned go_on(unsigned under_way)
{
	struct virtq_used used;

	do {
		CHECK(virtq_wait(&queue, &used));
		complete(&used);
		if (stopping)
			under_way--;
		else
			submit(used.id);
	} while (under_way && has_answers());
	virtq_kick(&queue);
	return under_way;
}

static void look(void)
{
	uint64_t now = rdtsc();

	if ((int64_t)(now - timer.next) < 0)
		return;
	timer.next = now + timer.ms;
	outb(COM1, '.');
	if (++timer.beats % COMMAND_MS == 0 && serial_get() == 'q')
		stopping = true;
}

static void fill_disk(void)
{
	for (uint32_t page = 0; page < DISK_PAGES; page += SEGMENTS) {
		for (unsigned i = 0; i < SEGMENTS * WORDS; i++)
			pool[i / WORDS][i % WORDS] = disk_word(page + i / WORDS, i % WORDS);
		CHECK(blk_do(&queue, BLK_OUT, (uint64_t)page * PAGE_SECTORS, pool,
			     SEGMENTS * PAGE));
	}
}

static void open_disk(void)
{
	CHECK(virtio_find(&disk, VIRTIO_ID_BLK, 0));
	virtio_begin(&disk, VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_INDEX);
	CHECK(disk.features & VIRTIO_F_INDIRECT);
	virtq_setup(&disk, &queue, 0, VIRTQ_MAX, VIRTIO_NO_VECTOR);
	virtio_ready(&disk);
}

void guest_main(void)
{
	unsigned under_way;

	open_disk();
	fill_disk();
	for (unsigned i = 0; i < POOL; i++)
		give_page(i * STRIDE % POOL);
	timer.ms = tsc_hz() / 1000;
	for (under_way = 0; under_way < DEPTH; under_way++)
		submit(under_way);
	virtq_kick(&queue);
	print("scatter: running\n");
	serial_flush();
	timer.next = rdtsc();
	while (under_way) {
		under_way = go_on(under_way);
		look();
	}
	for (unsigned p = 0; p < POOL; p++)
		if (holds[p].filled)
			check_page(p, "at the end");
	print("\nscatter: %lu reads, %lu beats\n", reads, timer.beats);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A balloon's driver. Memory from 16 MiB on, "mib=N" of it (default 64), is filled; pages of its
 * end are given and taken back as the device asks for it, 256 at a time and out of order. Each time
 * there are as many as asked for it says "balloon: N pages"; statistics are sent whenever they are
 * wanted.
 *
 * Commands: t touches 64 pages that it has given, v looks whether all others are as they were, r
 * reports the first half as free and says "reported", f fills it again, g gives three quarters
 * without being asked, s sends no statistics any more, w says that somebody waited for memory, h is
 * hostile, b reboots, q ends. When it is
 * asked for free pages it says that the second half is, after it has written some of those, writes
 * others, and says "hinted"; v does not care about the rest of them any more. Command line:
 * nostats, noreporting, pattern (pages have one when they are free), calm: its statistics are
 * those of a guest that uses "uses=N" MiB and in which nobody waits, but for w.
 */
#include "lib/virtio.h"

enum {
	ID_BALLOON = 5,
	TAG_FREE = 4,
	TAG_TOTAL = 5,
	TAG_AVAILABLE = 6,
	TAG_STALLS = 11,
	NUM_PAGES = 0,
	ACTUAL = 4,
	HINT = 8,
	POISON = 12,
	STATS_VQ = 1 << 1,
	HINTING = 1 << 3,
	PAGE_POISON = 1 << 4,
	REPORTING = 1 << 5,
	PAGE = 4096,
	BATCH = 256,
	SIZE = 64,
	RANGES = 8,
	TOUCHED = 64,
	TAGS = 16,
};

struct stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

const char guest_name[] = "balloon";

static struct virtio device;
static struct virtq inflate, deflate, stats, hints, reporting;
static uint32_t pfns[2 * BATCH];
static struct stat stat[TAGS + 2];
static uint64_t base, pages, given, least, stalls;
static bool said, silent, hinted;
static uint32_t asked;

static uint64_t page_at(uint64_t i)
{
	return base + i * PAGE;
}

static void fill(uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++)
		for (unsigned at = 0; at < PAGE; at += 512)
			write64(page_at(i) + at, page_at(i) ^ at);
}

/* One of seven is written before the hint, and one behind it. */
static bool is_kept(uint64_t i)
{
	return !hinted || i < pages / 2 || i % 7 < 2;
}

static void verify(void)
{
	for (uint64_t i = 0; i < pages - given; i++)
		for (unsigned at = 0; at < PAGE; at += 512)
			if (is_kept(i) && read64(page_at(i) + at) != (page_at(i) ^ at))
				guest_fail("page 0x%lx was lost", page_at(i));
	print("verified\n");
}

static void request(struct virtq *q, const void *data, uint32_t length)
{
	const struct virtq_part part = { data, length, false };
	struct virtq_used used;

	virtq_add(q, &part, 1);
	virtq_kick(q);
	CHECK(virtq_wait(q, &used));
	CHECK(!used.length);
}

/* n pages from first on, each seventh one next. */
static void move(struct virtq *q, uint64_t first, unsigned n)
{
	unsigned at = 0;

	for (unsigned begin = 0; begin < 7; begin++)
		for (unsigned i = begin; i < n; i += 7)
			pfns[at++] = (uint32_t)(page_at(first + i) / PAGE);
	request(q, pfns, n * sizeof(*pfns));
	write32(device.config + ACTUAL, (uint32_t)given);
}

static void follow_target(void)
{
	uint64_t target = read32(device.config + NUM_PAGES);

	if (target < least)
		target = least;
	if (target > pages)
		target = pages;
	if (target == given && !said) {
		print("balloon: %lu pages\n", given);
		said = true;
	}
	if (target == given)
		return;
	said = false;
	if (target > given) {
		unsigned n = target - given < BATCH ? (unsigned)(target - given) : BATCH;

		given += n;
		move(&inflate, pages - given, n);
	} else {
		unsigned n = given - target < BATCH ? (unsigned)(given - target) : BATCH;
		uint64_t first = pages - given;

		given -= n;
		move(&deflate, first, n);
		fill(first, first + n);
	}
}

/* Of one that uses so much. */
static void fill_calm_stats(uint64_t uses)
{
	uint64_t total = base + (pages - given) * PAGE;

	for (unsigned i = 0; i < TAGS; i++)
		stat[i].value = 0;
	stat[TAG_TOTAL].value = total;
	stat[TAG_AVAILABLE].value = total > uses ? total - uses : 0;
	stat[TAG_STALLS].value = stalls;
}

static void send_stats(void)
{
	const struct virtq_part part = { stat, sizeof(stat), false };
	static uint64_t times;

	times++;
	for (unsigned i = 0; i < TAGS; i++)
		stat[i] = (struct stat){ (uint16_t)i, i * 1000 + times };
	if (cmdline_has("calm"))
		fill_calm_stats(MIB(cmdline_number("uses", 0)));
	stat[TAGS] = (struct stat){ 500, ~0ull };
	stat[TAGS + 1] = (struct stat){ TAG_FREE, (pages - given) * PAGE };
	virtq_add(&stats, &part, 1);
	virtq_kick(&stats);
}

static void look_at_stats(void)
{
	if (silent || !(device.features & STATS_VQ) ||
	    stats.seen == *(volatile uint16_t *)&stats.used.index)
		return;
	stats.seen++;
	send_stats();
}

static void report(void)
{
	struct virtq_part part[RANGES];
	struct virtq_used used;

	for (unsigned i = 0; i < RANGES; i++)
		part[i] = (struct virtq_part){ (void *)page_at(i * (pages / 2 / RANGES)),
					       (uint32_t)(pages / 2 / RANGES * PAGE), true };
	virtq_add(&reporting, part, RANGES);
	virtq_kick(&reporting);
	CHECK(virtq_wait(&reporting, &used));
	print("reported\n");
}

static void write_some(uint64_t which)
{
	for (uint64_t i = pages / 2; i < pages; i++)
		if (i % 7 == which)
			fill(i, i + 1);
}

static void hint(void)
{
	struct virtq_part part[RANGES];
	struct virtq_used used;

	request(&hints, &asked, sizeof(asked));
	write_some(0);
	for (unsigned i = 0; i < RANGES; i++)
		part[i] =
			(struct virtq_part){ (void *)page_at(pages / 2 + i * (pages / 2 / RANGES)),
					     (uint32_t)(pages / 2 / RANGES * PAGE), true };
	virtq_add(&hints, part, RANGES);
	virtq_kick(&hints);
	CHECK(virtq_wait(&hints, &used));
	write_some(1);
	hinted = true;
	print("hinted\n");
}

/* 0 and 1: nobody asks. */
static void look_at_hints(void)
{
	uint32_t id = device.features & HINTING ? read32(device.config + HINT) : 0;

	if (id < 2 || id == asked)
		return;
	asked = id;
	hint();
}

static void touch(void)
{
	for (unsigned i = 0; i < TOUCHED; i++)
		write64(page_at(pages - given + 2 * i), 1);
	print("touched\n");
}

static void desc(struct virtq *q, unsigned i, uint64_t address, uint32_t length, uint16_t flags)
{
	q->desc[i] = (struct virtq_desc){ address, length, flags, (uint16_t)(i + 1) };
}

static void post_raw(struct virtq *q)
{
	struct virtq_used used;

	q->avail.ring[q->avail.index % q->size] = 0;
	barrier();
	q->avail.index++;
	virtq_kick(q);
	CHECK(virtq_wait(q, &used));
}

/* Pages that it has not, the same ones again and again, lengths that are odd, any kind of chain. */
static void hostile(void)
{
	static struct virtq_desc table[SIZE];
	struct virtq *const queues[] = { &inflate, &deflate };
	const uint32_t bad[] = { 0xffffffff, 0x100000, 0xfee00, 0xfec00, 0xb0000, 0x7fffffff };

	for (unsigned q = 0; q < ARRAY_SIZE(queues); q++) {
		for (unsigned i = 0; i < 2 * BATCH; i++)
			pfns[i] = bad[i % ARRAY_SIZE(bad)];
		request(queues[q], pfns, sizeof(pfns));
		for (unsigned i = 0; i < 2 * BATCH; i++)
			pfns[i] = (uint32_t)(page_at(pages - 1) / PAGE);
		for (uint32_t length = 0; length < 9; length++) {
			desc(queues[q], 0, (uint64_t)pfns + 1, length, 0);
			post_raw(queues[q]);
		}
		/* Nothing to be read. */
		desc(queues[q], 0, (uint64_t)table, sizeof(table), VIRTQ_WRITE);
		post_raw(queues[q]);
		/* A number for each three bytes. */
		for (unsigned i = 0; i < SIZE - 1; i++)
			table[i] = (struct virtq_desc){ (uint64_t)pfns + 3 * i, 3, VIRTQ_NEXT,
							(uint16_t)(i + 1) };
		table[SIZE - 1] = (struct virtq_desc){ (uint64_t)pfns, 5, 0, 0 };
		desc(queues[q], 0, (uint64_t)table, sizeof(table), VIRTQ_INDIRECT);
		post_raw(queues[q]);
	}
	pfns[0] = (uint32_t)(page_at(pages - 1) / PAGE);
	if (given)
		request(&inflate, pfns, sizeof(pfns[0]));
	else
		fill(pages - 1, pages);
	/* What is not its own; the target stays. */
	write32(device.config + NUM_PAGES, 12345);
	write32(device.config + ACTUAL, 0xffffffff);
	write8(device.config + ACTUAL + 2, 5);
	write32(device.config + ACTUAL, (uint32_t)given);
	if (device.features & REPORTING) {
		desc(&reporting, 0, page_at(0) + 100, 2 * PAGE - 200, VIRTQ_WRITE);
		post_raw(&reporting);
		desc(&reporting, 0, page_at(0), 1, VIRTQ_WRITE);
		post_raw(&reporting);
		desc(&reporting, 0, page_at(0), 64 * PAGE, 0);
		post_raw(&reporting);
	}
	CHECK(!(virtio_status(&device) & VIRTIO_NEEDS_RESET));
	print("hostile: done\n");
}

static void command(int c)
{
	if (c == 't')
		touch();
	else if (c == 'v')
		verify();
	else if (c == 'r')
		report();
	else if (c == 'f')
		fill(0, pages / 2);
	else if (c == 'h')
		hostile();
	else if (c == 'g')
		least = pages / 4 * 3;
	else if (c == 's')
		silent = true;
	else if (c == 'w')
		stalls++;
	else if (c == 'b')
		power_reset();
	else if (c == 'q')
		power_off(0);
}

static void start(void)
{
	uint64_t wanted = PAGE_POISON | HINTING;
	uint16_t next = 2;

	if (!cmdline_has("nostats"))
		wanted |= STATS_VQ;
	if (!cmdline_has("noreporting"))
		wanted |= REPORTING;
	CHECK(virtio_find(&device, ID_BALLOON, 0));
	virtio_begin(&device, wanted);
	virtq_setup(&device, &inflate, 0, SIZE, VIRTIO_NO_VECTOR);
	virtq_setup(&device, &deflate, 1, SIZE, VIRTIO_NO_VECTOR);
	if (device.features & STATS_VQ)
		virtq_setup(&device, &stats, next++, SIZE, VIRTIO_NO_VECTOR);
	if (device.features & HINTING)
		virtq_setup(&device, &hints, next++, SIZE, VIRTIO_NO_VECTOR);
	if (device.features & REPORTING)
		virtq_setup(&device, &reporting, next++, SIZE, VIRTIO_NO_VECTOR);
	if (device.features & PAGE_POISON)
		write32(device.config + POISON, cmdline_has("pattern") ? 0xaaaaaaaa : 0);
	virtio_ready(&device);
	CHECK(read32(device.config + ACTUAL) == 0);
}

void guest_main(void)
{
	base = MIB(16);
	pages = cmdline_number("mib", 64) * (MIB(1) / PAGE);
	fill(0, pages);
	start();
	if (device.features & STATS_VQ)
		send_stats();
	for (;;) {
		follow_target();
		look_at_stats();
		look_at_hints();
		command(serial_get());
		delay_us(100);
	}
}

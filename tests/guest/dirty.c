/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrites memory without pause while it is moved: every page carries the number of the pass that
 * wrote it, and before it gets the next the last is checked, so that a lost or stale page shows at
 * once. A byte '.' goes out each millisecond: the longest gap between two, seen from outside, is
 * how long the guest was silent. Prints "dirty: running" when all memory has been written once;
 * the byte 'q' ends it, after a last look at everything, 'r' resets the machine, 't' does so by a
 * triple fault, 'o' switches it off, and 'p' reports a panic.
 *
 * Command line: mib=N rewritten by each processor (default 16), cpus=N, rate=N (MiB a second, 0:
 * all it can), fill=N (MiB written once at the beginning), noise: pages are full of what cannot be
 * compressed, and only two words of them change, renew: all words do, blk: a page of the disk's
 * second MiB is read each millisecond, so that the device dirties memory that the processors do
 * not. Without noise or renew all else in a page is zero.
 */
#include "lib/virtio.h"

enum {
	PAGE = 4096,
	LAST_WORD = PAGE / 8 - 1,
	LOOK_EVERY = 64,
	COMMAND_MS = 50,
	BUFFERS = 64,
	DISK_PAGES = 61,
	QUEUE_SIZE = 32,
	FIRST_SECTOR = 2048,
	PORT_PVPANIC = 0x505,
	PVPANIC_PANICKED = 1 << 0,
	PAGE_SECTORS = PAGE / BLK_SECTOR,
};

const char guest_name[] = "dirty";

static struct {
	uint64_t base, pages, pass;
} blocks[MAX_CPUS];
static unsigned ncpus;
static bool noise, renew;
static volatile bool stopping;
static volatile unsigned stopped;

static struct {
	uint64_t ms, next, beats, rate_begin, rate_pages;
} timer;

static struct {
	struct virtio d;
	struct virtq q;
	struct blk_request r;
	uint64_t reads;
	bool busy;
} blk;

/* Written by the device only; each a page of its own */
static uint64_t buffers[BUFFERS][PAGE / 8] __attribute__((aligned(PAGE)));

static uint64_t disk_word(uint64_t page, uint64_t word)
{
	return (page * PAGE + word + 1) * 0x9e3779b97f4a7c15;
}

/* What a word between the first and the last is (splitmix64's output function) */
static uint64_t page_word(const uint64_t *p, unsigned word, uint64_t pass)
{
	uint64_t v = (uint64_t)(p + word) + (renew ? pass << 32 : 0);

	if (!noise)
		return 0;
	v *= 0x9e3779b97f4a7c15;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
	v = (v ^ v >> 27) * 0x94d049bb133111eb;
	return v ^ v >> 31;
}

static void page_check(const uint64_t *p, uint64_t wanted)
{
	if (p[0] != wanted || p[LAST_WORD] != (wanted ^ (uint64_t)p))
		guest_fail("page 0x%lx: 0x%lx and 0x%lx, written in pass %lu", (uint64_t)p, p[0],
			   p[LAST_WORD] ^ (uint64_t)p, wanted);
}

static void page_check_all(const uint64_t *p, uint64_t wanted)
{
	page_check(p, wanted);
	for (unsigned w = 1; w < LAST_WORD; w++)
		if (p[w] != page_word(p, w, wanted))
			guest_fail("page 0x%lx: word %u is 0x%lx, written in pass %lu", (uint64_t)p,
				   w, p[w], wanted);
}

static void page_write(uint64_t *p, uint64_t pass)
{
	p[0] = pass;
	for (unsigned w = 1; renew && w < LAST_WORD; w++)
		p[w] = page_word(p, w, pass);
	p[LAST_WORD] = pass ^ (uint64_t)p;
}

/* The first time: until then it is zero. */
static void page_fill(uint64_t *p, uint64_t pass)
{
	page_write(p, pass);
	for (unsigned w = 1; noise && w < LAST_WORD; w++)
		p[w] = page_word(p, w, pass);
}

static void buffer_check(uint64_t read)
{
	for (unsigned w = 0; w < PAGE / 8; w++)
		if (buffers[read % BUFFERS][w] != disk_word(read % DISK_PAGES, w))
			guest_fail("buffer of read %lu: word %u is 0x%lx", read, w,
				   buffers[read % BUFFERS][w]);
}

/* The buffer about to be reused has lain still for as many milliseconds as there are. */
static void blk_step(void)
{
	struct virtq_used used;

	if (blk.busy) {
		CHECK(virtq_wait(&blk.q, &used) && blk.r.status == BLK_STATUS_OK);
		buffer_check(blk.reads++);
	}
	if (blk.reads >= BUFFERS)
		buffer_check(blk.reads - BUFFERS);
	blk_add(&blk.q, &blk.r, BLK_IN, FIRST_SECTOR + blk.reads % DISK_PAGES * PAGE_SECTORS,
		buffers[blk.reads % BUFFERS], PAGE);
	virtq_kick(&blk.q);
	blk.busy = true;
}

static void blk_start(void)
{
	CHECK(virtio_find(&blk.d, VIRTIO_ID_BLK, 0));
	virtio_begin(&blk.d, 0);
	virtq_setup(&blk.d, &blk.q, 0, QUEUE_SIZE, VIRTIO_NO_VECTOR);
	virtio_ready(&blk.d);
	for (unsigned i = 0; i < DISK_PAGES; i++) {
		for (unsigned w = 0; w < PAGE / 8; w++)
			buffers[0][w] = disk_word(i, w);
		CHECK(blk_do(&blk.q, BLK_OUT, FIRST_SECTOR + i * PAGE_SECTORS, buffers[0], PAGE));
	}
}

static void obey(int byte)
{
	switch (byte) {
	case 'q':
		stopping = true;
		break;
	case 'o':
		power_off(0);
	case 'p':
		outb(PORT_PVPANIC, PVPANIC_PANICKED);
		break;
	case 'r':
		power_reset();
	case 't':
		power_fault();
	}
}

/* What happens by the clock, on the first processor only */
static void look(void)
{
	uint64_t now = rdtsc();

	if ((int64_t)(now - timer.next) < 0)
		return;
	timer.next = now + timer.ms;
	outb(COM1, '.');
	if (blk.d.common)
		blk_step();
	if (++timer.beats % COMMAND_MS == 0)
		obey(serial_get());
}

/* Spin as long as more than rate=N was written. */
static void slow_down(uint64_t rate)
{
	const uint64_t pages_of_a_mib = MIB(1) / PAGE;

	while (rate && !stopping &&
	       timer.rate_pages * 1000 >
		       (rdtsc() - timer.rate_begin) / timer.ms * rate * pages_of_a_mib)
		look();
}

static void pass(unsigned cpu, uint64_t rate)
{
	uint64_t n = ++blocks[cpu].pass, i;

	for (i = 0; i < blocks[cpu].pages && !stopping; i++) {
		uint64_t *p = (uint64_t *)(blocks[cpu].base + i * PAGE);

		page_check(p, n - 1);
		page_write(p, n);
		if (!cpu && i % LOOK_EVERY == 0) {
			look();
			timer.rate_pages += LOOK_EVERY;
			slow_down(rate);
		}
	}
	blocks[cpu].pages = i; /* stopped within: the others are one pass behind */
}

static void first_pass(unsigned cpu)
{
	for (uint64_t i = 0; i < blocks[cpu].pages; i++)
		page_fill((uint64_t *)(blocks[cpu].base + i * PAGE), 0);
}

static void cpu_dirty(unsigned cpu)
{
	first_pass(cpu);
	while (!stopping)
		pass(cpu, 0);
	__sync_fetch_and_add(&stopped, 1);
}

static void check_all(uint64_t fill, uint64_t fill_pages)
{
	for (unsigned cpu = 0; cpu < ncpus; cpu++)
		for (uint64_t i = 0; i < blocks[cpu].pages; i++)
			page_check_all((uint64_t *)(blocks[cpu].base + i * PAGE), blocks[cpu].pass);
	for (uint64_t i = 0; i < fill_pages; i++)
		page_check_all((uint64_t *)(fill + i * PAGE), i);
}

void guest_main(void)
{
	uint64_t mib = cmdline_number("mib", 16), rate = cmdline_number("rate", 0);
	uint64_t fill, fill_pages = cmdline_number("fill", 0) * (MIB(1) / PAGE);

	renew = cmdline_has("renew");
	noise = renew || cmdline_has("noise");
	ncpus = (unsigned)cmdline_number("cpus", 1);
	CHECK(ncpus && ncpus <= MAX_CPUS);
	for (unsigned i = 0; i < ncpus; i++) {
		blocks[i].base = MIB(16) + i * MIB(mib);
		blocks[i].pages = mib * (MIB(1) / PAGE);
	}
	fill = MIB(16) + ncpus * MIB(mib);
	CHECK(fill + fill_pages * PAGE <= GIB(3));
	for (uint64_t i = 0; i < fill_pages; i++)
		page_fill((uint64_t *)(fill + i * PAGE), i);
	timer.ms = tsc_hz() / 1000;
	if (cmdline_has("blk"))
		blk_start();
	for (unsigned i = 1; i < ncpus; i++)
		CHECK(cpu_start(i, i, cpu_dirty));
	first_pass(0);
	print("dirty: running\n");
	serial_flush();
	timer.rate_begin = timer.next = rdtsc();
	while (!stopping) {
		pass(0, rate);
		look(); /* also when mib=0 */
	}
	while (stopped != ncpus - 1)
		cpu_relax();
	check_all(fill, fill_pages);
	print("\ndirty: %lu passes, %lu beats, %lu reads\n", blocks[0].pass, timer.beats,
	      blk.reads);
}

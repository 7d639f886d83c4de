/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that has something to do every 5 ms and sleeps in between: it writes a block to its disk
 * and reads it back. What it has written must come back, and all requests be answered; each time it
 * takes how long that was, from when it was due. 'r' on its serial port has it report all since the
 * last report: "neighbour: 200 done, p50 90 us, p99 800 us, max 900 us"; 'q' ends it.
 */
#include "lib/virtio.h"

enum {
	PERIOD_MS = 5,
	BLOCK = 4096,
	MOST = 1 << 16, /* that are kept for one report */
	VECTOR_TIMER = VECTOR_IRQ,
	VECTOR_BLK = VECTOR_IRQ + 1,
	DIVIDE_BY_1 = 0xb,
};

const char guest_name[] = "neighbour";

static struct virtq queue;
static uint64_t data[BLOCK / 8] __attribute__((aligned(BLOCK)));
static uint32_t took[MOST]; /* microseconds */
static unsigned ntook;

static void disk_do(uint32_t type, uint64_t sector)
{
	static struct blk_request r;
	struct virtq_used used;
	uint16_t head = blk_add(&queue, &r, type, sector, data, BLOCK);

	virtq_kick(&queue);
	while (*(volatile uint16_t *)&queue.used.index == queue.seen)
		cpu_wait_irq();
	CHECK(virtq_wait(&queue, &used));
	CHECK(used.id == head && *(volatile uint8_t *)&r.status == BLK_STATUS_OK);
}

/* KVM's local APIC timer counts nanoseconds. */
static void sleep_until(uint64_t due, uint64_t tick)
{
	int64_t left;

	while ((left = (int64_t)(due - rdtsc())) > 0) {
		cpu_wrmsr(MSR_X2APIC_INITIAL_COUNT, (uint64_t)left * 1000 / tick + 1);
		cpu_wait_irq();
	}
}

static void work(uint64_t number, uint64_t blocks)
{
	uint64_t sector = number % blocks * (BLOCK / BLK_SECTOR);

	for (unsigned i = 0; i < BLOCK / 8; i++)
		data[i] = number ^ i;
	disk_do(BLK_OUT, sector);
	memset(data, 0, sizeof(data));
	disk_do(BLK_IN, sector);
	for (unsigned i = 0; i < BLOCK / 8; i++)
		CHECK(data[i] == (number ^ i));
}

static void sort(unsigned n)
{
	for (unsigned gap = n / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
		for (unsigned i = gap; i < n; i++) {
			uint32_t v = took[i];
			unsigned at = i;

			for (; at >= gap && took[at - gap] > v; at -= gap)
				took[at] = took[at - gap];
			took[at] = v;
		}
}

static void report(void)
{
	sort(ntook);
	print("neighbour: %u done, p50 %u us, p99 %u us, max %u us\n", ntook, took[ntook / 2],
	      took[ntook * 99 / 100], took[ntook - 1]);
	ntook = 0;
}

static uint64_t start(void)
{
	static struct virtio disk;

	CHECK(virtio_find(&disk, VIRTIO_ID_BLK, 0));
	virtio_begin(&disk, 0);
	msix_set(&disk.msix, 1, VECTOR_BLK);
	msix_enable(&disk.msix, true);
	virtq_setup(&disk, &queue, 0, 16, 1);
	virtio_ready(&disk);
	cpu_wrmsr(MSR_X2APIC_DIVIDE, DIVIDE_BY_1);
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, VECTOR_TIMER);
	return blk_capacity(&disk) / (BLOCK / BLK_SECTOR);
}

void guest_main(void)
{
	uint64_t tick = tsc_hz() / 1000000, blocks, due;
	int c = 0;

	cpu_irqs_off();
	blocks = start();
	print("neighbour: ready\n");
	due = rdtsc();
	for (uint64_t number = 1; c != 'q'; number++) {
		sleep_until(due, tick);
		work(number, blocks);
		if (ntook < MOST)
			took[ntook++] = (uint32_t)((rdtsc() - due) / tick);
		due += tick * 1000 * PERIOD_MS;
		c = serial_get();
		if (c == 'r')
			report();
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile: what can be wrong in descriptors, rings and requests (virtio 1.2, 2.7). */
#include "hostile.h"

enum {
	HEADER_BYTES = offsetof(struct blk_request, status),
	LOCAL_APIC = 0xfee00000,
	IOAPIC = 0xfec00000,
	FLOOD = 3000,
};

static void header(struct target *t, uint32_t type, uint64_t sector)
{
	t->r = (struct blk_request){ .type = type, .sector = sector, .status = 0xff };
}

/* Header, data, status in descriptors 0 to 2; then the caller spoils one. */
static void request(struct target *t, uint32_t type, uint64_t data, uint32_t length)
{
	header(t, type, 0);
	raw(t, 0, (uint64_t)&t->r, HEADER_BYTES, VIRTQ_NEXT, 1);
	raw(t, 1, data, length, (uint16_t)(VIRTQ_NEXT | (type == BLK_OUT ? 0 : VIRTQ_WRITE)), 2);
	raw(t, 2, (uint64_t)&t->r.status, 1, VIRTQ_WRITE, 0);
}

static uint64_t ram_end(void)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < boot.nmemmap; i++)
		if (boot.memmap[i].type == MEMMAP_RAM && boot.memmap[i].base < GIB(4))
			end = boot.memmap[i].base + boot.memmap[i].size;
	return end;
}

static void bad_addresses(struct target *t)
{
	const uint64_t bad[] = {
		~0ull,        -(uint64_t)PAGE, 1ull << 63,      1ull << 52,      1ull << 40,
		GIB(4) - 256, ram_end(),       ram_end() - 256, LOCAL_APIC,      IOAPIC,
		pci_ecam(),   t->d.common,     t->d.notify,     t->d.msix.table,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		request(t, BLK_OUT, bad[i], BLK_SECTOR);
		post(t, 0);
		tried(t);
		if (bad[i] == pci_ecam() || bad[i] == IOAPIC)
			continue; /* a machine with DMA between devices would be ruined */
		request(t, BLK_IN, bad[i], BLK_SECTOR);
		post(t, 0);
		tried(t);
	}
}

static void bad_header_address(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[0].address = ~0ull - 8;
	post(t, 0);
}

static void bad_status_address(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[2].address = 1ull << 50;
	post(t, 0);
}

static void bad_lengths(struct target *t)
{
	static const uint32_t lengths[] = { 0, 1, 511, 513, 0x7fffffff, 0x80000000, 0xffffffff };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		request(t, BLK_OUT, (uint64_t)scratch, lengths[i]);
		post(t, 0);
		tried(t);
	}
}

static void all_lengths_zero(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, 0);
	t->q.desc[0].length = t->q.desc[2].length = 0;
	post(t, 0);
}

static void loop_of_one(struct target *t)
{
	header(t, BLK_IN, 0);
	raw(t, 0, (uint64_t)&t->r, HEADER_BYTES, VIRTQ_NEXT, 0);
	post(t, 0);
}

static void loop_of_two(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[2].flags |= VIRTQ_NEXT;
	t->q.desc[2].next = 1;
	post(t, 0);
}

static void next_out_of_range(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[0].next = QUEUE_SIZE;
	post(t, 0);
}

static void head_out_of_range(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	post(t, QUEUE_SIZE);
}

static void head_far_out_of_range(struct target *t)
{
	post(t, 0xffff);
}

static void index_too_far(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.avail.index = QUEUE_SIZE + 1;
	virtq_kick(&t->q);
}

static void index_backwards(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.avail.index = 0xffff;
	virtq_kick(&t->q);
}

static void one_head_many_times(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		t->q.avail.ring[i] = 0;
	barrier();
	t->q.avail.index = QUEUE_SIZE;
	virtq_kick(&t->q);
}

static void writable_before_readable(struct target *t)
{
	request(t, BLK_OUT, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[0].flags |= VIRTQ_WRITE;
	post(t, 0);
}

static void nothing_writable(struct target *t)
{
	request(t, BLK_OUT, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[2].flags = 0;
	post(t, 0);
}

static void nothing_readable(struct target *t)
{
	raw(t, 0, (uint64_t)scratch, PAGE, VIRTQ_WRITE, 0);
	post(t, 0);
}

static void header_too_short(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[0].length = HEADER_BYTES - 1;
	post(t, 0);
}

static void unknown_flags(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	t->q.desc[1].flags |= 0xfff8;
	post(t, 0);
}

static void bad_sectors(struct target *t)
{
	const uint64_t end = t->d.id == VIRTIO_ID_BLK ? blk_capacity(&t->d) : 0;
	const uint64_t bad[] = { end, end - 1, ~0ull, 1ull << 55, (1ull << 55) - 1, 1ull << 63 };

	for (unsigned i = 0; i < ARRAY_SIZE(bad) * 2; i++) {
		request(t, i % 2, (uint64_t)scratch, 2 * BLK_SECTOR);
		t->r.sector = bad[i / 2];
		post(t, 0);
		tried(t);
		CHECK(!end || *(volatile uint8_t *)&t->r.status != BLK_STATUS_OK);
	}
}

static void unknown_types(struct target *t)
{
	for (uint32_t type = 5; type < 40; type++) {
		if (type == 8)
			continue; /* device's identity: known */
		request(t, type, (uint64_t)scratch, BLK_SECTOR);
		post(t, 0);
		tried(t);
	}
	request(t, 0xffffffff, (uint64_t)scratch, BLK_SECTOR);
	post(t, 0);
}

/* Indirect tables: the feature was agreed on, see hostile.c. */
static struct virtq_desc table[4 * QUEUE_SIZE] __attribute__((aligned(16)));

static void indirect(struct target *t, uint64_t at, uint32_t bytes, uint16_t flags)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	memcpy(table, t->q.desc, 3 * sizeof(table[0]));
	raw(t, 0, at, bytes, VIRTQ_INDIRECT | flags, 1);
	post(t, 0);
	tried(t);
}

static void indirect_odd_lengths(struct target *t)
{
	static const uint32_t lengths[] = { 0, 1, 15, 17, 47, 0xfffffff0, 0xffffffff };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++)
		indirect(t, (uint64_t)table, lengths[i], 0);
}

static void indirect_bad_address(struct target *t)
{
	indirect(t, 1ull << 51, 48, 0);
	indirect(t, ~0ull - 15, 48, 0);
	indirect(t, LOCAL_APIC, 48, 0);
}

static void indirect_and_next(struct target *t)
{
	indirect(t, (uint64_t)table, 48, VIRTQ_NEXT);
}

static void indirect_nested(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	memcpy(table, t->q.desc, 3 * sizeof(table[0]));
	table[0] = (struct virtq_desc){ (uint64_t)table, 48, VIRTQ_INDIRECT, 0 };
	raw(t, 0, (uint64_t)table, 48, VIRTQ_INDIRECT, 0);
	post(t, 0);
}

static void indirect_loop(struct target *t)
{
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (struct virtq_desc){ (uint64_t)scratch, 16, VIRTQ_NEXT,
						(uint16_t)((i + 1) % ARRAY_SIZE(table)) };
	raw(t, 0, (uint64_t)table, sizeof(table), VIRTQ_INDIRECT, 0);
	post(t, 0);
}

static void indirect_next_out_of_range(struct target *t)
{
	request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
	memcpy(table, t->q.desc, 3 * sizeof(table[0]));
	table[1].next = 3;
	raw(t, 0, (uint64_t)table, 48, VIRTQ_INDIRECT, 0);
	post(t, 0);
}

/* Each page of memory given to the device again and again in one chain */
static void chain_of_all(struct target *t)
{
	header(t, BLK_IN, 0);
	raw(t, 0, (uint64_t)&t->r, HEADER_BYTES, VIRTQ_NEXT, 1);
	for (unsigned i = 1; i < QUEUE_SIZE; i++)
		raw(t, i, MIB(2), (uint32_t)(ram_end() - MIB(2)), VIRTQ_NEXT, (uint16_t)(i + 1));
	raw(t, QUEUE_SIZE - 1, (uint64_t)&t->r.status, 1, VIRTQ_WRITE, 0);
	post(t, 0);
}

/* The device reads descriptors while they change. */
static void changing_under_way(struct target *t)
{
	for (unsigned i = 0; i < 200; i++) {
		request(t, BLK_IN, (uint64_t)scratch, BLK_SECTOR);
		post(t, 0);
		for (unsigned k = 0; k < 20; k++) {
			t->q.desc[k % 3].next = (uint16_t)random64();
			t->q.desc[1].length = (uint32_t)(random64() % sizeof(scratch));
			t->q.desc[k % 3].flags ^= VIRTQ_NEXT;
			barrier();
		}
	}
}

static void random_rings(struct target *t)
{
	uint64_t *p = (uint64_t *)t->q.desc;

	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < QUEUE_SIZE; k++) {
			p[2 * k] = random64() % ram_end() & ~(uint64_t)(PAGE - 1);
			/* read-only parts: what a device writes to may be our own code */
			p[2 * k + 1] = (random64() & 0x000fffff00001fff);
			p[2 * k + 1] |= (uint64_t)VIRTQ_NEXT << 32;
			p[2 * k + 1] &= ~((uint64_t)VIRTQ_WRITE << 32);
			t->q.avail.ring[k] = (uint16_t)(random64() % (QUEUE_SIZE + 2));
		}
		t->q.avail.index = (uint16_t)(t->q.avail.index + random64() % QUEUE_SIZE);
		virtq_kick(&t->q);
	}
}

static void kick_flood(struct target *t)
{
	for (unsigned i = 0; i < FLOOD; i++)
		virtq_kick(&t->q);
}

static void kick_wrong_queue(struct target *t)
{
	static const uint16_t numbers[] = { 1, 2, 63, 64, 255, 1023, 0x7fff, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		write16(t->q.notify, numbers[i]); /* ignored, or another queue's */
}

static void kick_odd_widths(struct target *t)
{
	write8(t->q.notify, 0);
	write8(t->q.notify + 1, 0);
	write16(t->q.notify + 1, 0);
	write32(t->q.notify, 0);
	write64(t->q.notify, 0);
	write32(t->q.notify, 0xffff0000);
	write64(t->q.notify, ~0ull);
	read8(t->q.notify);
	read16(t->q.notify);
	read64(t->q.notify);
}

const struct attack queue_attacks[] = {
	{ "bad addresses", bad_addresses, false },
	{ "bad address of the header", bad_header_address, false },
	{ "bad address of the status", bad_status_address, false },
	{ "bad lengths", bad_lengths, false },
	{ "all lengths zero", all_lengths_zero, false },
	{ "loop of one", loop_of_one, false },
	{ "loop of two", loop_of_two, false },
	{ "next out of range", next_out_of_range, false },
	{ "head out of range", head_out_of_range, false },
	{ "head far out of range", head_far_out_of_range, false },
	{ "index too far", index_too_far, false },
	{ "index backwards", index_backwards, false },
	{ "one head many times", one_head_many_times, false },
	{ "writable before readable", writable_before_readable, false },
	{ "nothing writable", nothing_writable, false },
	{ "nothing readable", nothing_readable, false },
	{ "header too short", header_too_short, false },
	{ "unknown flags", unknown_flags, false },
	{ "bad sectors", bad_sectors, false },
	{ "unknown types", unknown_types, false },
	{ "indirect: odd lengths", indirect_odd_lengths, false },
	{ "indirect: bad address", indirect_bad_address, false },
	{ "indirect: with next", indirect_and_next, false },
	{ "indirect: nested", indirect_nested, false },
	{ "indirect: loop", indirect_loop, false },
	{ "indirect: next out of range", indirect_next_out_of_range, false },
	{ "chain of all memory", chain_of_all, false },
	{ "changing under way", changing_under_way, false },
	{ "random rings", random_rings, false },
	{ "kick flood", kick_flood, false },
	{ "kick of queues there are not", kick_wrong_queue, false },
	{ "kick with odd widths", kick_odd_widths, false },
	{ NULL, NULL, false },
};

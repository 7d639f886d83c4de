/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile: registers, of virtio (virtio 1.2, 4.1.4) and of PCI, and addresses nobody answers at. */
#include "hostile.h"

enum {
	MSIX_ENTRY = 16,
	MSIX_CONTROL = 12,
	STORM = 1000,
	CONFIG_BYTES = 256,
	HOLE = 0xc8000000,
	COM1_SCRATCH = COM1 + 7,
	CMOS_INDEX = 0x70,
	CMOS_DATA = 0x71,
	PORT_PCI_ADDRESS = 0xcf8,
	PORT_PCI_DATA = 0xcfc,
	PCI_BAR5 = 0x24,
};

static void write_any(uint64_t at, unsigned width, uint64_t v)
{
	if (width == 0)
		write8(at, (uint8_t)v);
	else if (width == 1)
		write16(at, (uint16_t)v);
	else if (width == 2)
		write32(at, (uint32_t)v);
	else
		write64(at, v);
}

static uint64_t read_any(uint64_t at, unsigned width)
{
	if (width == 0)
		return read8(at);
	if (width == 1)
		return read16(at);
	return width == 2 ? read32(at) : read64(at);
}

/* Any offset, any width, also across the borders of registers */
static void storm(uint64_t at, unsigned bytes)
{
	for (unsigned i = 0; i < STORM; i++) {
		uint64_t v = random64();
		unsigned width = v >> 8 & 3, offset = (unsigned)(v >> 16) % bytes;

		if (v & 1)
			write_any(at + offset, width, random64());
		else
			read_any(at + offset, width);
	}
}

/* The queue's addresses are made bad first, so that changed a little they are still no memory. */
static void common_storm(struct target *t)
{
	virtio_begin(&t->d, 0);
	write16(t->d.common + VIRTIO_QUEUE_SELECT, 0);
	for (unsigned i = 0; i < 24; i += 4)
		write32(t->d.common + VIRTIO_QUEUE_DESC + i, 0x60606060);
	storm(t->d.common, VIRTIO_COMMON_BYTES + 8);
}

static void config_storm(struct target *t)
{
	if (t->d.config)
		storm(t->d.config, 64);
}

static void isr_storm(struct target *t)
{
	storm(t->d.isr, 4);
}

/* Addresses and data of masked entries; unmasked, a message may be a store to anywhere. */
static void msix_storm(struct target *t)
{
	storm(t->d.msix.pending, 8);
	for (unsigned i = 0; i < STORM; i++) {
		unsigned at = (unsigned)(random64() >> 32) % (t->d.msix.vectors * MSIX_ENTRY);

		if (at % MSIX_ENTRY < MSIX_CONTROL - 1)
			write_any(t->d.msix.table + at, i & 1, random64());
	}
}

static void status_values(struct target *t)
{
	for (unsigned v = 1; v < 256; v++) {
		virtio_set_status(&t->d, (uint8_t)v);
		virtio_status(&t->d);
	}
}

static void ready_without_features(struct target *t)
{
	virtio_reset(&t->d);
	virtio_set_status(&t->d, VIRTIO_DRIVER_OK);
	virtq_kick(&t->q);
	virtio_status(&t->d);
}

/* 2.2.2: what was not offered must not be accepted. */
static void features_not_offered(struct target *t)
{
	virtio_reset(&t->d);
	virtio_set_status(&t->d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 8; i++) {
		write32(t->d.common + VIRTIO_DRIVER_FEATURE_SELECT, i);
		write32(t->d.common + VIRTIO_DRIVER_FEATURE, ~0u);
	}
	virtio_set_status(&t->d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	if (cmdline_has("strict"))
		CHECK(!(virtio_status(&t->d) & VIRTIO_FEATURES_OK));
}

static void features_after_ready(struct target *t)
{
	write32(t->d.common + VIRTIO_DRIVER_FEATURE_SELECT, 0);
	write32(t->d.common + VIRTIO_DRIVER_FEATURE, ~0u);
	write32(t->d.common + VIRTIO_DRIVER_FEATURE_SELECT, 1);
	write32(t->d.common + VIRTIO_DRIVER_FEATURE, 0);
	virtq_kick(&t->q);
}

static void queue_not_there(struct target *t)
{
	static const uint16_t numbers[] = { 64, 255, 1024, 0x7fff, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		write16(t->d.common + VIRTIO_QUEUE_SELECT, numbers[i]);
		if (numbers[i] > read16(t->d.common + VIRTIO_NUM_QUEUES))
			CHECK(read16(t->d.common + VIRTIO_QUEUE_SIZE) == 0); /* 4.1.4.3.1 */
		write16(t->d.common + VIRTIO_QUEUE_SIZE, QUEUE_SIZE);
		write16(t->d.common + VIRTIO_QUEUE_VECTOR, 0);
		write32(t->d.common + VIRTIO_QUEUE_DESC, 0x1000);
		write16(t->d.common + VIRTIO_QUEUE_ENABLE, 1);
		read16(t->d.common + VIRTIO_QUEUE_NOTIFY_OFF);
	}
}

/* Reset, agree on nothing special, and enable queue 0 as told. */
static void queue_as(struct target *t, uint16_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
	uint64_t c = t->d.common, at[] = { desc, avail, used };

	virtio_begin(&t->d, 0);
	write16(c + VIRTIO_QUEUE_SELECT, 0);
	write16(c + VIRTIO_QUEUE_SIZE, size);
	for (unsigned i = 0; i < 3; i++) {
		write32(c + VIRTIO_QUEUE_DESC + 8 * i, (uint32_t)at[i]);
		write32(c + VIRTIO_QUEUE_DESC + 8 * i + 4, (uint32_t)(at[i] >> 32));
	}
	write16(c + VIRTIO_QUEUE_ENABLE, 1);
	virtio_ready(&t->d);
	virtq_kick(&t->q);
	delay_us(t->patience_us);
	virtio_status(&t->d);
}

static void queue_sizes(struct target *t)
{
	static const uint16_t sizes[] = { 0, 1, 3, 15, 1000, 0x7fff, 0x8000, 0xffff };
	uint64_t s = (uint64_t)scratch;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		queue_as(t, sizes[i], s, s + PAGE, s + 2 * PAGE);
}

static void rings_unaligned(struct target *t)
{
	uint64_t s = (uint64_t)scratch;

	queue_as(t, QUEUE_SIZE, s + 1, s + PAGE, s + 2 * PAGE);
	queue_as(t, QUEUE_SIZE, s, s + PAGE + 1, s + 2 * PAGE);
	queue_as(t, QUEUE_SIZE, s, s + PAGE, s + 2 * PAGE + 3);
}

static void rings_elsewhere(struct target *t)
{
	const uint64_t bad[] = { HOLE,
				 t->d.common & -(uint64_t)PAGE,
				 pci_ecam(),
				 0xfee00000,
				 ~0ull & -(uint64_t)PAGE,
				 1ull << 63,
				 1ull << 45,
				 GIB(4) - 64 };
	uint64_t s = (uint64_t)scratch;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		queue_as(t, QUEUE_SIZE, bad[i], s + PAGE, s + 2 * PAGE);
		queue_as(t, QUEUE_SIZE, s, bad[i], s + 2 * PAGE);
		queue_as(t, QUEUE_SIZE, s, s + PAGE, bad[i]);
	}
}

static void rings_on_top_of_each_other(struct target *t)
{
	memset(scratch, 0xff, PAGE);
	queue_as(t, QUEUE_SIZE, (uint64_t)scratch, (uint64_t)scratch, (uint64_t)scratch);
}

static void queue_enabled_twice(struct target *t)
{
	write16(t->d.common + VIRTIO_QUEUE_SELECT, 0);
	write16(t->d.common + VIRTIO_QUEUE_ENABLE, 1);
	write16(t->d.common + VIRTIO_QUEUE_ENABLE, 0); /* 4.1.4.3.2 forbids it to drivers */
	write16(t->d.common + VIRTIO_QUEUE_ENABLE, 1);
	virtq_kick(&t->q);
}

static void queue_moved_when_live(struct target *t)
{
	write16(t->d.common + VIRTIO_QUEUE_SELECT, 0);
	write32(t->d.common + VIRTIO_QUEUE_DESC, HOLE);
	write32(t->d.common + VIRTIO_QUEUE_DRIVER, HOLE);
	write32(t->d.common + VIRTIO_QUEUE_DEVICE, HOLE);
	write16(t->d.common + VIRTIO_QUEUE_SIZE, 2);
	virtq_kick(&t->q);
}

static void vectors_not_there(struct target *t)
{
	write16(t->d.common + VIRTIO_CONFIG_VECTOR, (uint16_t)t->d.msix.vectors);
	CHECK(read16(t->d.common + VIRTIO_CONFIG_VECTOR) == VIRTIO_NO_VECTOR); /* 4.1.5.1.2.1 */
	write16(t->d.common + VIRTIO_QUEUE_SELECT, 0);
	write16(t->d.common + VIRTIO_QUEUE_VECTOR, 0x7ff);
	CHECK(read16(t->d.common + VIRTIO_QUEUE_VECTOR) == VIRTIO_NO_VECTOR);
}

static void reset_flood(struct target *t)
{
	for (unsigned i = 0; i < 200; i++) {
		virtio_ready(&t->d);
		virtq_kick(&t->q);
		virtio_set_status(&t->d, 0);
	}
}

/* All of the device's configuration space; it does not decode meanwhile and gets its bytes back. */
static void pci_storm(struct target *t)
{
	uint32_t before[CONFIG_BYTES / 4];
	unsigned fn = t->d.fn;

	for (unsigned i = 0; i < CONFIG_BYTES / 4; i++)
		before[i] = pci_read(fn, i * 4, 4);
	pci_write(fn, PCI_COMMAND, 2, 0);
	for (unsigned i = 0; i < STORM; i++) {
		uint64_t r = random64();
		unsigned size = 1u << (r & 3) % 3, reg = (unsigned)(r >> 8) % CONFIG_BYTES & -size;
		uint32_t v = (uint32_t)(r >> 32);

		if (reg == PCI_COMMAND)
			v &= ~3u; /* never decoding */
		if (r & 8)
			pci_write_ecam(fn, reg, size, v);
		else
			pci_write(fn, reg, size, v);
		pci_read_ecam(fn, reg, size);
	}
	for (unsigned i = CONFIG_BYTES / 4; i--;)
		if (i != PCI_COMMAND / 4)
			pci_write(fn, i * 4, 4, before[i]);
	pci_write(fn, PCI_COMMAND, 2, before[PCI_COMMAND / 4] & 0xffff);
}

/* The window into BARs by configuration space (4.1.4.9): any BAR, offset and length */
static void window_storm(struct target *t)
{
	enum {
		CAP_TYPE = 3,
		CAP_WINDOW = 5,
		CAP_BAR = 4,
		CAP_OFFSET = 8,
		CAP_LENGTH = 12,
		DATA = 16
	};
	unsigned cap = 0;

	while ((cap = pci_capability(t->d.fn, PCI_CAP_VENDOR, cap)))
		if (pci_read(t->d.fn, cap + CAP_TYPE, 1) == CAP_WINDOW)
			break;
	if (!cap)
		return;
	for (unsigned i = 0; i < STORM / 4; i++) {
		uint64_t v = random64();

		pci_write(t->d.fn, cap + CAP_BAR, 1, v & 7);
		pci_write(t->d.fn, cap + CAP_OFFSET, 4,
			  v & 8 ? (uint32_t)random64() : v >> 32 & 0x7fff);
		pci_write(t->d.fn, cap + CAP_LENGTH, 4,
			  v & 16 ? 1u << (v >> 8 & 3) : v >> 16 & 0xff);
		pci_read(t->d.fn, cap + DATA, 4);
	}
}

static void odd_config_accesses(struct target *t)
{
	uint64_t e = pci_ecam() + (t->d.fn << 12);

	read32(e + 2);
	read16(e + 3);
	read64(e);
	read64(e + 0xffc);
	write64(e + 0x40, 0);
	read32(pci_ecam() + (uint64_t)(255 << 20) + 0xffc);
	outw(PORT_PCI_ADDRESS, 0xffff);
	outb(PORT_PCI_ADDRESS, 0xff);
	outl(PORT_PCI_ADDRESS, 0xffffffff);
	inl(PORT_PCI_DATA);
	outl(PORT_PCI_ADDRESS, 0x7fffffff);
	outl(PORT_PCI_DATA, 0xffffffff);
	outl(PORT_PCI_ADDRESS, 0);
	inl(PORT_PCI_DATA + 1);
	inw(PORT_PCI_DATA + 3);
}

/* Nobody's addresses and ports, and somebody's in widths they do not have */
static void nobody(struct target *t)
{
	(void)t;
	storm(HOLE, PAGE);
	storm(0xfed40000, PAGE);
	for (unsigned i = 0; i < STORM; i++) {
		uint16_t port = (uint16_t)(0x1000 + random64() % 0x1000);

		outl(port, (uint32_t)random64());
		inw(port);
	}
	for (unsigned reg = 0; reg < 8; reg++) {
		inw((uint16_t)(COM1 + reg));
		inl((uint16_t)(COM1 + reg));
	}
	outw(COM1_SCRATCH, 0x5555);
	for (unsigned reg = 0x0e; reg < 0x80; reg++) {
		outb(CMOS_INDEX, (uint8_t)reg);
		inb(CMOS_DATA);
		inw(CMOS_INDEX);
		inl(CMOS_DATA);
	}
}

/* BARs over everything else; who allows that kills the guest, so only when asked for. */
static void bar_over_others(struct target *t)
{
	static const uint32_t places[] = { 0,          0x100000,   0xfee00000,
					   0xfec00000, 0xe0000000, 0xfffff000 };

	if (!cmdline_has("wild"))
		return;
	for (unsigned reg = PCI_BAR0; reg <= PCI_BAR5; reg += 4) {
		uint32_t low = pci_read(t->d.fn, reg, 4), high = pci_read(t->d.fn, reg + 4, 4);

		for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
			pci_write(t->d.fn, reg, 4, places[i]);
			read32(places[i] ? places[i] : PAGE);
		}
		pci_write(t->d.fn, reg, 4, low);
		if (low & 4)
			pci_write(t->d.fn, reg += 4, 4, high);
	}
}

const struct attack register_attacks[] = {
	{ "common configuration", common_storm, true },
	{ "device configuration", config_storm, false },
	{ "interrupt status", isr_storm, false },
	{ "msi-x table", msix_storm, false },
	{ "all values of the status", status_values, true },
	{ "ready without features", ready_without_features, true },
	{ "features not offered", features_not_offered, true },
	{ "features after ready", features_after_ready, false },
	{ "queues there are not", queue_not_there, false },
	{ "queue sizes", queue_sizes, false },
	{ "rings unaligned", rings_unaligned, false },
	{ "rings elsewhere", rings_elsewhere, false },
	{ "rings on top of each other", rings_on_top_of_each_other, false },
	{ "queue enabled twice", queue_enabled_twice, false },
	{ "queue moved when live", queue_moved_when_live, false },
	{ "vectors there are not", vectors_not_there, false },
	{ "reset flood", reset_flood, true },
	{ "pci configuration", pci_storm, true },
	{ "pci window", window_storm, true },
	{ "odd pci accesses", odd_config_accesses, false },
	{ "nobody's addresses", nobody, false },
	{ "bar over others", bar_over_others, true },
	{ NULL, NULL, false },
};

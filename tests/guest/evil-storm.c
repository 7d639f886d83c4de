/* SPDX-License-Identifier: Apache-2.0 */
/* Evil: doorbells, ports, vectors, hotplug registers. */
#include "evil.h"

enum {
	DOORBELLS = 50,
	PORTS = 50,
	VECTORS = 4,
	PLUGS = 10,
	STRING_BYTES = 512,
	MSIX_ENTRY = 16,
	PORT_NOBODY = 0x80,
	PORTS_END = 0x10000, /* across which no access may go */
	PORT_PVPANIC = 0x505,
	PVPANIC_CRASH_LOADED = 2,
	SLEEP_ENABLE = 1 << 5,
	PORT_PCI_EJECT = 0x618,
	PORT_CPU_HOTPLUG = 0x620,
	CPU_EJECT = 96,
	CPU_OST = 128,
};

/* Where one more write ends the guest, or others talk */
static const struct {
	uint16_t first, last;
} spared[] = {
	{ 0x60, 0x64 }, /* a reset by the keyboard's controller */
	{ COM1, COM1 + 7 }, { PORT_PVPANIC, PORT_PVPANIC }, { PORT_SLEEP, PORT_RESET },
	{ 0xcf8, 0xcff }, /* the other processor's, and a reset */
};

static bool is_spared(unsigned port, unsigned width)
{
	for (unsigned i = 0; i < ARRAY_SIZE(spared); i++)
		if (port <= spared[i].last && port + width > spared[i].first)
			return true;
	return false;
}

static void doorbells(void)
{
	for (unsigned i = 0; i < DOORBELLS; i++) {
		uint64_t r = random64() >> 8;
		const struct target *t = &victims[(unsigned)r % nvictims];
		uint64_t at = t->d.notify + (r >> 8 & 7) * t->d.notify_unit;

		if (r & 1 << 16)
			write16(at, (uint16_t)(r >> 8 & 7));
		else if (r & 1 << 17)
			write32(at, (uint32_t)random64());
		else
			write8(at + (r >> 20 & 3), 0);
	}
}

static void any_port(void)
{
	uint64_t r = random64() >> 8;
	unsigned width = 1u << (r & 3) % 3;
	uint16_t port = (uint16_t)(r & 8 ? (r >> 8) % (PORTS_END - 4) : r >> 8 & 0x7ff);
	uint32_t v = (uint32_t)random64();

	if (is_spared(port, width))
		return;
	if (r & 4 && width == 1)
		outb(port, (uint8_t)v);
	else if (r & 4 && width == 2)
		outw(port, (uint16_t)v);
	else if (r & 4)
		outl(port, v);
	else if (width == 1)
		inb(port);
	else if (width == 2)
		inw(port);
	else
		inl(port);
}

static void ports(void)
{
	uint64_t at = (uint64_t)scratch, n = STRING_BYTES;

	for (unsigned i = 0; i < PORTS; i++)
		any_port();
	__asm__ volatile("rep outsb" : "+S"(at), "+c"(n) : "d"(PORT_NOBODY) : "memory");
	at = (uint64_t)scratch;
	n = STRING_BYTES;
	__asm__ volatile("rep insb" : "+D"(at), "+c"(n) : "d"(PORT_NOBODY) : "memory");
	outb(PORT_PVPANIC, PVPANIC_CRASH_LOADED);
	outb(PORT_SLEEP, SLEEP_ENABLE | 1 << 2);
}

/* Any message but those that stop a processor: fixed, to anyone. */
static void vectors(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		uint64_t r = random64() >> 8;
		const struct msix *m = &victims[(unsigned)r % nvictims].d.msix;
		uint64_t at = m->table + (r >> 8) % m->vectors * MSIX_ENTRY;

		write32(at, 0xfee00000 | (uint32_t)(random64() >> 44));
		write32(at + 4, r & 1 << 16 ? (uint32_t)random64() : 0);
		write32(at + 8, (uint32_t)random64() & 0xc0ff);
		write32(at + 12, r >> 17 & 1);
		read32(m->pending);
	}
}

void plugs(void)
{
	for (unsigned i = 0; i < PLUGS; i++) {
		uint64_t r = random64() >> 8;

		outl(PORT_PCI_EJECT, (uint32_t)r);
		inl(PORT_PCI_EJECT - 8);
		inl(PORT_PCI_EJECT - 4);
		outl((uint16_t)(PORT_CPU_HOTPLUG + CPU_EJECT + (r & 0x1c)), r & 1 << 8 ? ~0u : 7);
		outl(PORT_CPU_HOTPLUG + CPU_OST, (uint32_t)(r >> 16 & 3) << 16 | 3 << 8 | 1);
		inl((uint16_t)(PORT_CPU_HOTPLUG + (r >> 32 & 0x7c)));
		inb(PORT_ACPI_EVENT);
	}
}

void storm(void)
{
	doorbells();
	ports();
	vectors();
	plugs();
}

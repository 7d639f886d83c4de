/* SPDX-License-Identifier: Apache-2.0 */
#include "pci.h"

enum {
	PORT_ADDRESS = 0xcf8,
	PORT_DATA = 0xcfc,
	BAR_IO = 1 << 0,
	BAR_64 = 1 << 2,
	MSIX_ENTRY = 16,
	MSIX_CONTROL = 12,
	MSIX_MASKED = 1 << 0,
	GODWIT_ECAM = 0xe0000000,
	MCFG_FIRST = 44, /* PCI firmware 3.3, 4.1.2: the first allocation's base address */
	BARS_LOW = 0xd0000000, /* for BARs that have none: the upper half of Godwit's window */
};

uint32_t pci_read(unsigned fn, unsigned reg, unsigned size)
{
	uint16_t port = (uint16_t)(PORT_DATA + (reg & 3));

	outl(PORT_ADDRESS, 1u << 31 | fn << 8 | (reg & 0xfc));
	return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

void pci_write(unsigned fn, unsigned reg, unsigned size, uint32_t v)
{
	uint16_t port = (uint16_t)(PORT_DATA + (reg & 3));

	outl(PORT_ADDRESS, 1u << 31 | fn << 8 | (reg & 0xfc));
	if (size == 1)
		outb(port, (uint8_t)v);
	else if (size == 2)
		outw(port, (uint16_t)v);
	else
		outl(port, v);
}

uint64_t pci_ecam(void)
{
	static uint64_t base;

	if (!base) {
		const void *mcfg = acpi_find("MCFG");

		base = mcfg ? read64((uint64_t)mcfg + MCFG_FIRST) : GODWIT_ECAM;
	}
	return base;
}

uint32_t pci_read_ecam(unsigned fn, unsigned reg, unsigned size)
{
	uint64_t a = pci_ecam() + (fn << 12) + reg;

	return size == 1 ? read8(a) : size == 2 ? read16(a) : read32(a);
}

void pci_write_ecam(unsigned fn, unsigned reg, unsigned size, uint32_t v)
{
	uint64_t a = pci_ecam() + (fn << 12) + reg;

	if (size == 1)
		write8(a, (uint8_t)v);
	else if (size == 2)
		write16(a, (uint16_t)v);
	else
		write32(a, v);
}

bool pci_each(bool (*visit)(unsigned fn, void *arg), void *arg)
{
	for (unsigned device = 0; device < 32; device++) {
		unsigned functions = 1;

		for (unsigned f = 0; f < functions; f++) {
			unsigned fn = PCI_FN(device, f);

			if (pci_read(fn, PCI_ID, 4) == PCI_NONE)
				continue;
			if (!f && pci_read(fn, PCI_HEADER_TYPE, 1) & PCI_MULTIFUNCTION)
				functions = 8;
			if (visit(fn, arg))
				return true;
		}
	}
	return false;
}

unsigned pci_capability(unsigned fn, unsigned id, unsigned after)
{
	unsigned at = after ? after + 1 : PCI_CAPABILITIES;

	if (!(pci_read(fn, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES))
		return 0;
	for (unsigned left = 48; left; left--) { /* as many as fit, else they go in circles */
		unsigned cap = pci_read(fn, at, 1) & 0xfc;

		if (!cap || pci_read(fn, cap, 1) == id)
			return cap;
		at = cap + 1;
	}
	guest_fail("function %x: capabilities without end", fn);
}

static uint64_t bar_size(unsigned fn, unsigned reg, bool wide)
{
	uint32_t low = pci_read(fn, reg, 4), high = wide ? pci_read(fn, reg + 4, 4) : 0;
	uint64_t mask;

	pci_write(fn, reg, 4, ~0u);
	mask = pci_read(fn, reg, 4) & ~0xfu;
	pci_write(fn, reg, 4, low);
	if (wide) {
		pci_write(fn, reg + 4, 4, ~0u);
		mask |= (uint64_t)pci_read(fn, reg + 4, 4) << 32;
		pci_write(fn, reg + 4, 4, high);
	} else {
		mask |= 0xffffffff00000000;
	}
	CHECK(mask && !(-mask & (-mask - 1)));
	return -mask;
}

uint64_t pci_bar(unsigned fn, unsigned bar)
{
	static uint64_t next = BARS_LOW;
	unsigned reg = PCI_BAR0 + 4 * bar;
	uint32_t low = pci_read(fn, reg, 4);
	bool wide = low & BAR_64;
	uint64_t at = low & ~0xfu, size;

	CHECK(!(low & BAR_IO));
	if (wide)
		at |= (uint64_t)pci_read(fn, reg + 4, 4) << 32;
	if (!at) {
		size = bar_size(fn, reg, wide);
		at = (next + size - 1) & -size;
		next = at + size;
		CHECK(next <= GODWIT_ECAM);
		pci_write(fn, reg, 4, (uint32_t)at);
		if (wide)
			pci_write(fn, reg + 4, 4, 0);
	}
	if (at >= GIB(4))
		map(at, MIB(1));
	return at;
}

void pci_enable(unsigned fn)
{
	pci_write(fn, PCI_COMMAND, 2,
		  pci_read(fn, PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			  PCI_COMMAND_NO_INTX);
}

/* PCI Local Bus 3.0, 6.8.2 */
bool msix_find(struct msix *m, unsigned fn)
{
	uint32_t table, pending;

	m->fn = fn;
	m->cap = pci_capability(fn, PCI_CAP_MSIX, 0);
	if (!m->cap)
		return false;
	m->vectors = (pci_read(fn, m->cap + 2, 2) & 0x7ff) + 1;
	table = pci_read(fn, m->cap + 4, 4);
	pending = pci_read(fn, m->cap + 8, 4);
	m->table = pci_bar(fn, table & 7) + (table & ~7u);
	m->pending = pci_bar(fn, pending & 7) + (pending & ~7u);
	return true;
}

void msix_set(const struct msix *m, unsigned entry, uint8_t vector)
{
	uint64_t at = m->table + entry * MSIX_ENTRY;

	CHECK(entry < m->vectors);
	write32(at + MSIX_CONTROL, MSIX_MASKED);
	write32(at, 0xfee00000 | cpu_apic_id() << 12);
	write32(at + 4, 0);
	write32(at + 8, vector);
	write32(at + MSIX_CONTROL, 0);
}

void msix_mask(const struct msix *m, unsigned entry, bool masked)
{
	write32(m->table + entry * MSIX_ENTRY + MSIX_CONTROL, masked ? MSIX_MASKED : 0);
}

bool msix_pending(const struct msix *m, unsigned entry)
{
	return read32(m->pending + entry / 32 * 4) & 1u << entry % 32;
}

void msix_enable(const struct msix *m, bool on)
{
	pci_write(m->fn, m->cap + 2, 2, on ? MSIX_ENABLE : 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "acpi_cpus.h"
#include "acpi_hotplug.h"
#include "acpi_numa.h"
#include "aml.h"
#include "bits.h"
#include "platform.h"

enum {
	ACPI_RSDP_BYTES = 36,
	ACPI_RSDP_V1_BYTES = 20,
	ACPI_HEADER_BYTES = 36,
	ACPI_HEADER_LENGTH = 4, /* offsets in the header */
	ACPI_HEADER_CHECKSUM = 9,
	ACPI_FADT_BYTES = 276,
	ACPI_MADT_PCAT_COMPAT = 1,
	ACPI_NOTIFY_BUTTON = 0x80,
	ACPI_CMOS_CENTURY = 0x32,
};

/* FADT flags: ACPI 6.4, table 5.10 */
enum {
	ACPI_WBINVD = 1 << 0,
	ACPI_PWR_BUTTON = 1 << 4, /* the buttons are devices, not fixed hardware */
	ACPI_SLP_BUTTON = 1 << 5,
	ACPI_RESET_REG_SUP = 1 << 10,
	ACPI_HW_REDUCED = 1 << 20,
};

/*
 * FADT boot architecture flags: ACPI 6.4, table 5.11.  The keyboard controller is there to be
 * reset through, which guests do without asking; not announcing it spares them probing for a
 * keyboard.
 */
enum { ACPI_NO_VGA = 1 << 2, ACPI_NO_ASPM = 1 << 4 };

struct acpi_tables {
	struct aml a;
	gpa_t base;
};

static uint8_t acpi_checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return -sum;
}

static void acpi_bytes(struct aml *a, const char *text, size_t len)
{
	while (len--)
		aml_byte(a, *text++);
}

/* Begins a table; the offset returned is for acpi_close_table(). */
static size_t acpi_open_table(struct aml *a, const char *signature, uint8_t revision)
{
	size_t opened;

	while (a->len % 16)
		aml_byte(a, 0);
	opened = a->len;
	acpi_bytes(a, signature, 4);
	aml_le(a, 0, 4); /* length and checksum: see acpi_close_table() */
	aml_byte(a, revision);
	aml_byte(a, 0);
	acpi_bytes(a, "GODWITGODWIT  ", 14); /* OEM and table */
	aml_le(a, 1, 4);
	acpi_bytes(a, "GDWT", 4); /* creator */
	aml_le(a, 1, 4);
	return opened;
}

/* Returns the address of the table. */
static gpa_t acpi_close_table(struct acpi_tables *t, size_t opened)
{
	uint8_t *table = t->a.data + opened;

	if (t->a.overflow)
		return 0;
	put_le(table + ACPI_HEADER_LENGTH, 4, t->a.len - opened);
	table[ACPI_HEADER_CHECKSUM] = acpi_checksum(table, t->a.len - opened);
	return t->base + opened;
}

static void acpi_pci_bridge(struct aml *a, const struct acpi_machine *m)
{
	size_t device = aml_open_device(a, "PCI0", "PNP0A08", 0), crs;

	aml_name_eisa(a, "_CID", "PNP0A03");
	aml_name_integer(a, "_SEG", 0);
	aml_name_integer(a, "_BBN", 0);
	crs = aml_open_resources(a);
	aml_window(a, AML_WINDOW_BUS, 2, 0, 1);
	aml_io(a, PLATFORM_PCI_CONFIG, 8);
	aml_window(a, AML_WINDOW_IO, 2, 0, PLATFORM_PCI_CONFIG);
	aml_window(a, AML_WINDOW_IO, 2, PLATFORM_PCI_CONFIG + 8,
		   0x10000 - (PLATFORM_PCI_CONFIG + 8));
	aml_window(a, AML_WINDOW_MEMORY, 4, PLATFORM_PCI_BAR_BASE,
		   PLATFORM_PCI_BAR_END - PLATFORM_PCI_BAR_BASE);
	if (m->high_mmio_bytes)
		aml_window(a, AML_WINDOW_MEMORY, 8, m->high_mmio_base, m->high_mmio_bytes);
	aml_close_resources(a, crs);
	acpi_hotplug_slots(a);
	aml_close(a, device);
}

/* What no driver of another device reserves: ECAM, as PCI firmware 3.2, 4.1.2 wants, and ours. */
static void acpi_motherboard(struct aml *a, const struct acpi_machine *m)
{
	size_t device = aml_open_device(a, "MBRD", "PNP0C02", 0);
	size_t crs = aml_open_resources(a);

	aml_memory32(a, PLATFORM_ECAM_BASE, PLATFORM_ECAM_BYTES);
	aml_io(a, PLATFORM_ACPI_SLEEP_CONTROL,
	       PLATFORM_PCI_HOTPLUG + PLATFORM_PCI_HOTPLUG_BYTES - PLATFORM_ACPI_SLEEP_CONTROL);
	if (m->present)
		aml_io(a, PLATFORM_CPU_HOTPLUG, PLATFORM_CPU_HOTPLUG_BYTES);
	aml_close_resources(a, crs);
	aml_close(a, device);
}

/* A device of the PC at ports and with an interrupt of its own. */
static void acpi_isa_device(struct aml *a, const char *name, const char *hid, uint16_t port,
			    uint8_t ports, uint32_t gsi)
{
	size_t device = aml_open_device(a, name, hid, 0);
	size_t crs = aml_open_resources(a);

	aml_io(a, port, ports);
	if (gsi)
		aml_interrupt(a, AML_EDGE, gsi);
	aml_close_resources(a, crs);
	aml_close(a, device);
}

/*
 * The event register keeps its interrupt up until it is read: level triggered, so that an
 * event from before the guest listened is not lost, and the next ones with it.
 */
static void acpi_event_device(struct aml *a, const struct acpi_machine *m)
{
	size_t device = aml_open_device(a, "GED_", "ACPI0013", 0), element, inner;

	element = aml_open_resources(a);
	aml_interrupt(a, AML_LEVEL, PLATFORM_IRQ_ACPI);
	aml_close_resources(a, element);

	aml_op_region(a, "EVTR", ACPI_SYSTEM_IO, PLATFORM_ACPI_EVENT, 1);
	element = aml_open(a, AML_FIELD);
	aml_path(a, "EVTR");
	aml_byte(a, 1); /* byte accesses, no lock */
	aml_path(a, "EVTS");
	aml_byte(a, 8); /* bits */
	aml_close(a, element);

	element = aml_open_method(a, "_EVT", 1 | 1 << 3); /* one argument, serialized */
	aml_op(a, AML_STORE);
	aml_path(a, "EVTS");
	aml_op(a, AML_LOCAL0);
	inner = aml_open_if_bit(a, AML_LOCAL0, PLATFORM_ACPI_EVENT_BUTTON);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "PWRB");
	aml_integer(a, ACPI_NOTIFY_BUTTON);
	aml_close(a, inner);
	inner = aml_open_if_bit(a, AML_LOCAL0, PLATFORM_ACPI_EVENT_PCI);
	acpi_hotplug_event(a);
	aml_close(a, inner);
	if (m->present)
		acpi_cpus_event(a, m);
	aml_close(a, element);
	aml_close(a, device);
}

static gpa_t acpi_dsdt(struct acpi_tables *t, const struct acpi_machine *m)
{
	struct aml *a = &t->a;
	size_t table = acpi_open_table(a, "DSDT", 2), scope;

	aml_op(a, AML_NAME);
	aml_path(a, "\\_S5_");
	scope = aml_open(a, AML_PACKAGE);
	aml_byte(a, 4); /* elements, of which only the first concerns this hardware */
	aml_integer(a, PLATFORM_ACPI_S5);
	for (unsigned i = 1; i < 4; i++)
		aml_integer(a, 0);
	aml_close(a, scope);

	scope = aml_open(a, AML_SCOPE);
	aml_path(a, "\\_SB_");
	acpi_cpus(a, m);
	acpi_pci_bridge(a, m);
	acpi_motherboard(a, m);
	if (m->serial)
		acpi_isa_device(a, "COM1", "PNP0501", PLATFORM_COM1, 8, PLATFORM_IRQ_COM1);
	acpi_isa_device(a, "RTC_", "PNP0B00", PLATFORM_CMOS, 2, PLATFORM_IRQ_RTC);
	if (m->pvpanic)
		acpi_isa_device(a, "PANC", "QEMU0001", PLATFORM_PVPANIC, 1, 0);
	aml_close(a, aml_open_device(a, "PWRB", "PNP0C0C", 0));
	acpi_event_device(a, m);
	aml_close(a, scope);
	return acpi_close_table(t, table);
}

/* Generic address structure, ACPI 6.4, 5.2.3.2: one byte wide port. */
static void acpi_put_port(uint8_t *gas, uint16_t port)
{
	gas[0] = ACPI_SYSTEM_IO;
	gas[1] = 8; /* bits */
	gas[3] = 1; /* byte accesses */
	put_le(gas + 4, 8, port);
}

static gpa_t acpi_fadt(struct acpi_tables *t, gpa_t dsdt)
{
	size_t table = acpi_open_table(&t->a, "FACP", 6);
	uint8_t *p = t->a.data + table;

	for (unsigned i = ACPI_HEADER_BYTES; i < ACPI_FADT_BYTES; i++)
		aml_byte(&t->a, 0);
	if (t->a.overflow)
		return 0;
	/* Offsets of ACPI 6.4, table 5.9 */
	put_le(p + 40, 4, dsdt);
	put_le(p + 46, 2, PLATFORM_IRQ_ACPI);
	p[108] = ACPI_CMOS_CENTURY;
	put_le(p + 109, 2, ACPI_NO_VGA | ACPI_NO_ASPM);
	put_le(p + 112, 4,
	       ACPI_WBINVD | ACPI_PWR_BUTTON | ACPI_SLP_BUTTON | ACPI_RESET_REG_SUP |
		       ACPI_HW_REDUCED);
	acpi_put_port(p + 116, PLATFORM_ACPI_RESET);
	p[128] = PLATFORM_ACPI_RESET_VALUE;
	p[131] = 4; /* minor version */
	put_le(p + 140, 8, dsdt);
	acpi_put_port(p + 244, PLATFORM_ACPI_SLEEP_CONTROL);
	acpi_put_port(p + 256, PLATFORM_ACPI_SLEEP_STATUS);
	return acpi_close_table(t, table);
}

static void acpi_madt_override(struct aml *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	aml_byte(a, 2); /* interrupt source override */
	aml_byte(a, 10);
	aml_byte(a, 0); /* ISA */
	aml_byte(a, irq);
	aml_le(a, gsi, 4);
	aml_le(a, flags, 2);
}

static gpa_t acpi_madt(struct acpi_tables *t, const struct acpi_machine *m)
{
	struct aml *a = &t->a;
	size_t table = acpi_open_table(a, "APIC", 5);

	aml_le(a, PLATFORM_LAPIC_BASE, 4);
	aml_le(a, ACPI_MADT_PCAT_COMPAT, 4);
	acpi_cpus_madt(a, m);
	aml_byte(a, 1); /* I/O APIC */
	aml_byte(a, 12);
	aml_le(a, 0, 2); /* id */
	aml_le(a, PLATFORM_IOAPIC_BASE, 4);
	aml_le(a, 0, 4); /* first GSI */
	/* The timer is on pin 2, as on every PC; the event device is active high, level. */
	acpi_madt_override(a, 0, 2, 0);
	acpi_madt_override(a, PLATFORM_IRQ_ACPI, PLATFORM_IRQ_ACPI, 1 | 3 << 2);
	return acpi_close_table(t, table);
}

static gpa_t acpi_mcfg(struct acpi_tables *t)
{
	struct aml *a = &t->a;
	size_t table = acpi_open_table(a, "MCFG", 1);

	aml_le(a, 0, 8);
	aml_le(a, PLATFORM_ECAM_BASE, 8);
	aml_le(a, 0, 2); /* segment */
	aml_byte(a, 0); /* first and last bus */
	aml_byte(a, PLATFORM_ECAM_BYTES / MIB - 1);
	aml_le(a, 0, 4);
	return acpi_close_table(t, table);
}

static gpa_t acpi_table(struct acpi_tables *t, const struct acpi_machine *m, const char *signature,
			uint8_t revision, void (*fill)(struct aml *, const struct acpi_machine *))
{
	size_t table = acpi_open_table(&t->a, signature, revision);

	fill(&t->a, m);
	return acpi_close_table(t, table);
}

/* ACPI 6.4, 5.2.5.3 */
static void acpi_put_rsdp(uint8_t *p, gpa_t xsdt)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "GODWIT", 6);
	p[15] = 2; /* revision */
	put_le(p + 20, 4, ACPI_RSDP_BYTES);
	put_le(p + 24, 8, xsdt);
	p[8] = acpi_checksum(p, ACPI_RSDP_V1_BYTES);
	p[32] = acpi_checksum(p, ACPI_RSDP_BYTES);
}

int acpi_build(const struct acpi_machine *m, gpa_t base, uint8_t **tables, size_t *len,
	       struct err *e)
{
	struct acpi_tables t = { .a.capacity = PLATFORM_ACPI_BYTES, .base = base };
	gpa_t listed[5], dsdt;
	size_t table, n = 3;

	t.a.data = calloc(1, t.a.capacity);
	if (!t.a.data)
		return err_set(e, -ENOMEM, "out of memory for the ACPI tables");
	t.a.len = ACPI_RSDP_BYTES;
	dsdt = acpi_dsdt(&t, m);
	listed[0] = acpi_fadt(&t, dsdt);
	listed[1] = acpi_madt(&t, m);
	listed[2] = acpi_mcfg(&t);
	if (m->nnodes) {
		listed[n++] = acpi_table(&t, m, "SRAT", 3, acpi_numa_srat);
		listed[n++] = acpi_table(&t, m, "SLIT", 1, acpi_numa_slit);
	}
	table = acpi_open_table(&t.a, "XSDT", 1);
	for (unsigned i = 0; i < n; i++)
		aml_le(&t.a, listed[i], 8);
	acpi_put_rsdp(t.a.data, acpi_close_table(&t, table));
	if (t.a.overflow) {
		free(t.a.data);
		return err_set(e, -ENOSPC, "the ACPI tables of %u vCPUs do not fit; use fewer",
			       m->ncpus);
	}
	*tables = t.a.data;
	*len = t.a.len;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables that describe this machine: RSDP, XSDT, FADT (hardware-reduced), MADT, MCFG
 * and a DSDT, written to guest memory at PLATFORM_ACPI_BASE.  Source: ACPI 6.4.
 */
#ifndef ACPI_H
#define ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "guest_mem.h"

enum { ACPI_SYSTEM_IO = 1 }; /* address space */

struct acpi_range {
	gpa_t base;
	uint64_t bytes;
	uint32_t node;
	bool pluggable; /* there may be memory later */
};

struct acpi_machine {
	unsigned ncpus;
	const uint32_t *apic_id; /* ncpus of them */
	const bool *present; /* so many as well; NULL: all are, for life */
	uint64_t high_mmio_base, high_mmio_bytes; /* 64-bit window for PCI; 0: none */
	bool serial, pvpanic;
	unsigned nnodes, nranges; /* 0: it has no nodes */
	const uint32_t *cpu_node; /* ncpus */
	const struct acpi_range *range;
	const uint8_t *distance; /* nnodes rows of nnodes */
};

/* Build all tables as they will be at base; *tables is malloc'ed and begins with the RSDP. */
int acpi_build(const struct acpi_machine *, gpa_t base, uint8_t **tables, size_t *len,
	       struct err *);

#endif

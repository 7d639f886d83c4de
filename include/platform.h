/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are in the machine that Godwit builds: one map for the devices, the ACPI
 * tables and the loaders.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stdint.h>

/* Memory */
#define PLATFORM_LOW_RAM_END UINT64_C(0xc0000000) /* the PCI hole begins */
#define PLATFORM_PCI_BAR_BASE UINT64_C(0xc0000000) /* 32-bit BAR window */
#define PLATFORM_PCI_BAR_END UINT64_C(0xe0000000)
#define PLATFORM_ECAM_BASE UINT64_C(0xe0000000) /* one bus */
#define PLATFORM_ECAM_BYTES UINT64_C(0x100000)
#define PLATFORM_IOAPIC_BASE UINT64_C(0xfec00000)
#define PLATFORM_LAPIC_BASE UINT64_C(0xfee00000)
#define PLATFORM_KVM_IDENTITY_MAP UINT64_C(0xfffbc000) /* one page, then three of TSS */
#define PLATFORM_KVM_TSS UINT64_C(0xfffbd000)
#define PLATFORM_HIGH_RAM_BASE UINT64_C(0x100000000)

/* Below 1 MiB: loader data in low RAM; ACPI where the guest looks for the RSDP */
#define PLATFORM_GDT UINT64_C(0x500)
#define PLATFORM_START_INFO UINT64_C(0x6000) /* hvm_start_info */
#define PLATFORM_ZERO_PAGE UINT64_C(0x7000)
#define PLATFORM_PAGE_TABLES UINT64_C(0x9000) /* up to 6 pages */
#define PLATFORM_CMDLINE UINT64_C(0x20000)
#define PLATFORM_CMDLINE_BYTES 0x10000
#define PLATFORM_EBDA UINT64_C(0x9fc00)
#define PLATFORM_ACPI_BASE UINT64_C(0xe0000) /* RSDP first; reserved in the memory map */
#define PLATFORM_ACPI_BYTES 0x1fff0
#define PLATFORM_RESET_VECTOR UINT64_C(0xffff0) /* of real mode; 16 bytes */
#define PLATFORM_KERNEL_MIN UINT64_C(0x100000)

/* Ports */
enum {
	PLATFORM_CMOS = 0x70,
	PLATFORM_I8042 = 0x60, /* data; command and status at 0x64 */
	PLATFORM_COM1 = 0x3f8,
	PLATFORM_PVPANIC = 0x505,
	PLATFORM_ACPI_SLEEP_CONTROL = 0x600, /* ACPI 6.4, 4.8.3.7 */
	PLATFORM_ACPI_SLEEP_STATUS = 0x601,
	PLATFORM_ACPI_RESET = 0x604, /* write 1 */
	PLATFORM_ACPI_EVENT = 0x608, /* generic event device: bits of what happened; read clears */
	PLATFORM_PCI_HOTPLUG = 0x610,
	PLATFORM_CPU_HOTPLUG = 0x620, /* of a VM that may be given more vCPUs */
	PLATFORM_PCI_CONFIG = 0xcf8, /* address; reset control at 0xcf9; data at 0xcfc */
};

enum { PLATFORM_ACPI_S5 = 5, PLATFORM_ACPI_RESET_VALUE = 1 };

/* Generic event device: bits of PLATFORM_ACPI_EVENT */
enum {
	PLATFORM_ACPI_EVENT_BUTTON = 1 << 0,
	PLATFORM_ACPI_EVENT_PCI = 1 << 1, /* a PCI slot: see PLATFORM_PCI_HOTPLUG */
	PLATFORM_ACPI_EVENT_CPU = 1 << 2, /* a vCPU: see PLATFORM_CPU_HOTPLUG */
	PLATFORM_ACPI_EVENTS = PLATFORM_ACPI_EVENT_BUTTON | PLATFORM_ACPI_EVENT_PCI |
			       PLATFORM_ACPI_EVENT_CPU,
};

/* Registers of PCI hotplug: dwords with a bit for each slot, at these offsets */
enum {
	PLATFORM_PCI_HOTPLUG_INSERTED = 0, /* there is something new; read clears */
	PLATFORM_PCI_HOTPLUG_WANTED = 4, /* the guest is asked to give it up; read clears */
	PLATFORM_PCI_HOTPLUG_EJECT = 8, /* write: the guest gives it up; reads 0 */
	PLATFORM_PCI_HOTPLUG_BYTES = 12,
};

/* Registers of CPU hotplug: of each kind eight dwords with a bit for each vCPU, at these offsets */
enum {
	PLATFORM_CPU_HOTPLUG_DWORDS = 8,
	PLATFORM_CPU_HOTPLUG_PRESENT = 0, /* it is there */
	PLATFORM_CPU_HOTPLUG_INSERTED = 32, /* it is new; read clears */
	PLATFORM_CPU_HOTPLUG_WANTED = 64, /* the guest is asked to give it up; read clears */
	PLATFORM_CPU_HOTPLUG_EJECT = 96, /* write: the guest gives it up; reads 0 */
	/* One dword: the guest's _OST; reads 0 */
	PLATFORM_CPU_HOTPLUG_OST = 128,
	PLATFORM_CPU_HOTPLUG_BYTES = 132,
	/* Of which bits 0 to 7 are the status; above are the event and the vCPU */
	PLATFORM_CPU_HOTPLUG_OST_EVENT = 8,
	PLATFORM_CPU_HOTPLUG_OST_CPU = 16,
};

/* GSIs */
enum { PLATFORM_IRQ_COM1 = 4, PLATFORM_IRQ_RTC = 8, PLATFORM_IRQ_ACPI = 9, PLATFORM_IRQ_I8042 = 1 };

#endif

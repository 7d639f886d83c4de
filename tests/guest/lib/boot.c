/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor says about the machine, and the ways to end it. */
#include "guest.h"

struct boot_info boot;
extern uint32_t guest_start_info;

void boot_read(void)
{
	const struct start_info *info = (const struct start_info *)(uintptr_t)guest_start_info;
	const struct memmap_entry *map;
	const char *s;

	CHECK(info->magic == START_INFO_MAGIC);
	CHECK(info->version >= 1 && info->memmap_entries); /* version 0 has no memory map */
	boot.rsdp = info->rsdp;
	map = (const struct memmap_entry *)info->memmap;
	for (; boot.nmemmap < info->memmap_entries; boot.nmemmap++) {
		CHECK(boot.nmemmap < MEMMAP_MAX);
		boot.memmap[boot.nmemmap] = map[boot.nmemmap];
	}
	s = (const char *)info->cmdline;
	for (size_t i = 0; s && s[i] && i < CMDLINE_MAX - 1; i++)
		boot.cmdline[i] = s[i];
}

/* The first place behind NAME where it begins a word, or NULL */
static const char *cmdline_find(const char *name)
{
	size_t n = strlen(name);

	for (const char *s = boot.cmdline; *s; s++)
		if ((s == boot.cmdline || s[-1] == ' ') && !memcmp(s, name, n))
			return s + n;
	return NULL;
}

bool cmdline_has(const char *word)
{
	const char *s = cmdline_find(word);

	return s && (!*s || *s == ' ');
}

uint64_t cmdline_number(const char *name, uint64_t otherwise)
{
	const char *s = cmdline_find(name);
	uint64_t v = 0;

	if (!s || *s != '=')
		return otherwise;
	for (s++; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return *s == 'G' ? v << 30 : *s == 'M' ? v << 20 : *s == 'K' ? v << 10 : v;
}

/* ACPI 6.4, 5.2.5; the search is for firmware that does not pass the pointer on. */
static uint64_t rsdp_find(void)
{
	if (boot.rsdp)
		return boot.rsdp;
	for (uint64_t a = 0xe0000; a < 0x100000; a += 16)
		if (!memcmp((const void *)a, "RSD PTR ", 8))
			return a;
	return 0;
}

static bool acpi_sum_ok(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return !sum;
}

const void *acpi_find(const char *signature)
{
	uint64_t rsdp = rsdp_find(), root;
	unsigned width;

	if (!rsdp)
		return NULL;
	CHECK(acpi_sum_ok((const void *)rsdp, 20));
	width = read8(rsdp + 15) >= 2 && read64(rsdp + 24) ? 8 : 4; /* XSDT or RSDT */
	root = width == 8 ? read64(rsdp + 24) : read32(rsdp + 16);
	CHECK(acpi_sum_ok((const void *)root, read32(root + 4)));
	for (uint64_t a = root + 36; a < root + read32(root + 4); a += width) {
		uint64_t table = width == 8 ? read64(a) : read32(a);

		if (!memcmp((const void *)table, signature, 4)) {
			CHECK(acpi_sum_ok((const void *)table, read32(table + 4)));
			return (const void *)table;
		}
	}
	return NULL;
}

/* No IDT and an exception: three faults in a row reset any PC. */
static uint64_t triple_fault(uint64_t a, uint64_t b)
{
	static const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none;

	(void)a, (void)b;
	__asm__ volatile("lidt %0; ud2" ::"m"(none));
	return 0;
}

void power_fault(void)
{
	cpu_ring0(triple_fault, 0, 0);
	cpu_halt();
}

/*
 * The code is for QEMU's isa-debug-exit only: exit status (code << 1) | 1. Without that device,
 * run QEMU with -no-reboot: the last resort is a triple fault.
 */
void power_off(unsigned code)
{
	outb(PORT_SLEEP, SLEEP_S5);
	outb(PORT_DEBUG_EXIT, (uint8_t)code);
	outw(PORT_Q35_PM1_CONTROL, Q35_S5);
	power_fault();
}

void power_reset(void)
{
	outb(PORT_RESET, RESET_VALUE);
	outb(PORT_RESET_PC, RESET_PC_VALUE);
	power_fault();
}

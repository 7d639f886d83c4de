/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test guest stands on: a PVH image in ring 3, with all ports allowed and the first 4 GiB
 * mapped one to one (map() adds more), so that nearly everything, page tables and IDT included, is
 * done at native speed.  Privileged instructions go through cpu_ring0().
 *
 * A program supplies guest_main(), which returns after success; guest_fail() reports and ends the
 * machine.  Either way the last line on the serial port is "NAME: ok" or "NAME: FAIL ...".
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "layout.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* Where a machine without firmware is switched off and by whom; QEMU's isa-debug-exit device, see
 * power_off */
enum {
	PORT_SLEEP = 0x600, /* ACPI 6.4, 4.8.3.7: sleep control register */
	SLEEP_S5 = 5 << 2 | 1 << 5, /* SLP_TYP, SLP_EN */
	PORT_ACPI_EVENT = 0x608, /* bits of what happened; read clears */
	ACPI_EVENT_BUTTON = 1 << 0,
	PORT_RESET = 0x604,
	RESET_VALUE = 1,
	PORT_RESET_PC = 0xcf9,
	RESET_PC_VALUE = 0x06,
	PORT_DEBUG_EXIT = 0xf4,
	PORT_Q35_PM1_CONTROL = 0x604, /* where SeaBIOS puts PM1a_CNT of QEMU's q35 */
	Q35_S5 = 1 << 13,
};

/* hvm_start_info version 1 and its memory map (Xen's public/arch-x86/hvm/start_info.h) */
enum { START_INFO_MAGIC = 0x336ec578, MEMMAP_RAM = 1, MEMMAP_MAX = 32, CMDLINE_MAX = 1024 };

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct memmap_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

/* Copies, so that a program may write to all of its RAM */
struct boot_info {
	uint64_t rsdp;
	unsigned nmemmap;
	struct memmap_entry memmap[MEMMAP_MAX];
	char cmdline[CMDLINE_MAX];
};

extern struct boot_info boot;
extern char guest_end[]; /* end of the image, from the linker script */
extern const char guest_name[]; /* defined by each program */
void guest_main(void);

/* boot.c */
void boot_read(void);
bool cmdline_has(const char *word);
uint64_t cmdline_number(const char *name, uint64_t otherwise); /* NAME=123, K/M/G allowed */
const void *acpi_find(const char *signature); /* a table, or NULL */
_Noreturn void power_off(unsigned code);
_Noreturn void power_reset(void);
_Noreturn void power_fault(void); /* a triple fault, which resets as well */

/* print.c */
void serial_init(void);
void serial_put(char c);
int serial_get(void); /* -1: nothing there */
void serial_flush(void); /* until the last byte has left the shift register */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void guest_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			guest_fail("%s:%d: %s", __FILE_NAME__, __LINE__, #condition);              \
	} while (0)

/* string.c: also for the compiler's own use */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

/* cpu.c */
uint64_t cpu_ring0(uint64_t (*fn)(uint64_t, uint64_t), uint64_t a, uint64_t b);
uint64_t cpu_rdmsr(uint32_t msr);
void cpu_wrmsr(uint32_t msr, uint64_t value);
void cpu_init(void);
void cpu_irqs_on(void);
void cpu_irqs_off(void);
void cpu_wait_irq(void); /* halts until one came; interrupts must be off before */
_Noreturn void cpu_halt(void);
uint32_t cpu_apic_id(void);
bool cpu_start(unsigned index, uint32_t apic_id, void (*fn)(unsigned index));
uint64_t tsc_hz(void); /* measured by the PIT or the local APIC at first */
void delay_us(uint64_t us);
void map(uint64_t base, uint64_t size);
void ioapic_route(unsigned pin, uint8_t vector); /* edge, to the first processor */
void ioapic_mask(unsigned pin);

enum {
	MSR_X2APIC_ID = 0x802,
	MSR_X2APIC_ICR = 0x830,
	MSR_X2APIC_LVT_TIMER = 0x832,
	MSR_X2APIC_INITIAL_COUNT = 0x838,
	MSR_X2APIC_CURRENT_COUNT = 0x839,
	MSR_X2APIC_DIVIDE = 0x83e,
	LVT_MASKED = 1 << 16,
	LVT_PERIODIC = 1 << 17,
};

extern volatile uint32_t guest_irq_count[256]; /* by vector, see start.S */

#define barrier() __asm__ volatile("" ::: "memory")

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

/* Plain moves of one width: what a compiler might do instead is not for devices. */
static inline uint8_t read8(uint64_t a)
{
	uint8_t v;

	__asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(a) : "memory");
	return v;
}

static inline uint16_t read16(uint64_t a)
{
	uint16_t v;

	__asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(a) : "memory");
	return v;
}

static inline uint32_t read32(uint64_t a)
{
	uint32_t v;

	__asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory");
	return v;
}

static inline uint64_t read64(uint64_t a)
{
	uint64_t v;

	__asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory");
	return v;
}

static inline void write8(uint64_t a, uint8_t v)
{
	__asm__ volatile("movb %0, (%1)" ::"q"(v), "r"(a) : "memory");
}

static inline void write16(uint64_t a, uint16_t v)
{
	__asm__ volatile("movw %0, (%1)" ::"r"(v), "r"(a) : "memory");
}

static inline void write32(uint64_t a, uint32_t v)
{
	__asm__ volatile("movl %0, (%1)" ::"r"(v), "r"(a) : "memory");
}

static inline void write64(uint64_t a, uint64_t v)
{
	__asm__ volatile("movq %0, (%1)" ::"r"(v), "r"(a) : "memory");
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Processors: IDT, local APIC (always in x2APIC mode), secondary processors, time, page tables. */
#include "guest.h"

extern const char guest_irq_stubs[], guest_fault_stubs[], guest_stub_invalid[], guest_spurious[];
extern const char guest_ap_start[], guest_ap_start_end[];
extern uint32_t guest_ap_index;
extern uint64_t guest_fault_rip, guest_pdpt[512];
extern uint8_t guest_tasks[];

uint64_t guest_irqs_on(uint64_t, uint64_t);
uint64_t guest_irqs_off(uint64_t, uint64_t);
uint64_t guest_wait_irq(uint64_t, uint64_t);
uint64_t guest_halt(uint64_t, uint64_t);
uint64_t guest_rdmsr(uint64_t, uint64_t);
uint64_t guest_wrmsr(uint64_t, uint64_t);
void guest_c_entry(unsigned index);
void guest_c_fault(uint64_t vector, uint64_t error, uint64_t address);

/* Intel SDM volume 3, 6.14.1 */
struct gate {
	uint16_t offset_low, selector;
	uint8_t stack, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};
extern struct gate guest_idt[256];

enum {
	GATE_INTERRUPT = 0x8e,
	ICR_INIT = 5 << 8,
	ICR_STARTUP = 6 << 8,
	ICR_ASSERT = 1 << 14,
	PTE_PRESENT = 1 << 0,
	PTE_TABLE = 0x07,
	PTE_LARGE = 0x87,
	TABLES = 16,
	PORT_PIC1_MASK = 0x21,
	PORT_PIC2_MASK = 0xa1,
	IOAPIC = 0xfec00000,
	IOAPIC_DATA = 0x10,
	IOAPIC_REDIRECT = 0x10,
};

static void (*volatile ap_main)(unsigned index);
static volatile unsigned ap_running;

uint64_t cpu_rdmsr(uint32_t msr)
{
	return cpu_ring0(guest_rdmsr, msr, 0);
}

void cpu_wrmsr(uint32_t msr, uint64_t value)
{
	cpu_ring0(guest_wrmsr, msr, value);
}

void cpu_irqs_on(void)
{
	cpu_ring0(guest_irqs_on, 0, 0);
}

void cpu_irqs_off(void)
{
	cpu_ring0(guest_irqs_off, 0, 0);
}

void cpu_wait_irq(void)
{
	cpu_ring0(guest_wait_irq, 0, 0);
}

void cpu_halt(void)
{
	for (;;)
		cpu_ring0(guest_halt, 0, 0);
}

uint32_t cpu_apic_id(void)
{
	return (uint32_t)cpu_rdmsr(MSR_X2APIC_ID);
}

static void gate_set(unsigned vector, const char *stub)
{
	uint64_t a = (uint64_t)stub;

	guest_idt[vector] = (struct gate){
		.offset_low = (uint16_t)a,
		.offset_mid = (uint16_t)(a >> 16),
		.offset_high = (uint32_t)(a >> 32),
		.selector = SEL_KCODE,
		.type = GATE_INTERRUPT,
	};
}

void cpu_init(void)
{
	for (unsigned i = 0; i < 32; i++)
		gate_set(i, guest_fault_stubs + i * STUB_BYTES);
	for (unsigned i = 0; i < NVECTORS_IRQ; i++)
		gate_set(VECTOR_IRQ + i, guest_irq_stubs + i * STUB_BYTES);
	gate_set(VECTOR_INVALID, guest_stub_invalid);
	gate_set(VECTOR_SPURIOUS, guest_spurious);
	guest_tasks[TASKS_IOMAP + IOMAP_BYTES] = 0xff;
	outb(PORT_PIC1_MASK, 0xff); /* firmware may have left the timer on */
	outb(PORT_PIC2_MASK, 0xff);
}

void guest_c_entry(unsigned index)
{
	if (index) {
		void (*fn)(unsigned) = ap_main;

		ap_running = index;
		fn(index);
		cpu_halt();
	}
	cpu_init();
	serial_init();
	boot_read();
	guest_main();
	print("%s: ok\n", guest_name);
	serial_flush();
	power_off(0);
}

void guest_c_fault(uint64_t vector, uint64_t error, uint64_t address)
{
	guest_fail("exception %lu, error 0x%lx, rip 0x%lx, cr2 0x%lx", vector, error,
		   guest_fault_rip, address);
}

/* Intel SDM volume 3, 8.4.4.1 without its waits: there is no wire here. */
bool cpu_start(unsigned index, uint32_t apic_id, void (*fn)(unsigned index))
{
	uint64_t to = (uint64_t)apic_id << 32;

	CHECK(index && index < MAX_CPUS);
	memcpy((void *)AP_PAGE, guest_ap_start, (size_t)(guest_ap_start_end - guest_ap_start));
	guest_ap_index = index;
	ap_main = fn;
	ap_running = 0;
	cpu_wrmsr(MSR_X2APIC_ICR, to | ICR_INIT | ICR_ASSERT);
	cpu_wrmsr(MSR_X2APIC_ICR, to | ICR_STARTUP | ICR_ASSERT | AP_PAGE >> 12);
	for (unsigned i = 0; i < 1000 && ap_running != index; i++)
		delay_us(1000);
	return ap_running == index;
}

/* Without a PIT: KVM's local APIC timer counts nanoseconds. */
static uint64_t tsc_measure_by_apic(void)
{
	enum { DIVIDE_BY_1 = 0xb, NS = 2000000 };
	uint64_t begin, left;

	cpu_wrmsr(MSR_X2APIC_DIVIDE, DIVIDE_BY_1);
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, LVT_MASKED | VECTOR_SPURIOUS);
	begin = rdtsc();
	cpu_wrmsr(MSR_X2APIC_INITIAL_COUNT, 2 * NS);
	do
		left = cpu_rdmsr(MSR_X2APIC_CURRENT_COUNT);
	while (left > NS);
	return (rdtsc() - begin) * 1000000000 / (2 * NS - left);
}

/* Intel 8254: channel 2 in mode 0 counts down once; its output is bit 5 of port 0x61. */
static uint64_t tsc_measure(void)
{
	enum { PIT_HZ = 1193182, TICKS = PIT_HZ / 500, PIT_OUT = 1 << 5 };
	uint64_t begin;

	outb(0x61, (inb(0x61) & ~2) | 1); /* gate on, speaker off */
	outb(0x43, 0xb0); /* channel 2, low then high byte, mode 0, binary */
	outb(0x42, TICKS & 0xff);
	begin = rdtsc();
	outb(0x42, TICKS >> 8);
	if (inb(0x61) & PIT_OUT)
		return tsc_measure_by_apic();
	while (!(inb(0x61) & PIT_OUT))
		cpu_relax();
	return (rdtsc() - begin) * PIT_HZ / TICKS;
}

/* Being interrupted by the host makes a measurement longer, never shorter: the least is right. */
uint64_t tsc_hz(void)
{
	static uint64_t hz;

	if (hz)
		return hz;
	for (unsigned i = 0; i < 12; i++) {
		uint64_t now = tsc_measure();

		if (!i || now < hz)
			hz = now;
	}
	return hz;
}

void delay_us(uint64_t us)
{
	uint64_t end = rdtsc() + us * tsc_hz() / 1000000;

	while ((int64_t)(end - rdtsc()) > 0)
		cpu_relax();
}

/*
 * Map a range beyond 4 GiB one to one.  A table is filled before it is linked: once the processor
 * has seen it, a store may be intercepted.
 */
void map(uint64_t base, uint64_t size)
{
	static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
	static unsigned used;

	for (uint64_t gib = base >> 30; size && gib <= (base + size - 1) >> 30; gib++) {
		CHECK(gib < 512);
		if (guest_pdpt[gib] & PTE_PRESENT)
			continue;
		CHECK(used < TABLES);
		for (uint64_t i = 0; i < 512; i++)
			tables[used][i] = gib << 30 | i << 21 | PTE_LARGE;
		barrier();
		guest_pdpt[gib] = (uint64_t)tables[used++] | PTE_TABLE;
	}
}

/* Intel 82093AA, 3.2.4: high half first, the low half unmasks */
void ioapic_route(unsigned pin, uint8_t vector)
{
	write32(IOAPIC, IOAPIC_REDIRECT + 2 * pin + 1);
	write32(IOAPIC + IOAPIC_DATA, cpu_apic_id() << 24);
	write32(IOAPIC, IOAPIC_REDIRECT + 2 * pin);
	write32(IOAPIC + IOAPIC_DATA, vector);
}

void ioapic_mask(unsigned pin)
{
	write32(IOAPIC, IOAPIC_REDIRECT + 2 * pin);
	write32(IOAPIC + IOAPIC_DATA, LVT_MASKED);
}

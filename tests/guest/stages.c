/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For save and restore. Each stage brings one more part of the machine into a known state and
 * gives the parts before it a new one, prints "stage N NAME" and waits for the byte 'c'. The
 * harness saves and restores in between; then everything must be as it was. The serial port and
 * the registers are part of every stage. The first line, "stages N", says how many there will be.
 *
 * The first processor waits in one of three ways by turns: spinning in ring 3 with interrupts off,
 * spinning with a known value in every register (so do the others, always), halted. The first ends
 * after "hold=MS" (default 500) so that what it holds need not survive being looked at; a save
 * that comes later is fine, but proves less.
 *
 * Command line: hold=MS, cpus=N, mib=N (memory rewritten, default 16), rounds=N (stages with all
 * parts, default 6), and the absent: noirq4, nocmos, nopci, norng, noblk (which is written to),
 * nokvmclock.
 */
#include "stages.h"

enum {
	PAGE = 4096,
	WORDS = 8,
	WORD_STEP = 512,
	TAIL_PAGES = 16,
	EXTRA_MAX = MEMMAP_MAX * TAIL_PAGES,
	EVERY = 3, /* a page is rewritten in every third generation ... */
	ZERO_EVERY = 7, /* ... and becomes zero now and then */
};

const char guest_name[] = "stages";

/* In order of appearance; the last because the others use its ports */
static const struct item *items[] = {
	&memory_item, &cmos_item,     &chips_item, &msr_item, &debug_item, &apic_item,
	&clock_item,  &kvmclock_item, &rng_item,   &blk_item, &pci_item,
};

static struct {
	uint64_t base, pages; /* a block that is rewritten, page by page */
	uint64_t extra[EXTRA_MAX]; /* and the last pages of each region */
	unsigned nextra;
} memory;

uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t v = a * 0x9e3779b97f4a7c15 ^ (b + 1) * 0xd6e8feb86659fd93;

	return v ^ v >> 29;
}

bool irq_wait(unsigned vector, uint32_t count)
{
	for (unsigned i = 0; i < IRQ_MS * 10 && (int32_t)(guest_irq_count[vector] - count) < 0; i++)
		delay_us(100);
	return (int32_t)(guest_irq_count[vector] - count) >= 0;
}

enum hold stage_hold(uint32_t generation)
{
	return cmdline_has("noirq4") ? HOLD_SPIN : generation % NHOLDS;
}

static uint64_t page_at(uint64_t i)
{
	return i < memory.pages ? memory.base + i * PAGE : memory.extra[i - memory.pages];
}

/* The generation in which a page was written last */
static uint32_t page_generation(uint64_t i, uint32_t generation)
{
	uint32_t since = (uint32_t)((generation + EVERY - i % EVERY) % EVERY);

	return generation > since ? generation - since : 1;
}

static bool page_is_zero(uint64_t i, uint32_t generation)
{
	return (i + generation) % ZERO_EVERY == 0;
}

static uint64_t page_word(uint64_t i, uint32_t generation, unsigned word)
{
	return mix(i * WORDS + word, generation);
}

static void memory_find(void)
{
	memory.base = MIB(16);
	memory.pages = cmdline_number("mib", 16) * (MIB(1) / PAGE);
	for (unsigned i = 0; i < boot.nmemmap; i++) {
		uint64_t base = boot.memmap[i].base, end = base + boot.memmap[i].size;

		if (boot.memmap[i].type != MEMMAP_RAM || end <= memory.base)
			continue;
		if (base < memory.base)
			CHECK(end - memory.base >= (memory.pages + TAIL_PAGES) * PAGE);
		if (end > GIB(4))
			map(end - TAIL_PAGES * PAGE, TAIL_PAGES * PAGE);
		for (unsigned n = 1; n <= TAIL_PAGES; n++)
			memory.extra[memory.nextra++] = (end & -(uint64_t)PAGE) - n * PAGE;
	}
	CHECK(memory.nextra);
}

static void memory_build(uint32_t generation)
{
	if (!memory.pages)
		memory_find();
	for (uint64_t i = 0; i < memory.pages + memory.nextra; i++) {
		if (page_generation(i, generation) != generation)
			continue;
		if (page_is_zero(i, generation))
			memset((void *)page_at(i), 0, PAGE);
		else
			for (unsigned w = 0; w < WORDS; w++)
				write64(page_at(i) + w * WORD_STEP, page_word(i, generation, w));
	}
}

static void memory_verify(uint32_t generation)
{
	for (uint64_t i = 0; i < memory.pages + memory.nextra; i++) {
		uint32_t g = page_generation(i, generation);
		uint64_t at = page_at(i);

		if (page_is_zero(i, g)) {
			for (unsigned n = 0; n < PAGE; n += 8)
				if (read64(at + n))
					guest_fail("page 0x%lx: 0x%lx at %u, zero since %u", at,
						   read64(at + n), n, g);
			continue;
		}
		for (unsigned w = 0; w < WORDS; w++)
			if (read64(at + w * WORD_STEP) != page_word(i, g, w))
				guest_fail("page 0x%lx word %u: 0x%lx is not of generation %u", at,
					   w, read64(at + w * WORD_STEP), g);
	}
}

const struct item memory_item = {
	.name = "memory",
	.build = memory_build,
	.verify = memory_verify,
};

static void hold(uint32_t generation)
{
	uint32_t tick = guest_irq_count[VECTOR_TICK];

	switch (stage_hold(generation)) {
	case HOLD_REGISTERS:
		cpu_irqs_on();
		registers_hold();
		break;
	case HOLD_HALT:
		cpu_irqs_off();
		while (!guest_irq_count[VECTOR_GO])
			cpu_wait_irq();
		break;
	default:
		cpu_irqs_off();
		delay_us(cmdline_number("hold", 500) * 1000);
		CHECK(guest_irq_count[VECTOR_TICK] == tick);
	}
}

static void stage(uint32_t generation, const struct item **now, unsigned n)
{
	cpu_irqs_off();
	guest_irq_count[VECTOR_GO] = 0;
	for (unsigned i = 0; i < n; i++)
		now[i]->build(generation);
	registers_build(generation);
	uart_prepare(generation);
	print("stage %u %s\n", generation, now[n - 1]->name);
	uart_arm();
	hold(generation);
	uart_wait_go(generation);
	for (unsigned i = 0; i < n; i++)
		now[i]->verify(generation);
	registers_verify(generation);
}

void guest_main(void)
{
	const struct item *present[ARRAY_SIZE(items)];
	uint32_t rounds = (uint32_t)cmdline_number("rounds", 6);
	unsigned n = 0;

	tsc_hz(); /* it may use the APIC's timer: before we do */
	for (unsigned i = 0; i < ARRAY_SIZE(items); i++)
		if (!items[i]->present || items[i]->present())
			present[n++] = items[i];
	registers_start();
	print("stages %u\n", n + rounds);
	for (uint32_t i = 1; i <= n + rounds; i++)
		stage(i, present, i < n ? i : n);
}

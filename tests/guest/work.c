/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service with a load: each 20 ms it has work for a part of that time, as measured when nothing
 * disturbed, and sleeps when it is done.  Each second it says how that went: "work: load 30 late 2
 * of 50 worst 8700 us", late: not done when the next work came; worst: the longest from when work
 * came to when it was done.  A digit on the serial port is a new load in tens of percent, 'q' the
 * end.
 *
 * Command line: load=N percent at first (default 30), mib=N of memory that is filled at first
 * (default 8), rate=N MiB of it that is written anew each second (default 0).
 */
#include "lib/guest.h"

enum {
	PERIOD_MS = 20,
	PERIODS = 50, /* that are reported together */
	TRIES = 50,
	TRY_LOOPS = 20000,
	PAGE = 4096,
	VECTOR_TIMER = VECTOR_IRQ,
	DIVIDE_BY_1 = 0xb,
	NS_PER_MS = 1000000,
};

const char guest_name[] = "work";

static uint64_t took[PERIODS]; /* ticks of the TSC from when the work came to when it was done */
static unsigned load;
static uint64_t tick, period; /* a microsecond and a period, of the TSC */
static uint64_t loops_per_period;
static struct {
	uint64_t *at;
	uint64_t pages, next, per_period;
} memory;

static void burn(uint64_t loops)
{
	for (uint64_t i = 0; i < loops; i++)
		barrier();
}

/* The fastest of many, as another may have had the processor meanwhile. */
static void measure(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t begin = rdtsc(), ticks;

		burn(TRY_LOOPS);
		ticks = rdtsc() - begin;
		best = ticks < best ? ticks : best;
	}
	loops_per_period = period * TRY_LOOPS / best;
}

static void write_memory(uint64_t pages)
{
	while (memory.pages && pages--) {
		memory.at[memory.next * (PAGE / 8)] = rdtsc();
		memory.at[memory.next * (PAGE / 8) + 1]++;
		memory.next = (memory.next + 1) % memory.pages;
	}
}

static void fill_memory(void)
{
	const uint64_t mib = cmdline_number("mib", 8);

	memory.at = (uint64_t *)MIB(16); /* behind the image */
	memory.pages = MIB(mib) / PAGE;
	memory.per_period = MIB(cmdline_number("rate", 0)) / PAGE * PERIOD_MS / 1000;
	for (uint64_t i = 0; i < MIB(mib) / 8; i++)
		memory.at[i] = i * 0x9e3779b97f4a7c15;
}

static void report(void)
{
	uint64_t worst = 0;
	unsigned late = 0;

	for (unsigned i = 0; i < PERIODS; i++) {
		worst = took[i] > worst ? took[i] : worst;
		late += took[i] > period;
	}
	print("work: load %u late %u of %u worst %lu us\n", load, late, PERIODS, worst / tick);
}

static bool listen(void)
{
	int c = serial_get();

	if (c >= '0' && c <= '9')
		load = (unsigned)(c - '0') * 10;
	return c != 'q';
}

void guest_main(void)
{
	uint64_t due;
	bool more = true;

	load = (unsigned)cmdline_number("load", 30);
	tick = tsc_hz() / 1000000;
	period = tick * 1000 * PERIOD_MS;
	fill_memory();
	measure();
	cpu_irqs_off();
	cpu_wrmsr(MSR_X2APIC_DIVIDE, DIVIDE_BY_1);
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, LVT_PERIODIC | VECTOR_TIMER);
	cpu_wrmsr(MSR_X2APIC_INITIAL_COUNT, PERIOD_MS / 4 * NS_PER_MS);
	print("work: ready\n");
	due = rdtsc();
	while (more) {
		for (unsigned i = 0; i < PERIODS; i++) {
			while ((int64_t)(rdtsc() - due) < 0)
				cpu_wait_irq();
			burn(loops_per_period * load / 100);
			write_memory(memory.per_period);
			took[i] = rdtsc() - due;
			due += period;
		}
		/* What could not be done at all is not done later. */
		if ((int64_t)(rdtsc() - due) > (int64_t)period)
			due = rdtsc();
		report();
		more = listen();
	}
}

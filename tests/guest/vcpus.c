/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that come and go: what the ACPI tables would have a guest do, with the registers read by
 * hand. It says which it uses, "vcpus: 0 2", whenever that has changed. Keys on the serial port:
 * g: be good from now on, as at first; r: refuse to give any up; k: keep vCPU 2; s: take no notice;
 * e: give all up unasked; x: have each that is wanted write so itself, while it runs on;
 * h: be hostile; c: see that all run; b: reboot; q: the end.
 */
#include "lib/guest.h"

enum {
	PORT_PRESENT = 0x620,
	PORT_INSERTED = 0x640,
	PORT_WANTED = 0x660,
	PORT_EJECT = 0x680,
	PORT_OST = 0x6a0,
	PORT_END = 0x6a4,
	ACPI_EVENT_CPU = 1 << 2,
	OST_EJECT = 3 << 8,
	OST_BUSY = 0x82,
	MSR_TSC_ADJUST = 0x3b,
	MADT_ENTRIES = 44,
	STORM = 20000,
	WAIT = 10000, /* of 100 us */
};

const char guest_name[] = "vcpus";

static volatile struct {
	bool leave, left, eject;
	uint32_t beats;
} cpu[MAX_CPUS];
static bool used[MAX_CPUS];

static void cpu_works(unsigned index)
{
	/* As one that is new. */
	CHECK(cpu_rdmsr(MSR_TSC_ADJUST) == 0);
	cpu_wrmsr(MSR_TSC_ADJUST, 1ull << 40);
	while (!cpu[index].leave) {
		cpu[index].beats++;
		if (cpu[index].eject)
			outl(PORT_EJECT, 1u << index);
	}
	cpu[index].left = true;
}

static void say(void)
{
	print("vcpus:");
	for (unsigned i = 0; i < MAX_CPUS; i++)
		if (used[i])
			print(" %u", i);
	print("\n");
}

/* Of those that are not there, or have not been started. */
static uint32_t strange_beats(void)
{
	uint32_t sum = 0;

	for (unsigned i = 1; i < MAX_CPUS; i++)
		sum += used[i] ? 0 : cpu[i].beats;
	return sum;
}

static void use(unsigned i)
{
	uint32_t before = strange_beats();

	if (used[i])
		return;
	delay_us(WAIT);
	CHECK(strange_beats() == before);
	cpu[i].leave = cpu[i].left = cpu[i].eject = false;
	CHECK(cpu_start(i, i, cpu_works));
	used[i] = true;
}

static void give_up(unsigned i, bool by_itself)
{
	if (by_itself) {
		cpu[i].eject = true;
	} else {
		cpu[i].leave = true;
		while (!cpu[i].left)
			cpu_relax();
		outl(PORT_EJECT, 1u << i);
		CHECK(!(inl(PORT_PRESENT) >> i & 1));
	}
	used[i] = false;
}

static void check_all_run(void)
{
	for (unsigned i = 1; i < MAX_CPUS; i++) {
		uint32_t before = cpu[i].beats;

		for (unsigned n = 0; used[i] && n < WAIT && cpu[i].beats == before; n++)
			delay_us(100);
		CHECK((cpu[i].beats != before) == used[i]);
	}
	print("vcpus: all run\n");
}

/* What the MADT says is what the registers say, and what starts. */
static void boot_all(void)
{
	const uint8_t *madt = acpi_find("APIC"), *end = madt + read32((uint64_t)madt + 4);
	uint32_t present = inl(PORT_PRESENT);

	used[0] = true;
	for (const uint8_t *p = madt + MADT_ENTRIES; p < end; p += p[1]) {
		if (p[0] != 0)
			continue;
		CHECK(p[4] == (present >> p[3] & 1 ? 1 : 2));
		if (p[3] && p[4] == 1)
			use(p[3]);
	}
}

static uint64_t random64(void)
{
	static uint64_t seed = 88172645463325252u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void be_hostile(unsigned max)
{
	uint32_t present = inl(PORT_PRESENT);

	for (unsigned i = 0; i < STORM; i++) {
		uint64_t v = random64();
		uint16_t port = (uint16_t)(PORT_PRESENT + (v >> 8) % (PORT_END - PORT_PRESENT));

		if (v & 1)
			outl(port & ~3, (uint32_t)random64());
		else if (v & 2)
			outb(port, (uint8_t)(v >> 40));
		else
			inl(port);
	}
	CHECK(inl(PORT_PRESENT) == present);
	for (unsigned i = 1; i < max; i++)
		if (!(present >> i & 1))
			CHECK(!cpu_start(i, i, cpu_works));
	check_all_run();
}

static void answer(char mode)
{
	uint32_t inserted = inl(PORT_INSERTED), wanted = inl(PORT_WANTED);

	for (unsigned i = 1; i < MAX_CPUS; i++) {
		if (inserted >> i & 1)
			use(i);
		if (!(wanted >> i & 1))
			continue;
		if (mode == 'r' || (mode == 'k' && i == 2))
			outl(PORT_OST, i << 16 | OST_EJECT | OST_BUSY);
		else if (mode != 's')
			give_up(i, mode == 'x');
	}
	if ((inserted || wanted) && mode != 's')
		say();
}

static void eject_all(void)
{
	uint32_t present = inl(PORT_PRESENT);

	outl(PORT_EJECT, ~0u);
	CHECK(inl(PORT_PRESENT) == present);
}

void guest_main(void)
{
	unsigned max = (unsigned)cmdline_number("max", 4);
	char mode = 'g';
	int key;

	boot_all();
	say();
	while ((key = serial_get()) != 'q') {
		if (key == 'h')
			be_hostile(max);
		else if (key == 'c')
			check_all_run();
		else if (key == 'e')
			eject_all();
		else if (key == 'b')
			power_reset();
		else if (key == 'g' || key == 'k' || key == 'r' || key == 's' || key == 'x')
			mode = (char)key;
		if (key > ' ')
			print("key %c\n", key);
		if (inb(PORT_ACPI_EVENT) & ACPI_EVENT_CPU)
			answer(mode);
	}
}

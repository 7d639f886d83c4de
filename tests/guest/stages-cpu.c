/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: what a processor holds. */
#include "stages.h"

enum {
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_PAT = 0x277,
	MSR_MTRR_BASE0 = 0x200,
	MSR_MTRR_MASK0 = 0x201,
	MSR_X2APIC_TPR = 0x808,
	MSR_X2APIC_LVT_LINT0 = 0x835,
	MSR_X2APIC_LVT_ERROR = 0x837,
	MSR_X2APIC_SELF_IPI = 0x83f,
	MSR_TSC_DEADLINE = 0x6e0,
	CPUID_1_ECX_TSC_DEADLINE = 1 << 24,
	LVT_DEADLINE = 1 << 18,
	DIVIDE_BY_1 = 0xb,
	TICK_NS = 10000000,
	DUE_MS = 50,
	REGISTERS_MS = 5000,
};

#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_KVM_SYSTEM_TIME 0x4b564d01

/* Bits of a value that may be anything: canonical addresses below 2^46, 32 bits, ... */
static const struct {
	uint32_t msr;
	uint64_t any, fixed;
} msrs[] = {
	{ MSR_STAR, ~0ull, 0 },
	{ MSR_LSTAR, (1ull << 46) - 1, 0 },
	{ MSR_CSTAR, (1ull << 46) - 1, 0 },
	{ MSR_SFMASK, 0xffffffff, 0 },
	{ MSR_FS_BASE, (1ull << 46) - 1, 0 },
	{ MSR_KERNEL_GS_BASE, (1ull << 46) - 1, 0 },
	{ MSR_SYSENTER_CS, 0xffff, 0 },
	{ MSR_SYSENTER_ESP, (1ull << 46) - 1, 0 },
	{ MSR_SYSENTER_EIP, (1ull << 46) - 1, 0 },
	{ MSR_PAT, 0x0101010101010101, 0x0404040404040406 }, /* types 4 and 5 (6, 7) each */
	{ MSR_MTRR_BASE0, 0xfffff000, 6 },
	{ MSR_MTRR_MASK0, 0xfffff000, 0 }, /* not valid: no effect */
};

static uint64_t msr_value(unsigned i, uint32_t generation)
{
	return (mix(i, generation) & msrs[i].any) | msrs[i].fixed;
}

static void msr_build(uint32_t generation)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		cpu_wrmsr(msrs[i].msr, msr_value(i, generation));
}

static void msr_verify(uint32_t generation)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		uint64_t v = cpu_rdmsr(msrs[i].msr);

		if (v != msr_value(i, generation))
			guest_fail("msr 0x%x: 0x%lx, not 0x%lx", msrs[i].msr, v,
				   msr_value(i, generation));
	}
}

const struct item msr_item = { .name = "msr", .build = msr_build, .verify = msr_verify };

static uint64_t debug_write(uint64_t generation, uint64_t unused)
{
	(void)unused;
	__asm__ volatile(
		"mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3; mov %4, %%cr2" ::"r"(
			generation + 1),
		"r"(generation + 2), "r"(generation + 3), "r"(generation + 4), "r"(generation + 5));
	return 0;
}

static uint64_t debug_read(uint64_t base, uint64_t unused)
{
	uint64_t v[5];

	(void)unused;
	__asm__ volatile("mov %%dr0, %0; mov %%dr1, %1; mov %%dr2, %2; mov %%dr3, %3; mov %%cr2, %4"
			 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3]), "=r"(v[4]));
	for (unsigned i = 0; i < 5; i++)
		if (v[i] != base + i + 1)
			return i + 1;
	return 0;
}

static void debug_build(uint32_t generation)
{
	cpu_ring0(debug_write, mix(3, generation) & 0xffffffff, 0);
}

static void debug_verify(uint32_t generation)
{
	CHECK(cpu_ring0(debug_read, mix(3, generation) & 0xffffffff, 0) == 0);
}

const struct item debug_item = { .name = "debug", .build = debug_build, .verify = debug_verify };

/* What the APIC's timer does; the generation decides.  The last two fire once. */
enum timer { TIMER_PERIODIC, TIMER_ONE_SHOT, TIMER_DEADLINE, NTIMERS };

static struct {
	uint32_t ticks, pending;
	bool requested;
} apic;

/* Of other stages than the ways to hold */
static enum timer timer_of(uint32_t generation)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;
	enum timer t = generation / NHOLDS % NTIMERS;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return t == TIMER_DEADLINE && !(ecx & CPUID_1_ECX_TSC_DEADLINE) ? TIMER_ONE_SHOT : t;
}

static uint32_t timer_lvt(uint32_t generation)
{
	static const uint32_t modes[] = { LVT_PERIODIC, 0, LVT_DEADLINE };

	return modes[timer_of(generation)] | VECTOR_TICK;
}

/* One that fires once is due on the way: a save and a load take longer. */
static void timer_build(uint32_t generation)
{
	enum timer t = timer_of(generation);

	cpu_wrmsr(MSR_X2APIC_DIVIDE, DIVIDE_BY_1);
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, timer_lvt(generation));
	apic.ticks = guest_irq_count[VECTOR_TICK];
	if (t == TIMER_DEADLINE)
		cpu_wrmsr(MSR_TSC_DEADLINE, rdtsc() + tsc_hz() / 1000 * DUE_MS);
	else
		cpu_wrmsr(MSR_X2APIC_INITIAL_COUNT,
			  t == TIMER_PERIODIC ? TICK_NS : DUE_MS * 1000000);
}

static void timer_verify(uint32_t generation)
{
	enum timer t = timer_of(generation);

	CHECK(cpu_rdmsr(MSR_X2APIC_LVT_TIMER) == timer_lvt(generation));
	CHECK(cpu_rdmsr(MSR_X2APIC_DIVIDE) == DIVIDE_BY_1);
	if (t == TIMER_PERIODIC) {
		CHECK(irq_wait(VECTOR_TICK, guest_irq_count[VECTOR_TICK] + 3));
		CHECK(guest_irq_count[VECTOR_TICK] != apic.ticks);
		CHECK(cpu_rdmsr(MSR_X2APIC_INITIAL_COUNT) == TICK_NS);
	} else {
		CHECK(irq_wait(VECTOR_TICK, apic.ticks + 1));
		delay_us(DUE_MS * 2000);
		/* KVM cannot tell a count that has run out from one that runs out as it is
		 * restored: that interrupt may come again. */
		CHECK(guest_irq_count[VECTOR_TICK] - apic.ticks <= 1u + (t == TIMER_ONE_SHOT));
	}
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, LVT_MASKED | VECTOR_TICK);
}

/* The timer, some registers, and while interrupts are off, one that waits to be taken */
static void apic_build(uint32_t generation)
{
	cpu_wrmsr(MSR_X2APIC_TPR, generation % 3 << 4);
	cpu_wrmsr(MSR_X2APIC_LVT_ERROR, LVT_MASKED | (0x40 + (generation & 0x3f)));
	cpu_wrmsr(MSR_X2APIC_LVT_LINT0, LVT_MASKED | (0x41 + (generation & 0x3f)));
	timer_build(generation);
	apic.pending = guest_irq_count[VECTOR_PENDING];
	apic.requested = stage_hold(generation) == HOLD_SPIN;
	if (apic.requested)
		cpu_wrmsr(MSR_X2APIC_SELF_IPI, VECTOR_PENDING);
}

static void apic_verify(uint32_t generation)
{
	if (apic.requested)
		CHECK(guest_irq_count[VECTOR_PENDING] == apic.pending);
	cpu_irqs_on();
	timer_verify(generation);
	CHECK(guest_irq_count[VECTOR_PENDING] == apic.pending + apic.requested);
	CHECK(cpu_rdmsr(MSR_X2APIC_TPR) == generation % 3 << 4);
	CHECK(cpu_rdmsr(MSR_X2APIC_LVT_ERROR) == (LVT_MASKED | (0x40 + (generation & 0x3f))));
	CHECK(cpu_rdmsr(MSR_X2APIC_LVT_LINT0) == (LVT_MASKED | (0x41 + (generation & 0x3f))));
}

const struct item apic_item = { .name = "apic", .build = apic_build, .verify = apic_verify };

static uint64_t clock_last;

static void clock_build(uint32_t generation)
{
	(void)generation;
	clock_last = rdtsc();
}

static void clock_verify(uint32_t generation)
{
	uint64_t now = rdtsc(), before = now, hz = tsc_hz();

	(void)generation;
	if (now < clock_last)
		guest_fail("tsc went back by %lu us", (clock_last - now) * 1000000 / hz);
	for (unsigned i = 0; i < 1000; i++, before = now)
		CHECK((now = rdtsc()) >= before);
}

const struct item clock_item = { .name = "clock", .build = clock_build, .verify = clock_verify };

/* struct pvclock_vcpu_time_info of Linux's asm/pvclock-abi.h */
static volatile struct {
	uint32_t version, pad;
	uint64_t tsc, system_ns;
	uint32_t multiplier;
	int8_t shift;
	uint8_t flags, pad2[2];
} pvclock __attribute__((aligned(64)));

static uint64_t kvmclock_last;

static uint64_t kvmclock_ns(void)
{
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = pvclock.version;
		barrier();
		delta = rdtsc() - pvclock.tsc;
		delta = pvclock.shift < 0 ? delta >> -pvclock.shift : delta << pvclock.shift;
		ns = pvclock.system_ns +
		     (uint64_t)((unsigned __int128)delta * pvclock.multiplier >> 32);
		barrier();
	} while (version & 1 || version != pvclock.version);
	return ns;
}

static bool kvmclock_present(void)
{
	return !cmdline_has("nokvmclock");
}

static void kvmclock_build(uint32_t generation)
{
	(void)generation;
	if (!kvmclock_last)
		cpu_wrmsr(MSR_KVM_SYSTEM_TIME, (uint64_t)&pvclock | 1);
	CHECK(pvclock.multiplier);
	kvmclock_last = kvmclock_ns();
}

/* It does not go back and does not stand still. */
static void kvmclock_verify(uint32_t generation)
{
	uint64_t now = kvmclock_ns();

	(void)generation;
	CHECK(cpu_rdmsr(MSR_KVM_SYSTEM_TIME) == ((uint64_t)&pvclock | 1));
	if (now < kvmclock_last)
		guest_fail("kvm clock went back by %lu us", (kvmclock_last - now) / 1000);
	delay_us(1000);
	CHECK(kvmclock_ns() > now);
}

const struct item kvmclock_item = {
	.name = "kvmclock",
	.present = kvmclock_present,
	.build = kvmclock_build,
	.verify = kvmclock_verify,
};

/* At gs:0 of each processor; offsets are in stages-regs.S. */
struct registers {
	uint64_t wanted[16], got[16]; /* rsp is number 4 */
	uint64_t flags, stack;
	uint8_t fx_wanted[512] __attribute__((aligned(16))),
		fx_got[512] __attribute__((aligned(16)));
	uint64_t tsc;
	volatile uint32_t round, done;
};

enum { FX_CONTROL = 0, FX_TAGS = 4, FX_MXCSR = 24, FX_ST0 = 32, FX_XMM0 = 160, FX_END = 416 };

void registers_spin(void); /* stages-regs.S */

static struct registers registers[MAX_CPUS];
static unsigned ncpus;

/* SDM volume 1, 10.5.1: no tag of the eight is empty; the numbers are normal ones. */
static void registers_set(unsigned cpu, uint32_t generation)
{
	struct registers *r = &registers[cpu];
	uint16_t control = (uint16_t)(generation % 2 ? 0x037f : 0x0f7f);
	uint32_t mxcsr = generation % 2 ? 0x1f80 : 0x7f80;
	uint64_t *st, *xmm = (uint64_t *)(r->fx_wanted + FX_XMM0);

	for (unsigned i = 0; i < 16; i++)
		r->wanted[i] = mix(cpu * 16 + i, generation);
	memset(r->fx_wanted, 0, sizeof(r->fx_wanted));
	memset(r->got, 0, sizeof(r->got));
	memset(r->fx_got, 0, sizeof(r->fx_got));
	memcpy(r->fx_wanted + FX_CONTROL, &control, sizeof(control));
	r->fx_wanted[FX_TAGS] = 0xff;
	memcpy(r->fx_wanted + FX_MXCSR, &mxcsr, sizeof(mxcsr));
	for (unsigned i = 0; i < 8; i++) {
		st = (uint64_t *)(r->fx_wanted + FX_ST0 + 16 * i);
		st[0] = mix(100 + i, generation + cpu) | 1ull << 63;
		st[1] = 0x3fff + i;
	}
	for (unsigned i = 0; i < 32; i++)
		xmm[i] = mix(200 + i, generation + cpu);
}

static void registers_compare(unsigned cpu)
{
	struct registers *r = &registers[cpu];
	uint64_t *want = (uint64_t *)r->fx_wanted, *got = (uint64_t *)r->fx_got;

	for (unsigned i = 0; i < 16; i++)
		if (r->got[i] != r->wanted[i])
			guest_fail("cpu %u register %u: 0x%lx, not 0x%lx", cpu, i, r->got[i],
				   r->wanted[i]);
	CHECK((r->flags & 1 << 10) != 0); /* DF was set */
	CHECK(!memcmp(r->fx_got + FX_CONTROL, r->fx_wanted + FX_CONTROL, 5));
	CHECK(!memcmp(r->fx_got + FX_MXCSR, r->fx_wanted + FX_MXCSR, 4));
	for (unsigned i = FX_ST0 / 8; i < FX_END / 8; i++)
		if (got[i] != want[i] &&
		    !(i < FX_XMM0 / 8 && i % 2 && (uint16_t)got[i] == (uint16_t)want[i]))
			guest_fail("cpu %u fx state at %u: 0x%lx, not 0x%lx", cpu, i * 8, got[i],
				   want[i]);
}

static void registers_cpu(unsigned index)
{
	struct registers *r = &registers[index];

	cpu_wrmsr(MSR_GS_BASE, (uint64_t)r);
	for (;;) {
		while (r->round == r->done)
			cpu_relax();
		registers_spin();
		r->tsc = rdtsc();
		barrier();
		r->done = r->round;
	}
}

/* Processor n has APIC ID n: what monitors give to few processors. */
void registers_start(void)
{
	ncpus = (unsigned)cmdline_number("cpus", 1);
	cpu_wrmsr(MSR_GS_BASE, (uint64_t)&registers[0]);
	for (unsigned i = 1; i < ncpus; i++)
		if (!cpu_start(i, i, registers_cpu))
			guest_fail("processor %u does not start", i);
}

void registers_build(uint32_t generation)
{
	for (unsigned i = 0; i < ncpus; i++) {
		registers_set(i, generation);
		barrier();
		registers[i].round = generation;
	}
}

void registers_hold(void)
{
	registers_spin();
	registers[0].done = registers[0].round;
}

/* Another processor's time must not lie in our future. */
void registers_verify(uint32_t generation)
{
	uint64_t begin = rdtsc(), hz = tsc_hz();

	guest_irq_count[VECTOR_GO]++; /* when no interrupt has let the others go */
	if (registers[0].done == generation)
		registers_compare(0);
	for (unsigned i = 1; i < ncpus; i++) {
		while (registers[i].done != generation)
			CHECK(rdtsc() - begin < hz / 1000 * REGISTERS_MS);
		CHECK(registers[i].tsc <= rdtsc());
		registers_compare(i);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of the machine, each used as its data sheet says. Command line: "nocmos", "nopci",
 * "norng", "noblk" and "noirq4" for machines that lack them. Writes to the first 64 KiB of the
 * block device.
 */
#include "lib/virtio.h"

enum {
	UART_IER = 1,
	UART_IIR = 2,
	UART_FCR = 2,
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCRATCH = 7,
	LCR_8N1 = 0x03,
	LCR_DIVISOR = 0x80,
	MCR_NORMAL = 0x03,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	LSR_DATA = 0x01,
	LSR_OVERRUN = 0x02,
	IER_SENT = 0x02,
	IIR_FIFOS = 0xc0,
	FCR_ON_CLEAR = 0x07,
	ISA_IRQ_COM1 = 4,
	CMOS_INDEX = 0x70,
	CMOS_DATA = 0x71,
	CMOS_SECONDS = 0,
	CMOS_MINUTES = 2,
	CMOS_HOURS = 4,
	CMOS_DAY = 7,
	CMOS_MONTH = 8,
	CMOS_YEAR = 9,
	CMOS_B = 11,
	CMOS_D = 13,
	CMOS_SCRATCH = 0x50,
	VECTOR_UART = VECTOR_IRQ,
	VECTOR_BLK,
	VECTOR_TIMER,
	PCI_LINE = 0x3c,
	BAR_ELSEWHERE = 0xd8000000,
	BLK_REQUESTS = 16,
	BLK_BYTES = 4096,
	RNG_BYTES = 64,
};

const char guest_name[] = "devices";

static bool irq_wait(unsigned vector, uint32_t count)
{
	for (unsigned i = 0; i < 300000 && guest_irq_count[vector] != count; i++)
		delay_us(100);
	return guest_irq_count[vector] == count;
}

/* NS16550A: 8.6.7 loopback, 8.6.10 scratch register */
static void check_uart(void)
{
	uint8_t got[16];

	serial_flush();
	for (unsigned v = 0x55; v <= 0xaa; v += 0x55) {
		outb(COM1 + UART_SCRATCH, (uint8_t)v);
		CHECK(inb(COM1 + UART_SCRATCH) == v);
	}
	outb(COM1 + UART_LCR, LCR_DIVISOR | LCR_8N1);
	outb(COM1, 0x0c);
	outb(COM1 + 1, 0x34);
	CHECK(inb(COM1) == 0x0c && inb(COM1 + 1) == 0x34);
	outb(COM1 + 1, 0);
	outb(COM1, 1);
	outb(COM1 + UART_LCR, LCR_8N1);
	CHECK(inb(COM1 + UART_LCR) == LCR_8N1);
	CHECK(inb(COM1 + UART_IER) == 0);

	outb(COM1 + UART_FCR, FCR_ON_CLEAR);
	CHECK((inb(COM1 + UART_IIR) & IIR_FIFOS) == IIR_FIFOS);
	outb(COM1 + UART_MCR, MCR_LOOP | MCR_NORMAL);
	CHECK((inb(COM1 + UART_MSR) & 0xf0) == 0x30); /* DTR, RTS come back as DSR, CTS */
	for (unsigned i = 0; i < sizeof(got); i++)
		outb(COM1, (uint8_t)(0x30 + i));
	for (unsigned i = 0; i < sizeof(got); i++) {
		for (unsigned n = 0; n < 1000 && !(inb(COM1 + UART_LSR) & LSR_DATA); n++)
			delay_us(10);
		got[i] = inb(COM1);
	}
	CHECK(!(inb(COM1 + UART_LSR) & (LSR_DATA | LSR_OVERRUN)));
	outb(COM1 + UART_MCR, MCR_NORMAL);
	for (unsigned i = 0; i < sizeof(got); i++)
		CHECK(got[i] == 0x30 + i);
	print("devices: uart\n");
}

static void check_irq4(void)
{
	uint32_t before = guest_irq_count[VECTOR_UART];

	serial_flush();
	ioapic_route(ISA_IRQ_COM1, VECTOR_UART);
	outb(COM1 + UART_MCR, MCR_NORMAL | MCR_OUT2);
	outb(COM1 + UART_IER, IER_SENT); /* empty already: at once */
	CHECK(irq_wait(VECTOR_UART, before + 1));
	CHECK((inb(COM1 + UART_IIR) & 0x0f) == 0x02); /* and reading it takes it back */
	CHECK((inb(COM1 + UART_IIR) & 0x0f) == 0x01);
	outb(COM1, '\n');
	CHECK(irq_wait(VECTOR_UART, before + 2));
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_MCR, MCR_NORMAL);
	ioapic_mask(ISA_IRQ_COM1);
	print("devices: irq 4\n");
}

static uint8_t cmos(uint8_t reg)
{
	outb(CMOS_INDEX, reg);
	return inb(CMOS_DATA);
}

static unsigned cmos_number(uint8_t reg)
{
	bool binary = cmos(CMOS_B) & 1 << 2;
	uint8_t v = cmos(reg);

	return binary ? v : (v >> 4) * 10u + (v & 15);
}

/* Waits for the next second to begin. */
static unsigned cmos_tick(void)
{
	unsigned s = cmos_number(CMOS_SECONDS), next;
	uint64_t begin = rdtsc();

	while ((next = cmos_number(CMOS_SECONDS)) == s)
		CHECK(rdtsc() - begin < 5 * tsc_hz());
	CHECK(next == (s + 1) % 60);
	return next;
}

/* MC146818A: time of day */
static void check_cmos(void)
{
	unsigned s = cmos_tick();
	uint64_t ms = rdtsc();

	CHECK(cmos(CMOS_D) & 1 << 7);
	CHECK(cmos_tick() == (s + 1) % 60);
	ms = (rdtsc() - ms) * 1000 / tsc_hz();
	CHECK(cmos_number(CMOS_MINUTES) < 60);
	CHECK((cmos(CMOS_HOURS) & 0x7f) < 0x24);
	CHECK(cmos_number(CMOS_DAY) - 1 < 31 && cmos_number(CMOS_MONTH) - 1 < 12);
	CHECK(cmos_number(CMOS_YEAR) >= 24 && cmos_number(CMOS_YEAR) < 99);
	outb(CMOS_INDEX, CMOS_SCRATCH);
	outb(CMOS_DATA, 0xa5);
	CHECK(cmos(CMOS_SCRATCH) == 0xa5);
	print("devices: cmos 20%02u-%02u-%02u %02u:%02u, a second is %lu ms\n",
	      cmos_number(CMOS_YEAR), cmos_number(CMOS_MONTH), cmos_number(CMOS_DAY),
	      cmos_number(CMOS_HOURS), cmos_number(CMOS_MINUTES), ms);
}

static void check_timer(void)
{
	uint32_t before = guest_irq_count[VECTOR_TIMER];
	uint64_t hz = tsc_hz(); /* may use the timer: before we do */

	cpu_wrmsr(MSR_X2APIC_DIVIDE, 0xb); /* by 1 */
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, VECTOR_TIMER);
	cpu_wrmsr(MSR_X2APIC_INITIAL_COUNT, 1000000);
	CHECK(irq_wait(VECTOR_TIMER, before + 1));
	cpu_wrmsr(MSR_X2APIC_LVT_TIMER, LVT_MASKED);
	print("devices: apic timer, tsc %lu kHz\n", hz / 1000);
}

static bool visit_compare(unsigned fn, void *arg)
{
	unsigned *n = arg;
	uint8_t line;

	for (unsigned reg = 0; reg < 256; reg += 4)
		if (pci_read(fn, reg, 4) != pci_read_ecam(fn, reg, 4))
			guest_fail("function %x: register %x: 0x%x by ports, 0x%x by memory", fn,
				   reg, pci_read(fn, reg, 4), pci_read_ecam(fn, reg, 4));
	CHECK(pci_read(fn, 2, 2) == pci_read(fn, PCI_ID, 4) >> 16);
	CHECK(pci_read_ecam(fn, 3, 1) == pci_read(fn, PCI_ID, 4) >> 24);

	/* What one way writes, the other reads: the interrupt line means nothing to hardware. */
	line = (uint8_t)pci_read(fn, PCI_LINE, 1);
	if (fn) {
		pci_write_ecam(fn, PCI_LINE, 1, 0x5a);
		CHECK(pci_read(fn, PCI_LINE, 1) == 0x5a);
		pci_write(fn, PCI_LINE, 1, line);
		CHECK(pci_read_ecam(fn, PCI_LINE, 1) == line);
	}
	print("devices: pci %02x.%u %04x:%04x class %06x\n", fn >> 3, fn & 7, pci_read(fn, 0, 2),
	      pci_read(fn, 2, 2), pci_read(fn, PCI_CLASS, 4) >> 8);
	++*n;
	return false;
}

static void check_pci(void)
{
	unsigned n = 0;

	pci_each(visit_compare, &n);
	CHECK(n);
	for (unsigned fn = 0; fn < 256; fn += 8)
		CHECK((pci_read(fn, 0, 4) == PCI_NONE) == (pci_read_ecam(fn, 0, 4) == PCI_NONE));
	print("devices: pci %u functions, ecam 0x%lx\n", n, pci_ecam());
}

static void rng_read(struct virtq *q, uint8_t *to)
{
	const struct virtq_part part = { to, RNG_BYTES, true };
	struct virtq_used used;
	uint16_t head = virtq_add(q, &part, 1);

	virtq_kick(q);
	CHECK(virtq_wait(q, &used));
	CHECK(used.id == head && used.length && used.length <= RNG_BYTES);
}

static void check_rng(void)
{
	static uint8_t a[RNG_BYTES], b[RNG_BYTES];
	static struct virtq q;
	struct virtio d;

	CHECK(virtio_find(&d, VIRTIO_ID_RNG, 0));
	virtio_begin(&d, 0);
	virtq_setup(&d, &q, 0, 8, VIRTIO_NO_VECTOR);
	virtio_ready(&d);
	for (unsigned i = 0; i < 20; i++) { /* more often than the ring is long */
		rng_read(&q, a);
		rng_read(&q, b);
		CHECK(memcmp(a, b, 8));
	}
	virtio_reset(&d);
	print("devices: virtio-rng\n");
}

static uint8_t blk_data[BLK_REQUESTS][BLK_BYTES];
static struct virtq blk_queue;

static uint32_t pattern(unsigned request, unsigned word)
{
	return (request * BLK_BYTES + word) * 0x9e3779b1u;
}

/* All at once, then all back: the answers may come in any order. */
static void blk_all(uint32_t type)
{
	static struct blk_request r[BLK_REQUESTS];
	struct virtq_used used;

	for (unsigned i = 0; i < BLK_REQUESTS; i++)
		blk_add(&blk_queue, &r[i], type, i * BLK_BYTES / BLK_SECTOR, blk_data[i],
			BLK_BYTES);
	virtq_kick(&blk_queue);
	for (unsigned i = 0; i < BLK_REQUESTS; i++) {
		CHECK(virtq_wait(&blk_queue, &used));
		CHECK(used.length == (type == BLK_IN ? BLK_BYTES : 0) + 1);
	}
	for (unsigned i = 0; i < BLK_REQUESTS; i++)
		CHECK(r[i].status == BLK_STATUS_OK);
}

static void check_blk_data(void)
{
	for (unsigned i = 0; i < BLK_REQUESTS; i++)
		for (unsigned w = 0; w < BLK_BYTES / 4; w++)
			((uint32_t *)blk_data[i])[w] = pattern(i, w);
	blk_all(BLK_OUT);
	CHECK(blk_do(&blk_queue, BLK_FLUSH, 0, NULL, 0));
	memset(blk_data, 0, sizeof(blk_data));
	blk_all(BLK_IN);
	for (unsigned i = 0; i < BLK_REQUESTS; i++)
		for (unsigned w = 0; w < BLK_BYTES / 4; w++)
			CHECK(((uint32_t *)blk_data[i])[w] == pattern(i, w));
}

static void check_blk_vector(const struct virtio *d)
{
	uint32_t count = guest_irq_count[VECTOR_BLK];

	for (unsigned i = 1; i <= 20; i++) {
		CHECK(blk_do(&blk_queue, BLK_IN, 0, blk_data[0], BLK_SECTOR));
		CHECK(irq_wait(VECTOR_BLK, count + i));
	}
	count += 20;
	msix_mask(&d->msix, 1, true);
	CHECK(blk_do(&blk_queue, BLK_IN, 0, blk_data[0], BLK_SECTOR));
	for (unsigned i = 0; i < 1000 && !msix_pending(&d->msix, 1); i++)
		delay_us(100);
	CHECK(msix_pending(&d->msix, 1));
	CHECK(guest_irq_count[VECTOR_BLK] == count);
	msix_mask(&d->msix, 1, false);
	CHECK(irq_wait(VECTOR_BLK, count + 1));
	CHECK(!msix_pending(&d->msix, 1));
}

/* With decoding off, a BAR may be put anywhere. */
static void check_bar_move(struct virtio *d)
{
	uint8_t live = virtio_status(d);
	unsigned bar = 0, reg;
	uint64_t home = 0;

	while (bar < 6 && !home) {
		uint64_t at = pci_read(d->fn, PCI_BAR0 + 4 * bar, 4) & ~0xfu;

		if (at == (d->common & ~0xfffull))
			home = at;
		else
			bar++;
	}
	if (!home)
		return; /* beyond 4 GiB, or the structure is not at its beginning */
	reg = PCI_BAR0 + 4 * bar;
	pci_write(d->fn, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	CHECK(read8(d->common + VIRTIO_STATUS) != live); /* ones, on QEMU zeros */
	pci_write(d->fn, reg, 4, BAR_ELSEWHERE);
	pci_enable(d->fn);
	CHECK(read8(d->common - home + BAR_ELSEWHERE + VIRTIO_STATUS) == live);
	CHECK(virtio_status(d) != live);
	pci_write(d->fn, reg, 4, (uint32_t)home);
	CHECK(virtio_status(d) == live);
	CHECK(blk_do(&blk_queue, BLK_IN, 0, blk_data[0], BLK_SECTOR));
	print("devices: bar %u moved\n", bar);
}

static void check_blk(void)
{
	struct virtio d;

	CHECK(virtio_find(&d, VIRTIO_ID_BLK, 0));
	virtio_begin(&d, VIRTIO_BLK_F_FLUSH);
	CHECK(d.features & VIRTIO_BLK_F_FLUSH);
	CHECK(d.msix.vectors >= 2);
	msix_set(&d.msix, 1, VECTOR_BLK);
	msix_enable(&d.msix, true);
	virtq_setup(&d, &blk_queue, 0, 64, 1);
	virtio_ready(&d);
	CHECK(blk_capacity(&d) >= BLK_REQUESTS * BLK_BYTES / BLK_SECTOR);
	check_blk_data();
	CHECK(!blk_do(&blk_queue, BLK_IN, blk_capacity(&d), blk_data[0], BLK_SECTOR));
	CHECK(blk_do(&blk_queue, BLK_IN, blk_capacity(&d) - 1, blk_data[0], BLK_SECTOR));
	while (read8(d.isr))
		;
	check_blk_vector(&d);
	check_bar_move(&d);
	virtio_reset(&d);
	msix_enable(&d.msix, false);
	print("devices: virtio-blk, %lu MiB\n", blk_capacity(&d) * BLK_SECTOR >> 20);
}

void guest_main(void)
{
	check_uart();
	cpu_irqs_on();
	check_timer();
	if (!cmdline_has("noirq4"))
		check_irq4();
	if (!cmdline_has("nocmos"))
		check_cmos();
	if (cmdline_has("nopci"))
		return;
	check_pci();
	if (!cmdline_has("norng"))
		check_rng();
	if (!cmdline_has("noblk"))
		check_blk();
}

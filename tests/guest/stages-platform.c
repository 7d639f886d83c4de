/* SPDX-License-Identifier: Apache-2.0 */
/* Stages: ports, chips, PCI. */
#include "stages.h"

enum {
	UART_IER = 1,
	UART_IIR = 2,
	UART_LCR = 3,
	UART_MCR = 4,
	UART_SCRATCH = 7,
	LCR_8N1 = 0x03,
	LCR_8E1 = 0x1b,
	LCR_DIVISOR = 0x80,
	MCR_NORMAL = 0x03,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	IER_RECEIVED = 0x01,
	IER_LINE_STATUS = 0x04,
	ISA_IRQ_COM1 = 4,
	LEFT_OVER = 3,

	CMOS_INDEX = 0x70,
	CMOS_DATA = 0x71,
	CMOS_FIRST = 0x40,
	CMOS_BYTES = 0x20,

	PORT_PIC1_MASK = 0x21,
	PORT_PIC2_MASK = 0xa1,
	PORT_PIT = 0x40,
	PORT_PIT_MODE = 0x43,
	PIT_READ_BACK_STATUS = 0xe8, /* of channel 2, no count */
	PIT_STATUS_MODE = 0x3f,
	IOAPIC = 0xfec00000,
	IOAPIC_DATA = 0x10,
	IOAPIC_REDIRECT = 0x10,
	IOAPIC_ENTRY_MASKED = 1 << 16,
	PIN_FIRST = 16,
	PIN_LAST = 23,

	PORT_PCI_ADDRESS = 0xcf8,
	FUNCTIONS = 16,
	PCI_LINE = 0x3c,
};

static struct {
	uint8_t scratch, lcr, mcr, ier, divisor, left[LEFT_OVER];
	unsigned nleft;
} uart;

/*
 * Spinning: parity and divisor changed, divisor latch open, bytes received but not read. Else the
 * port must be able to interrupt. Loopback (NS16550A, 8.6.7) makes the received bytes: before the
 * harness is told of the stage, as what it sends must come behind them.
 */
void uart_prepare(uint32_t generation)
{
	bool spin = stage_hold(generation) == HOLD_SPIN;

	serial_flush();
	uart.scratch = (uint8_t)mix(1, generation);
	uart.divisor = (uint8_t)(1 + generation % 12);
	uart.lcr = spin ? LCR_DIVISOR | LCR_8E1 : LCR_8N1;
	uart.mcr = spin ? MCR_NORMAL | MCR_OUT1 : MCR_NORMAL | MCR_OUT2;
	uart.ier = spin ? IER_LINE_STATUS : IER_RECEIVED;
	uart.nleft = spin ? LEFT_OVER : 0;
	outb(COM1 + UART_MCR, MCR_NORMAL | MCR_LOOP);
	for (unsigned i = 0; i < uart.nleft; i++) {
		uart.left[i] = (uint8_t)mix(i, generation) | 0x80;
		outb(COM1, uart.left[i]);
	}
	delay_us(1000);
	outb(COM1 + UART_MCR, uart.mcr);
	outb(COM1 + UART_SCRATCH, uart.scratch);
	if (!spin)
		ioapic_route(ISA_IRQ_COM1, VECTOR_GO);
}

/* From here the port cannot print. */
void uart_arm(void)
{
	serial_flush();
	outb(COM1 + UART_LCR, LCR_DIVISOR | LCR_8N1);
	outb(COM1, uart.divisor);
	outb(COM1 + 1, 0);
	outb(COM1 + UART_LCR, LCR_8N1);
	outb(COM1 + UART_IER, uart.ier);
	outb(COM1 + UART_LCR, uart.lcr);
}

/* Verifies the port, then waits for the harness. */
void uart_wait_go(uint32_t generation)
{
	unsigned n = 0;
	int c;

	CHECK(inb(COM1 + UART_LCR) == uart.lcr);
	outb(COM1 + UART_LCR, LCR_DIVISOR | LCR_8N1);
	CHECK(inb(COM1) == uart.divisor && inb(COM1 + 1) == 0);
	outb(COM1, 1);
	outb(COM1 + UART_LCR, LCR_8N1);
	CHECK(inb(COM1 + UART_IER) == uart.ier);
	outb(COM1 + UART_IER, 0);
	CHECK(inb(COM1 + UART_MCR) == uart.mcr);
	outb(COM1 + UART_MCR, MCR_NORMAL);
	CHECK(inb(COM1 + UART_SCRATCH) == uart.scratch);
	CHECK(inb(COM1 + UART_IIR) >> 6 == 3); /* FIFOs on */
	ioapic_mask(ISA_IRQ_COM1);
	while ((c = serial_get()) != 'c') {
		if (c < 0) {
			delay_us(100);
			continue;
		}
		if (n >= uart.nleft || c != uart.left[n])
			guest_fail("stage %u: byte %u from the serial port is 0x%02x", generation,
				   n, (unsigned)c);
		n++;
	}
	CHECK(n == uart.nleft);
}

static bool cmos_present(void)
{
	return !cmdline_has("nocmos");
}

/* The index is left at a byte that is then read without setting it again. */
static void cmos_build(uint32_t generation)
{
	for (unsigned i = 0; i < CMOS_BYTES; i++) {
		outb(CMOS_INDEX, (uint8_t)(CMOS_FIRST + i));
		outb(CMOS_DATA, (uint8_t)mix(i, generation));
	}
	outb(CMOS_INDEX, (uint8_t)(CMOS_FIRST + generation % CMOS_BYTES));
}

static void cmos_verify(uint32_t generation)
{
	CHECK(inb(CMOS_DATA) == (uint8_t)mix(generation % CMOS_BYTES, generation));
	for (unsigned i = 0; i < CMOS_BYTES; i++) {
		outb(CMOS_INDEX, (uint8_t)(CMOS_FIRST + i));
		CHECK(inb(CMOS_DATA) == (uint8_t)mix(i, generation));
	}
}

const struct item cmos_item = {
	.name = "cmos",
	.present = cmos_present,
	.build = cmos_build,
	.verify = cmos_verify,
};

static uint32_t ioapic_read(unsigned reg)
{
	write32(IOAPIC, reg);
	return read32(IOAPIC + IOAPIC_DATA);
}

static void ioapic_write(unsigned reg, uint32_t v)
{
	write32(IOAPIC, reg);
	write32(IOAPIC + IOAPIC_DATA, v);
}

static uint32_t pin_low(unsigned pin, uint32_t generation)
{
	return IOAPIC_ENTRY_MASKED | (0x20 + ((pin + generation) & 0x3f));
}

static uint8_t pit_status(void)
{
	outb(PORT_PIT_MODE, PIT_READ_BACK_STATUS);
	return inb(PORT_PIT + 2);
}

static uint8_t pit_before;

/* Masks of the PICs, mode of the PIT's channel 2, pins of the IOAPIC that nothing uses (masked) */
static void chips_build(uint32_t generation)
{
	outb(PORT_PIC1_MASK, (uint8_t)(mix(1, generation) | 0x01));
	outb(PORT_PIC2_MASK, (uint8_t)mix(2, generation));
	outb(PORT_PIC1_MASK, 0xff & ~(uint8_t)(generation & 4));
	outb(PORT_PIT_MODE, (uint8_t)(0xb0 | (generation % 2 ? 2 : 3) << 1));
	outb(PORT_PIT + 2, (uint8_t)generation);
	outb(PORT_PIT + 2, 0x80);
	pit_before = pit_status();
	for (unsigned pin = PIN_FIRST; pin <= PIN_LAST; pin++) {
		ioapic_write(IOAPIC_REDIRECT + 2 * pin + 1, (pin + generation) << 24);
		ioapic_write(IOAPIC_REDIRECT + 2 * pin, pin_low(pin, generation));
	}
}

static void chips_verify(uint32_t generation)
{
	CHECK(inb(PORT_PIC1_MASK) == (uint8_t)(0xff & ~(generation & 4)));
	CHECK(inb(PORT_PIC2_MASK) == (uint8_t)mix(2, generation));
	outb(PORT_PIC1_MASK, 0xff);
	outb(PORT_PIC2_MASK, 0xff);
	CHECK((pit_status() & PIT_STATUS_MODE) == (pit_before & PIT_STATUS_MODE));
	for (unsigned pin = PIN_FIRST; pin <= PIN_LAST; pin++) {
		CHECK(ioapic_read(IOAPIC_REDIRECT + 2 * pin) == pin_low(pin, generation));
		CHECK(ioapic_read(IOAPIC_REDIRECT + 2 * pin + 1) == ((pin + generation) & 0xff)
									    << 24);
	}
}

const struct item chips_item = { .name = "chips", .build = chips_build, .verify = chips_verify };

static struct {
	unsigned n, fn[FUNCTIONS];
	uint32_t config[FUNCTIONS][64], address;
} pci;

static bool pci_present(void)
{
	return !cmdline_has("nopci");
}

static bool pci_visit(unsigned fn, void *arg)
{
	uint8_t line = (uint8_t)mix(fn, *(uint32_t *)arg);

	CHECK(pci.n < FUNCTIONS);
	if (fn)
		pci_write(fn, PCI_LINE, 1, line);
	for (unsigned i = 0; i < 64; i++)
		pci.config[pci.n][i] = pci_read(fn, i * 4, 4);
	pci.fn[pci.n++] = fn;
	return false;
}

/* Configuration space as it is, and the address that the next access to the data port will use */
static void pci_build(uint32_t generation)
{
	pci.n = 0;
	pci_each(pci_visit, &generation);
	CHECK(pci.n);
	pci.address = 1u << 31 | (generation % 64) << 2;
	outl(PORT_PCI_ADDRESS, pci.address);
}

static void pci_verify(uint32_t generation)
{
	(void)generation;
	CHECK(inl(PORT_PCI_ADDRESS) == pci.address);
	for (unsigned k = 0; k < pci.n; k++)
		for (unsigned i = 0; i < 64; i++) {
			uint32_t v = pci_read(pci.fn[k], i * 4, 4);

			if (v != pci.config[k][i])
				guest_fail("pci function %x register %x: 0x%x became 0x%x",
					   pci.fn[k], i * 4, pci.config[k][i], v);
		}
}

const struct item pci_item = {
	.name = "pci",
	.present = pci_present,
	.build = pci_build,
	.verify = pci_verify,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The first serial port (16550A, polled) and formatted output to it. */
#include "guest.h"

enum {
	UART_RBR = 0,
	UART_THR = 0,
	UART_IER = 1,
	UART_FCR = 2,
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	LSR_DATA = 1 << 0,
	LSR_THR_EMPTY = 1 << 5,
	LSR_IDLE = 1 << 6,
	FIFO_BYTES = 16,
};

static unsigned fifo_room; /* bytes that surely fit: spares a look at the register for each */

void serial_init(void)
{
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_LCR, 3); /* 8 data bits, no parity, 1 stop bit */
	outb(COM1 + UART_FCR, 1); /* on, not cleared: input may be waiting already */
	outb(COM1 + UART_MCR, 3); /* DTR, RTS */
	fifo_room = 0;
}

void serial_put(char c)
{
	if (!fifo_room) {
		while (!(inb(COM1 + UART_LSR) & LSR_THR_EMPTY))
			cpu_relax();
		fifo_room = FIFO_BYTES;
	}
	fifo_room--;
	outb(COM1 + UART_THR, (uint8_t)c);
}

int serial_get(void)
{
	return inb(COM1 + UART_LSR) & LSR_DATA ? inb(COM1 + UART_RBR) : -1;
}

void serial_flush(void)
{
	while (!(inb(COM1 + UART_LSR) & LSR_IDLE))
		cpu_relax();
	fifo_room = 0;
}

static void print_number(uint64_t v, unsigned base, bool negative, unsigned width, char pad)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	if (negative)
		digits[n++] = '-';
	for (; width > n; width--)
		serial_put(pad);
	while (n)
		serial_put(digits[--n]);
}

/* %s %c %d %u %x with width, zero padding and l; enough for the programs here */
static void print_list(const char *f, va_list ap)
{
	for (; *f; f++) {
		unsigned width = 0;
		bool wide = false;
		char pad = ' ';
		int64_t v;

		if (*f != '%') {
			serial_put(*f);
			continue;
		}
		if (*++f == '0')
			pad = *f++;
		for (; *f >= '0' && *f <= '9'; f++)
			width = width * 10 + (unsigned)(*f - '0');
		for (; *f == 'l' || *f == 'z'; f++)
			wide = true;
		switch (*f) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				serial_put(*s);
			break;
		case 'c':
			serial_put((char)va_arg(ap, int));
			break;
		case 'd':
			v = wide ? va_arg(ap, int64_t) : va_arg(ap, int);
			print_number(v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0, width, pad);
			break;
		case 'u':
		case 'x':
			v = wide ? va_arg(ap, int64_t) : va_arg(ap, unsigned);
			print_number((uint64_t)v, *f == 'u' ? 10 : 16, false, width, pad);
			break;
		default:
			serial_put(*f);
		}
	}
}

void print(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_list(format, ap);
	va_end(ap);
}

void guest_fail(const char *format, ...)
{
	va_list ap;

	print("%s: FAIL ", guest_name);
	va_start(ap, format);
	print_list(format, ap);
	va_end(ap);
	print("\n");
	serial_flush();
	power_off(1);
}

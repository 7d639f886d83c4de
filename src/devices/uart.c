/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first serial port of a PC: a 16550A with both FIFOs, all its interrupts, loopback and
 * modem signals as of a peer that is always ready.  A character takes no time on the line, so
 * the transmitter is empty again at once, unless the host refuses output: then characters wait
 * in the FIFO, THRE and TEMT stay clear, and nothing is lost.  In the other direction the host
 * keeps what the receiver has no room for.
 *
 * Left out: parity, framing and break, which no character device delivers; the DMA signals;
 * the shift registers, and with them the difference between THRE and TEMT.
 *
 * Source: National Semiconductor PC16550D, June 1995; IBM PC AT Technical Reference, serial
 * adapter, for OUT2.
 */
#include <errno.h>

#include "bits.h"
#include "hub.h"
#include "log.h"
#include "platform.h"
#include "vm.h"

enum { UART_PORTS = 8, UART_FIFO_BYTES = 16, UART_BAUD_BASE = 115200 };

enum uart_register { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

enum {
	IER_RECEIVED = 1 << 0,
	IER_THRE = 1 << 1,
	IER_LINE = 1 << 2,
	IER_MODEM = 1 << 3,
	IER_BITS = 0x0f,

	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_THRE = 0x02,
	IIR_RECEIVED = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFOS = 0xc0,

	FCR_ENABLE = 1 << 0,
	FCR_CLEAR_RX = 1 << 1,
	FCR_CLEAR_TX = 1 << 2,
	FCR_TRIGGER_SHIFT = 6,

	LCR_LENGTH = 3 << 0, /* 5 bits and this many more */
	LCR_STOP = 1 << 2,
	LCR_PARITY = 1 << 3,
	LCR_DLAB = 1 << 7,

	MCR_DTR = 1 << 0,
	MCR_RTS = 1 << 1,
	MCR_OUT1 = 1 << 2,
	MCR_OUT2 = 1 << 3,
	MCR_LOOP = 1 << 4,
	MCR_BITS = 0x1f,

	LSR_DR = 1 << 0,
	LSR_OE = 1 << 1,
	LSR_THRE = 1 << 5,
	LSR_TEMT = 1 << 6,

	MSR_RI_DELTA = 1 << 2, /* only the trailing edge counts */
	MSR_DELTAS = 0x0f,
	MSR_CTS = 1 << 4,
	MSR_DSR = 1 << 5,
	MSR_RI = 1 << 6,
	MSR_DCD = 1 << 7,
};

struct uart_state {
	uint32_t rx_count, tx_count;
	uint8_t rx[UART_FIFO_BYTES], tx[UART_FIFO_BYTES]; /* oldest first */
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	uint8_t msr_deltas;
	uint8_t trigger; /* FCR bits 7:6 */
	bool fifos; /* FCR bit 0 */
	bool overrun;
	bool thre_pending; /* the transmitter became empty and nobody has looked */
	bool timeout; /* the receiver was left alone for four characters */
};

struct uart {
	struct device dev;
	struct uart_state s;
	struct chardev_config config;
	struct hub *host;
	struct irq_line line;
	struct timer idle; /* set while the four characters run */
	bool idle_runs;
	bool running;
};

static const struct state_field uart_fields[] = {
	STATE_COUNTED(struct uart_state, rx, rx_count),
	STATE_COUNTED(struct uart_state, tx, tx_count),
	STATE(struct uart_state, ier, .max = IER_BITS),
	STATE(struct uart_state, lcr),
	STATE(struct uart_state, mcr, .max = MCR_BITS),
	STATE(struct uart_state, scr),
	STATE(struct uart_state, dll),
	STATE(struct uart_state, dlm),
	STATE(struct uart_state, msr_deltas, .max = MSR_DELTAS),
	STATE(struct uart_state, trigger, .max = 3),
	STATE(struct uart_state, fifos),
	STATE(struct uart_state, overrun),
	STATE(struct uart_state, thre_pending),
	STATE(struct uart_state, timeout),
};
static const struct state_desc uart_desc = STATE_DESC(struct uart_state, "uart", 1, 1, uart_fields);

static unsigned uart_capacity(const struct uart *u)
{
	return u->s.fifos ? UART_FIFO_BYTES : 1;
}

static unsigned uart_trigger(const struct uart *u)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return u->s.fifos ? level[u->s.trigger] : 1;
}

/* Received characters that are too few to be announced now. */
static bool uart_holds_few(const struct uart *u)
{
	return u->s.rx_count && u->s.rx_count < uart_trigger(u);
}

/* The interrupt of highest priority: PC16550D, table IV. */
static uint8_t uart_pending(const struct uart *u)
{
	if ((u->s.ier & IER_LINE) && u->s.overrun)
		return IIR_LINE;
	if ((u->s.ier & IER_RECEIVED) && u->s.rx_count >= uart_trigger(u))
		return IIR_RECEIVED;
	if ((u->s.ier & IER_RECEIVED) && u->s.timeout)
		return IIR_TIMEOUT;
	if ((u->s.ier & IER_THRE) && u->s.thre_pending)
		return IIR_THRE;
	if ((u->s.ier & IER_MODEM) && u->s.msr_deltas)
		return IIR_MODEM;
	return IIR_NONE;
}

/* On a PC, OUT2 opens the gate to the interrupt line; loopback mode turns OUT2 off. */
static void uart_update(struct uart *u)
{
	bool gate = (u->s.mcr & MCR_OUT2) && !(u->s.mcr & MCR_LOOP);

	irq_line_set(&u->line, gate && uart_pending(u) != IIR_NONE);
}

/* Start bit, data, parity and stop bits of four characters. */
static uint64_t uart_four_characters_ns(const struct uart *u)
{
	unsigned bits = 1 + 5 + (u->s.lcr & LCR_LENGTH) + !!(u->s.lcr & LCR_PARITY) +
			(u->s.lcr & LCR_STOP ? 2 : 1);
	unsigned divisor = u->s.dlm << 8 | u->s.dll;

	return UINT64_C(4000000000) * bits * divisor / UART_BAUD_BASE;
}

/* The guest took or reconfigured: the time to the character timeout begins again. */
static void uart_restart_idle(struct uart *u)
{
	u->idle_runs = u->running && uart_holds_few(u) && !u->s.timeout;
	if (u->idle_runs)
		loop_timer_set(u->dev.vm->loop, &u->idle,
			       loop_now_ns() + uart_four_characters_ns(u));
	else
		loop_timer_cancel(u->dev.vm->loop, &u->idle);
}

static void uart_idled(void *arg)
{
	struct uart *u = arg;

	u->idle_runs = false;
	u->s.timeout = true;
	uart_update(u);
}

static void fifo_drop(uint8_t *fifo, uint32_t *count, uint32_t n)
{
	*count -= n;
	memmove(fifo, fifo + n, *count);
	memset(fifo + *count, 0, n);
}

static void uart_clear_rx(struct uart *u)
{
	fifo_drop(u->s.rx, &u->s.rx_count, u->s.rx_count);
	u->s.timeout = false;
}

static void uart_clear_tx(struct uart *u)
{
	if (u->s.tx_count)
		u->s.thre_pending = true;
	fifo_drop(u->s.tx, &u->s.tx_count, u->s.tx_count);
}

static void uart_receive(struct uart *u, uint8_t byte)
{
	if (u->s.rx_count == uart_capacity(u)) {
		u->s.overrun = true;
		/* Without FIFOs the new character replaces the old, with them it is lost. */
		if (!u->s.fifos)
			u->s.rx[0] = byte;
		return;
	}
	u->s.rx[u->s.rx_count++] = byte;
}

/* The host, or the looped line, has nothing more to say: it has been silent for as long as
 * characters take, which is no time. */
static void uart_received_all(struct uart *u)
{
	u->s.timeout = uart_holds_few(u);
	uart_restart_idle(u);
}

static void uart_transmit(struct uart *u)
{
	uint32_t n = u->s.tx_count;

	if (!n)
		return;
	if (u->s.mcr & MCR_LOOP) {
		for (uint32_t i = 0; i < n; i++)
			uart_receive(u, u->s.tx[i]);
		uart_received_all(u);
	} else {
		n = (uint32_t)hub_write(u->host, u->s.tx, n);
	}
	fifo_drop(u->s.tx, &u->s.tx_count, n);
	if (!u->s.tx_count)
		u->s.thre_pending = true;
}

/* From the host: characters for the guest.  In loopback mode the input pin is cut off. */
static size_t uart_from_host(void *arg, const uint8_t *data, size_t len)
{
	struct uart *u = arg;
	size_t n;

	if (!u->running || (u->s.mcr & MCR_LOOP))
		return 0;
	n = MIN(len, uart_capacity(u) - u->s.rx_count);
	for (size_t i = 0; i < n; i++)
		uart_receive(u, data[i]);
	if (n) {
		uart_received_all(u);
		uart_update(u);
	}
	return n;
}

static void uart_host_writable(void *arg)
{
	struct uart *u = arg;

	if (!u->running)
		return;
	uart_transmit(u);
	uart_update(u);
}

static void uart_leave(void *arg)
{
	struct uart *u = arg;

	vm_raise(u->dev.vm, VM_LEAVE);
}

static void uart_more(struct uart *u)
{
	if (u->running)
		hub_more(u->host);
}

static uint8_t uart_read_rbr(struct uart *u)
{
	uint8_t byte = u->s.rx[0];

	if (!u->s.rx_count)
		return 0;
	fifo_drop(u->s.rx, &u->s.rx_count, 1);
	u->s.timeout = false;
	uart_restart_idle(u);
	uart_more(u);
	return byte;
}

static uint8_t uart_read_iir(struct uart *u)
{
	uint8_t pending = uart_pending(u);

	if (pending == IIR_THRE)
		u->s.thre_pending = false;
	return pending | (u->s.fifos ? IIR_FIFOS : 0);
}

static uint8_t uart_read_lsr(struct uart *u)
{
	uint8_t lsr = (u->s.rx_count ? LSR_DR : 0) | (u->s.overrun ? LSR_OE : 0) |
		      (u->s.tx_count ? 0 : LSR_THRE | LSR_TEMT);

	u->s.overrun = false;
	return lsr;
}

/* CTS, DSR, RI and DCD: of a peer that is ready, or in loopback mode our own outputs. */
static uint8_t uart_modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static uint8_t uart_read_msr(struct uart *u)
{
	uint8_t msr = uart_modem_lines(u->s.mcr) | u->s.msr_deltas;

	u->s.msr_deltas = 0;
	return msr;
}

static uint8_t uart_read_register(struct uart *u, enum uart_register reg)
{
	bool dlab = u->s.lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR_DLL:
		return dlab ? u->s.dll : uart_read_rbr(u);
	case IER_DLM:
		return dlab ? u->s.dlm : u->s.ier;
	case IIR_FCR:
		return uart_read_iir(u);
	case LCR:
		return u->s.lcr;
	case MCR:
		return u->s.mcr;
	case LSR:
		return uart_read_lsr(u);
	case MSR:
		return uart_read_msr(u);
	default:
		return u->s.scr;
	}
}

static uint64_t uart_read(void *dev, uint64_t offset, unsigned size)
{
	struct uart *u = dev;
	uint8_t value = uart_read_register(u, (enum uart_register)offset);

	(void)size;
	uart_update(u);
	return value;
}

static void uart_write_thr(struct uart *u, uint8_t value)
{
	u->s.thre_pending = false;
	if (u->s.tx_count < uart_capacity(u))
		u->s.tx[u->s.tx_count++] = value;
	else if (!u->s.fifos)
		u->s.tx[0] = value;
	uart_transmit(u);
}

static void uart_write_ier(struct uart *u, uint8_t value)
{
	/* Enabling it announces a transmitter that is empty already. */
	if ((value & ~u->s.ier & IER_THRE) && !u->s.tx_count)
		u->s.thre_pending = true;
	u->s.ier = value & IER_BITS;
}

static void uart_write_fcr(struct uart *u, uint8_t value)
{
	bool fifos = value & FCR_ENABLE;
	bool toggled = fifos != u->s.fifos;

	/* The other bits are taken only together with the enable bit. */
	if (toggled || (fifos && (value & FCR_CLEAR_RX)))
		uart_clear_rx(u);
	if (toggled || (fifos && (value & FCR_CLEAR_TX)))
		uart_clear_tx(u);
	u->s.fifos = fifos;
	u->s.trigger = fifos ? value >> FCR_TRIGGER_SHIFT : 0;
	if (!uart_holds_few(u))
		u->s.timeout = false;
	uart_restart_idle(u);
	uart_more(u);
}

static void uart_write_mcr(struct uart *u, uint8_t value)
{
	uint8_t before = uart_modem_lines(u->s.mcr), now;

	u->s.mcr = value & MCR_BITS;
	now = uart_modem_lines(u->s.mcr);
	u->s.msr_deltas |= ((before ^ now) & ~MSR_RI) >> 4;
	if ((before & MSR_RI) && !(now & MSR_RI))
		u->s.msr_deltas |= MSR_RI_DELTA;
	uart_transmit(u);
	uart_more(u);
}

static void uart_write_register(struct uart *u, enum uart_register reg, uint8_t value)
{
	bool dlab = u->s.lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR_DLL:
		if (dlab)
			u->s.dll = value;
		else
			uart_write_thr(u, value);
		break;
	case IER_DLM:
		if (dlab)
			u->s.dlm = value;
		else
			uart_write_ier(u, value);
		break;
	case IIR_FCR:
		uart_write_fcr(u, value);
		break;
	case LCR:
		u->s.lcr = value;
		break;
	case MCR:
		uart_write_mcr(u, value);
		break;
	case SCR:
		u->s.scr = value;
		break;
	case LSR: /* for the factory only */
	case MSR:
		break;
	}
}

static void uart_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct uart *u = dev;

	(void)size;
	uart_write_register(u, (enum uart_register)offset, (uint8_t)value);
	uart_update(u);
}

static const struct region_ops uart_ports = { .read = uart_read, .write = uart_write, .widths = 1 };

static void uart_close_host(void *arg)
{
	struct uart *u = arg;

	hub_free(u->host);
}

static int uart_open_host(struct uart *u, struct err *e)
{
	struct chardev_events events = { .received = uart_from_host,
					 .writable = uart_host_writable,
					 .leave = uart_leave,
					 .arg = u };
	int r = device_claim(&u->dev, uart_close_host, u, e);
	struct vm *vm = u->dev.vm;

	if (r)
		return r;
	r = hub_new(&u->host, &u->config, vm->run_dir, u->dev.id, vm->loop, &events, e);
	if (r)
		return err_prefix(e, r, "%s", u->dev.id);
	u->dev.port = u->host;
	u->dev.host_path = chardev_path(hub_chardev(u->host));
	if (u->dev.host_path)
		log_info("%s: connect to %s", u->dev.id, u->dev.host_path);
	return 0;
}

static int uart_attach(struct device *dev, struct err *e)
{
	struct uart *u = (struct uart *)dev;
	int r;

	u->idle = (struct timer){ .expired = uart_idled, .arg = u };
	r = device_claim_pio(dev, PLATFORM_COM1, UART_PORTS, &uart_ports, e);
	if (!r)
		r = device_claim_irq(dev, PLATFORM_IRQ_COM1, &u->line, e);
	if (!r)
		r = device_claim_timer(dev, &u->idle, e);
	if (!r)
		r = uart_open_host(u, e);
	return r;
}

/* PC16550D, table III; the divisor, undefined there, is what firmware leaves: 9600 baud. */
static void uart_reset(struct device *dev)
{
	struct uart *u = (struct uart *)dev;

	u->s = (struct uart_state){ .dll = 12 };
	uart_restart_idle(u);
	uart_update(u);
}

static void uart_start(struct device *dev)
{
	struct uart *u = (struct uart *)dev;

	u->running = true;
	uart_restart_idle(u);
	uart_transmit(u);
	uart_more(u);
	uart_update(u);
}

/* The four characters are over for a guest that does not run: what is saved does not depend
 * on how much of them has passed. */
static void uart_stop(struct device *dev)
{
	struct uart *u = (struct uart *)dev;

	if (u->idle_runs)
		u->s.timeout = true;
	u->running = false;
	uart_restart_idle(u);
	uart_update(u);
	device_stopped(dev);
}

static int uart_loaded(struct device *dev, struct err *e)
{
	struct uart *u = (struct uart *)dev;

	if (MAX(u->s.rx_count, u->s.tx_count) > uart_capacity(u))
		return err_set(e, -EBADMSG, "%s: more than one character without FIFOs", dev->id);
	if (u->s.timeout && !uart_holds_few(u))
		return err_set(e, -EBADMSG, "%s: a character timeout without characters", dev->id);
	return 0;
}

#define UART_OPTION(name, m, ...)                                                                  \
	{                                                                                          \
		.key = (name), .offset = offsetof(struct uart, config.m), __VA_ARGS__              \
	}

static const struct option uart_options[] = {
	UART_OPTION("mode", mode, .kind = OPTION_ENUM, .names = chardev_mode_names,
		    .fallback = "Null",
		    .help = "where its bytes go: this terminal, a pty, a file, a socket, nowhere"),
	UART_OPTION("file", file, .kind = OPTION_STRING, .help = "append output to this file"),
	UART_OPTION("socket", socket, .kind = OPTION_STRING,
		    .help = "listen at this Unix socket for one client at a time"),
};
static const struct option_table uart_option_table = OPTION_TABLE(uart_options, .first = "mode");

const struct device_class uart_class = {
	.kind = "uart",
	.size = sizeof(struct uart),
	.options = &uart_option_table,
	.state = &uart_desc,
	.state_offset = offsetof(struct uart, s),
	.attach = uart_attach,
	.reset = uart_reset,
	.start = uart_start,
	.stop = uart_stop,
	.loaded = uart_loaded,
};

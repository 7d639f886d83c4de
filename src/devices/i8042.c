/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller of a PC with nothing plugged into it: what a guest needs to reset
 * the machine through it, and answers to everything else that end a driver's probe at once
 * instead of letting it run into its time limits.  There is no auxiliary port.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device
 * controller.
 */
#include "bits.h"
#include "platform.h"
#include "vm.h"

enum { I8042_DATA = PLATFORM_I8042, I8042_COMMAND = PLATFORM_I8042 + 4 };

enum {
	STATUS_FULL = 1 << 0, /* there is a byte to read */
	STATUS_SYSTEM = 1 << 2, /* as bit 2 of the control byte */
	STATUS_COMMAND = 1 << 3, /* the last write was a command */
	STATUS_UNLOCKED = 1 << 4,
	STATUS_TIMEOUT = 1 << 6, /* the keyboard did not answer */

	CONTROL_IRQ = 1 << 0,
	CONTROL_SYSTEM = 1 << 2,
	CONTROL_KEYBOARD_OFF = 1 << 4,
	CONTROL_AUX_OFF = 1 << 5,

	OUTPUT_NO_RESET = 1 << 0,
	OUTPUT_A20 = 1 << 1,

	TEST_PASSED = 0x55,
	LINE_PASSED = 0x00,
	LINE_CLOCK_LOW = 0x01, /* as of a port that is not there */
	RESEND = 0xfe, /* for a device that does not answer */
};

enum i8042_command {
	READ_CONTROL = 0x20,
	WRITE_CONTROL = 0x60,
	AUX_OFF = 0xa7,
	AUX_ON = 0xa8,
	TEST_AUX_LINE = 0xa9,
	SELF_TEST = 0xaa,
	TEST_KEYBOARD_LINE = 0xab,
	KEYBOARD_OFF = 0xad,
	KEYBOARD_ON = 0xae,
	READ_OUTPUT_PORT = 0xd0,
	WRITE_OUTPUT_PORT = 0xd1,
	LOOP_KEYBOARD = 0xd2,
	LOOP_AUX = 0xd3,
	WRITE_AUX = 0xd4,
	PULSE = 0xf0, /* to 0xff: output lines whose bit is 0 go low for a moment */
};

struct i8042_state {
	uint8_t control;
	uint8_t command; /* that waits for its data byte, else 0 */
	uint8_t output;
	bool full; /* output has not been read */
	bool timeout;
	bool last_was_command;
};

struct i8042 {
	struct device dev;
	struct i8042_state s;
	struct irq_line line;
};

static const struct state_field i8042_fields[] = {
	STATE(struct i8042_state, control), STATE(struct i8042_state, command),
	STATE(struct i8042_state, output),  STATE(struct i8042_state, full),
	STATE(struct i8042_state, timeout), STATE(struct i8042_state, last_was_command),
};
static const struct state_desc i8042_desc = STATE_DESC(struct i8042_state, "i8042", 1, 1,
						       i8042_fields);

static void i8042_update(struct i8042 *k)
{
	irq_line_set(&k->line, k->s.full && (k->s.control & CONTROL_IRQ));
}

static void i8042_answer(struct i8042 *k, uint8_t byte, bool timeout)
{
	k->s.output = byte;
	k->s.full = true;
	k->s.timeout = timeout;
}

static void i8042_set_output_port(struct i8042 *k, uint8_t value)
{
	if (!(value & OUTPUT_NO_RESET))
		vm_raise(k->dev.vm, VM_RESET);
}

static void i8042_begin(struct i8042 *k, uint8_t command)
{
	k->s.command = 0;
	switch (command) {
	case READ_CONTROL:
		i8042_answer(k, k->s.control, false);
		break;
	case AUX_OFF:
		k->s.control |= CONTROL_AUX_OFF;
		break;
	case AUX_ON:
		k->s.control &= (uint8_t)~CONTROL_AUX_OFF;
		break;
	case TEST_AUX_LINE:
		i8042_answer(k, LINE_CLOCK_LOW, false);
		break;
	case SELF_TEST:
		k->s.control |= CONTROL_SYSTEM;
		i8042_answer(k, TEST_PASSED, false);
		break;
	case TEST_KEYBOARD_LINE:
		i8042_answer(k, LINE_PASSED, false);
		break;
	case KEYBOARD_OFF:
		k->s.control |= CONTROL_KEYBOARD_OFF;
		break;
	case KEYBOARD_ON:
		k->s.control &= (uint8_t)~CONTROL_KEYBOARD_OFF;
		break;
	case READ_OUTPUT_PORT:
		i8042_answer(k, OUTPUT_NO_RESET | OUTPUT_A20, false);
		break;
	case WRITE_CONTROL:
	case WRITE_OUTPUT_PORT:
	case LOOP_KEYBOARD:
	case LOOP_AUX:
	case WRITE_AUX:
		k->s.command = command;
		break;
	case PULSE ... 0xff:
		i8042_set_output_port(k, command);
		break;
	}
}

static void i8042_finish(struct i8042 *k, uint8_t value)
{
	uint8_t command = k->s.command;

	k->s.command = 0;
	switch (command) {
	case WRITE_CONTROL:
		k->s.control = value;
		break;
	case WRITE_OUTPUT_PORT:
		i8042_set_output_port(k, value);
		break;
	case LOOP_KEYBOARD:
	case LOOP_AUX: /* comes back without the auxiliary port's mark */
		i8042_answer(k, value, false);
		break;
	default: /* for the keyboard or what should be on the auxiliary port */
		i8042_answer(k, RESEND, true);
	}
}

static uint64_t i8042_read_data(void *dev, uint64_t offset, unsigned size)
{
	struct i8042 *k = dev;

	(void)offset;
	(void)size;
	k->s.full = k->s.timeout = false;
	i8042_update(k);
	return k->s.output;
}

static void i8042_write_data(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = dev;

	(void)offset;
	(void)size;
	k->s.last_was_command = false;
	i8042_finish(k, (uint8_t)value);
	i8042_update(k);
}

/* The input buffer is never full: a byte is taken as it comes. */
static uint64_t i8042_read_status(void *dev, uint64_t offset, unsigned size)
{
	const struct i8042 *k = dev;

	(void)offset;
	(void)size;
	return STATUS_UNLOCKED | (k->s.full ? STATUS_FULL : 0) |
	       (k->s.control & CONTROL_SYSTEM ? STATUS_SYSTEM : 0) |
	       (k->s.last_was_command ? STATUS_COMMAND : 0) | (k->s.timeout ? STATUS_TIMEOUT : 0);
}

static void i8042_write_command(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = dev;

	(void)offset;
	(void)size;
	k->s.last_was_command = true;
	i8042_begin(k, (uint8_t)value);
	i8042_update(k);
}

static const struct region_ops i8042_data = { .read = i8042_read_data,
					      .write = i8042_write_data,
					      .widths = 1 };
static const struct region_ops i8042_command = { .read = i8042_read_status,
						 .write = i8042_write_command,
						 .widths = 1 };

static int i8042_attach(struct device *dev, struct err *e)
{
	struct i8042 *k = (struct i8042 *)dev;
	int r = device_claim_pio(dev, I8042_DATA, 1, &i8042_data, e);

	if (!r)
		r = device_claim_pio(dev, I8042_COMMAND, 1, &i8042_command, e);
	if (!r)
		r = device_claim_irq(dev, PLATFORM_IRQ_I8042, &k->line, e);
	return r;
}

static void i8042_reset(struct device *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	k->s = (struct i8042_state){ .control = CONTROL_SYSTEM | CONTROL_AUX_OFF };
	i8042_update(k);
}

static void i8042_start(struct device *dev)
{
	i8042_update((struct i8042 *)dev);
}

const struct device_class i8042_class = {
	.kind = "i8042",
	.size = sizeof(struct i8042),
	.state = &i8042_desc,
	.state_offset = offsetof(struct i8042, s),
	.attach = i8042_attach,
	.reset = i8042_reset,
	.start = i8042_start,
};

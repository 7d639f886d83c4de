/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real-time clock and CMOS RAM of a PC.  The clock shows the host's time in UTC plus an
 * offset, which the guest changes by setting the clock; it goes on while the VM is stopped, as
 * on a battery.  While the guest holds the clock (SET, or the divider in reset) the time is
 * what the registers say.  A new second begins with the host's: up to half a second from where
 * the chip would begin it.
 *
 * Left out: the periodic interrupt (PF never comes), square wave and daylight saving.  Update
 * and alarm flags come when register C is read, and by a timer only while their interrupt is
 * enabled.
 *
 * Source: Motorola MC146818A, 1984; century at 0x32 as ACPI 6.4, 5.2.9 announces it.
 */
#include <errno.h>
#include <time.h>

#include "bits.h"
#include "platform.h"
#include "vm.h"

enum { CMOS_INDEX, CMOS_DATA, CMOS_PORTS };
enum { CMOS_BYTES = 128 };

enum cmos_register {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY, /* 1 is Sunday */
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = 0x32,
};

enum {
	INDEX_BITS = 0x7f, /* bit 7 masks NMIs on a PC, and there are none */
	A_UIP = 1 << 7,
	A_DIVIDER = 7 << 4,
	A_DIVIDER_RESET = 6 << 4, /* and 7 */
	A_POWER_ON = 0x26, /* 32768 Hz */
	B_SET = 1 << 7,
	B_ALARM = 1 << 5,
	B_UPDATE = 1 << 4,
	B_BINARY = 1 << 2,
	B_24H = 1 << 1,
	C_IRQ = 1 << 7,
	C_ALARM = B_ALARM,
	C_UPDATE = B_UPDATE,
	C_BITS = C_IRQ | C_ALARM | C_UPDATE,
	D_VALID = 1 << 7,
	HOURS_PM = 1 << 7,
	ALARM_ANY = 3 << 6, /* "don't care" */
};

enum {
	SECOND_NS = 1000000000,
	UPDATE_NS = 244000 + 1984000, /* UIP is up that long: MC146818A, table 6 */
	DAY_S = 86400,
	YEARS = 10000, /* that four digits show */
};

/* More than any content of the registers leads to: some 31,000 years. */
#define CMOS_OFFSET_MAX INT64_C(1000000000000)

struct cmos_state {
	uint64_t offset_s; /* two's complement, to the host's clock */
	uint8_t ram[CMOS_BYTES]; /* time registers: only while the clock is held, else 0 */
	uint8_t index;
	uint8_t weekday_shift; /* from the weekday of the date */
	uint64_t seen_s; /* the device's when it stopped; 0: not yet */
};

struct cmos {
	struct device dev;
	struct cmos_state s;
	struct irq_line line;
	struct timer second;
	bool running;
	int64_t seen_s; /* the second up to which updates and alarms are in register C */
};

static const struct state_field cmos_fields[] = {
	STATE(struct cmos_state, offset_s),
	STATE_ARRAY(struct cmos_state, ram),
	STATE(struct cmos_state, index, .max = INDEX_BITS),
	STATE(struct cmos_state, weekday_shift, .max = 6),
	STATE(struct cmos_state, seen_s, .since = 2, .spare = true),
};
static const struct state_desc cmos_desc = STATE_DESC(struct cmos_state, "cmos", 2, 1, cmos_fields);

static bool cmos_is_time(unsigned reg)
{
	return reg == SECONDS || reg == MINUTES || reg == HOURS ||
	       (reg >= WEEKDAY && reg <= YEAR) || reg == CENTURY;
}

/* The time registers do not advance. */
static bool cmos_is_held(const struct cmos *c)
{
	return (c->s.ram[REG_B] & B_SET) || (c->s.ram[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

static uint64_t cmos_host_ns(const struct cmos *c)
{
	return vm_wall_clock_ns(c->dev.vm);
}

static int64_t cmos_guest_s(const struct cmos *c)
{
	return (int64_t)(cmos_host_ns(c) / SECOND_NS + c->s.offset_s);
}

static uint8_t encode(const struct cmos *c, int value)
{
	return (uint8_t)(c->s.ram[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct cmos *c, uint8_t value)
{
	return c->s.ram[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hours(const struct cmos *c, int hours)
{
	if (c->s.ram[REG_B] & B_24H)
		return encode(c, hours);
	return encode(c, (hours + 11) % 12 + 1) | (hours >= 12 ? HOURS_PM : 0);
}

static int decode_hours(const struct cmos *c, uint8_t value)
{
	if (c->s.ram[REG_B] & B_24H)
		return decode(c, value);
	return decode(c, value & ~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

static uint8_t cmos_encode(const struct cmos *c, const struct tm *t, unsigned reg)
{
	int year = ((t->tm_year + 1900) % YEARS + YEARS) % YEARS;

	switch (reg) {
	case SECONDS:
		return encode(c, t->tm_sec);
	case MINUTES:
		return encode(c, t->tm_min);
	case HOURS:
		return encode_hours(c, t->tm_hour);
	case WEEKDAY:
		return encode(c, (t->tm_wday + c->s.weekday_shift) % 7 + 1);
	case DAY:
		return encode(c, t->tm_mday);
	case MONTH:
		return encode(c, t->tm_mon + 1);
	case YEAR:
		return encode(c, year % 100);
	default:
		return encode(c, year / 100);
	}
}

static struct tm cmos_time(const struct cmos *c)
{
	time_t s = cmos_guest_s(c);
	struct tm t = { 0 };

	gmtime_r(&s, &t);
	return t;
}

/* The clock stops: the registers hold what it showed. */
static void cmos_hold(struct cmos *c)
{
	struct tm t = cmos_time(c);

	for (unsigned reg = 0; reg < CMOS_BYTES; reg++)
		if (cmos_is_time(reg))
			c->s.ram[reg] = cmos_encode(c, &t, reg);
}

/* The clock goes on from the registers; values that are no time carry over, as in timegm(). */
static void cmos_release(struct cmos *c)
{
	const uint8_t *r = c->s.ram;
	struct tm t = {
		.tm_sec = decode(c, r[SECONDS]),
		.tm_min = decode(c, r[MINUTES]),
		.tm_hour = decode_hours(c, r[HOURS]),
		.tm_mday = decode(c, r[DAY]),
		.tm_mon = decode(c, r[MONTH]) - 1,
		.tm_year = decode(c, r[CENTURY]) * 100 + decode(c, r[YEAR]) - 1900,
	};
	int64_t s = timegm(&t);

	c->s.weekday_shift = (uint8_t)((decode(c, r[WEEKDAY]) + 6 + 7 - t.tm_wday) % 7);
	c->s.offset_s = (uint64_t)s - cmos_host_ns(c) / SECOND_NS;
	c->seen_s = s;
	for (unsigned reg = 0; reg < CMOS_BYTES; reg++)
		if (cmos_is_time(reg))
			c->s.ram[reg] = 0;
}

static bool alarm_matches(const struct cmos *c, unsigned reg, int value)
{
	uint8_t alarm = c->s.ram[reg];

	if ((alarm & ALARM_ANY) == ALARM_ANY)
		return true;
	return (reg == HOURS_ALARM ? decode_hours(c, alarm) : decode(c, alarm)) == value;
}

static bool alarm_at(const struct cmos *c, int64_t s)
{
	int of_day = (int)(((s % DAY_S) + DAY_S) % DAY_S);

	return alarm_matches(c, SECONDS_ALARM, of_day % 60) &&
	       alarm_matches(c, MINUTES_ALARM, of_day / 60 % 60) &&
	       alarm_matches(c, HOURS_ALARM, of_day / 3600);
}

/* Note in register C what has happened since somebody looked. */
static void cmos_catch_up(struct cmos *c)
{
	int64_t now = cmos_guest_s(c);
	/* The alarm repeats every day at the latest. */
	int64_t s = MAX(c->seen_s, now - DAY_S);

	if (!cmos_is_held(c) && now > c->seen_s) {
		c->s.ram[REG_C] |= C_UPDATE;
		while (s < now)
			if (alarm_at(c, ++s)) {
				c->s.ram[REG_C] |= C_ALARM;
				break;
			}
	}
	c->seen_s = now;
}

static void cmos_update_irq(struct cmos *c)
{
	uint8_t *r = c->s.ram;

	r[REG_C] &= (uint8_t)~C_IRQ;
	if (r[REG_B] & r[REG_C])
		r[REG_C] |= C_IRQ;
	irq_line_set(&c->line, r[REG_C] & C_IRQ);
}

/* The timer runs to the next second while an interrupt may come then. */
static void cmos_update_timer(struct cmos *c)
{
	struct loop *l = c->dev.vm->loop;
	uint64_t left_ns = SECOND_NS - cmos_host_ns(c) % SECOND_NS;

	if (c->running && (c->s.ram[REG_B] & (B_ALARM | B_UPDATE)) && !cmos_is_held(c))
		loop_timer_set(l, &c->second, loop_now_ns() + left_ns);
	else
		loop_timer_cancel(l, &c->second);
}

static void cmos_second(void *arg)
{
	struct cmos *c = arg;

	cmos_catch_up(c);
	cmos_update_irq(c);
	cmos_update_timer(c);
}

static uint8_t cmos_read_a(const struct cmos *c)
{
	bool updating = cmos_host_ns(c) % SECOND_NS >= SECOND_NS - UPDATE_NS;

	return c->s.ram[REG_A] | (updating && !cmos_is_held(c) ? A_UIP : 0);
}

static uint8_t cmos_read_c(struct cmos *c)
{
	uint8_t value;

	cmos_catch_up(c);
	value = c->s.ram[REG_C];
	if (value & c->s.ram[REG_B])
		value |= C_IRQ;
	c->s.ram[REG_C] = 0;
	cmos_update_irq(c);
	return value;
}

static uint8_t cmos_read_data(struct cmos *c)
{
	unsigned reg = c->s.index;
	struct tm t;

	if (cmos_is_time(reg) && !cmos_is_held(c)) {
		t = cmos_time(c);
		return cmos_encode(c, &t, reg);
	}
	if (reg == REG_A)
		return cmos_read_a(c);
	if (reg == REG_C)
		return cmos_read_c(c);
	return c->s.ram[reg];
}

/* Registers A and B decide whether the clock is held. */
static void cmos_write_control(struct cmos *c, unsigned reg, uint8_t value)
{
	bool was_held = cmos_is_held(c);

	if (reg == REG_A)
		value &= (uint8_t)~A_UIP;
	else if (value & ~c->s.ram[REG_B] & B_SET)
		value &= (uint8_t)~B_UPDATE; /* cleared as SET goes up */
	/* An interrupt enabled now is for what happens from now on. */
	if (reg == REG_B && (value & ~c->s.ram[REG_B] & (B_ALARM | B_UPDATE)))
		c->seen_s = cmos_guest_s(c);
	c->s.ram[reg] = value;
	if (cmos_is_held(c) && !was_held)
		cmos_hold(c);
	else if (was_held && !cmos_is_held(c))
		cmos_release(c);
	cmos_update_irq(c);
	cmos_update_timer(c);
}

static void cmos_write_time(struct cmos *c, unsigned reg, uint8_t value)
{
	bool held = cmos_is_held(c);

	if (!held)
		cmos_hold(c);
	c->s.ram[reg] = value;
	if (!held)
		cmos_release(c);
}

static void cmos_write_data(struct cmos *c, uint8_t value)
{
	unsigned reg = c->s.index;

	if (cmos_is_time(reg)) {
		cmos_write_time(c, reg, value);
	} else if (reg == REG_A || reg == REG_B) {
		cmos_write_control(c, reg, value);
	} else if (reg != REG_C && reg != REG_D) {
		c->s.ram[reg] = value;
		/* A new alarm has not been in the past. */
		if (reg <= HOURS_ALARM)
			c->seen_s = cmos_guest_s(c);
	}
}

static uint64_t cmos_read(void *dev, uint64_t offset, unsigned size)
{
	(void)size;
	return offset == CMOS_DATA ? cmos_read_data(dev) : 0xff; /* the index is write-only */
}

static void cmos_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct cmos *c = dev;

	(void)size;
	if (offset == CMOS_INDEX)
		c->s.index = value & INDEX_BITS;
	else
		cmos_write_data(c, (uint8_t)value);
}

static const struct region_ops cmos_ports = { .read = cmos_read, .write = cmos_write, .widths = 1 };

static int cmos_attach(struct device *dev, struct err *e)
{
	struct cmos *c = (struct cmos *)dev;
	int r;

	c->second = (struct timer){ .expired = cmos_second, .arg = c };
	r = device_claim_pio(dev, PLATFORM_CMOS, CMOS_PORTS, &cmos_ports, e);
	if (!r)
		r = device_claim_irq(dev, PLATFORM_IRQ_RTC, &c->line, e);
	if (!r)
		r = device_claim_timer(dev, &c->second, e);
	return r;
}

static void cmos_reset(struct device *dev)
{
	struct cmos *c = (struct cmos *)dev;

	c->s = (struct cmos_state){
		.ram = { [REG_A] = A_POWER_ON, [REG_B] = B_24H, [REG_D] = D_VALID }
	};
	c->seen_s = cmos_guest_s(c);
	cmos_update_irq(c);
}

static void cmos_start(struct device *dev)
{
	struct cmos *c = (struct cmos *)dev;

	c->running = true;
	cmos_update_irq(c);
	cmos_update_timer(c);
}

static void cmos_stop(struct device *dev)
{
	struct cmos *c = (struct cmos *)dev;

	c->running = false;
	cmos_update_timer(c);
	c->s.seen_s = (uint64_t)c->seen_s;
	device_stopped(dev);
}

static int cmos_loaded(struct device *dev, struct err *e)
{
	struct cmos *c = (struct cmos *)dev;
	const struct cmos_state *s = &c->s;
	int64_t offset = (int64_t)s->offset_s;

	if (offset > CMOS_OFFSET_MAX || offset < -CMOS_OFFSET_MAX)
		return err_set(e, -EBADMSG, "%s: the clock is off by more than it can show",
			       dev->id);
	if ((s->ram[REG_A] & A_UIP) || (s->ram[REG_C] & ~C_BITS) || s->ram[REG_D] != D_VALID)
		return err_set(e, -EBADMSG, "%s: a register has bits that the chip has not",
			       dev->id);
	/* What was due in between comes now.  The other host's clock may have been ahead. */
	c->seen_s = cmos_guest_s(c);
	if (s->seen_s)
		c->seen_s = MIN(c->seen_s, (int64_t)s->seen_s);
	return 0;
}

const struct device_class cmos_class = {
	.kind = "cmos",
	.size = sizeof(struct cmos),
	.state = &cmos_desc,
	.state_offset = offsetof(struct cmos, s),
	.attach = cmos_attach,
	.reset = cmos_reset,
	.start = cmos_start,
	.stop = cmos_stop,
	.loaded = cmos_loaded,
};

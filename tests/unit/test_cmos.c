/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "device_fixture.h"
#include "platform.h"

extern const struct device_class cmos_class;

enum { A = 0x0a, B = 0x0b, C = 0x0c, D = 0x0d, CENTURY = 0x32 };
enum { SET = 0x80, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };

/* 2024-02-29 (a Thursday) 23:59:58 UTC */
#define LEAP_DAY UINT64_C(1709251198)
#define SECOND UINT64_C(1000000000)

static uint64_t now_ns = LEAP_DAY * SECOND;

static uint64_t test_clock(void)
{
	return now_ns;
}

static void open_cmos(struct fixture *f)
{
	fixture_open(f, &cmos_class, NULL);
	fixture_stop(f);
	f->vm.wall_clock_ns = test_clock;
	device_reset(f->dev);
	device_start(f->dev);
}

static uint8_t get(struct fixture *f, uint8_t reg)
{
	out8(f, PLATFORM_CMOS, reg);
	return in8(f, PLATFORM_CMOS + 1);
}

static void set(struct fixture *f, uint8_t reg, uint8_t value)
{
	out8(f, PLATFORM_CMOS, reg);
	out8(f, PLATFORM_CMOS + 1, value);
}

static void assert_time(struct fixture *f, uint8_t century, uint8_t year, uint8_t month,
			uint8_t day, uint8_t hour, uint8_t minute, uint8_t second)
{
	ck_assert_uint_eq(get(f, CENTURY), century);
	ck_assert_uint_eq(get(f, 9), year);
	ck_assert_uint_eq(get(f, 8), month);
	ck_assert_uint_eq(get(f, 7), day);
	ck_assert_uint_eq(get(f, 4), hour);
	ck_assert_uint_eq(get(f, 2), minute);
	ck_assert_uint_eq(get(f, 0), second);
}

START_TEST(shows_the_hosts_time)
{
	struct fixture f;

	open_cmos(&f);
	ck_assert_uint_eq(get(&f, A), 0x26);
	ck_assert_uint_eq(get(&f, B), H24);
	ck_assert_uint_eq(get(&f, D), 0x80);
	ck_assert_uint_eq(in8(&f, PLATFORM_CMOS), 0xff);
	assert_time(&f, 0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58);
	ck_assert_uint_eq(get(&f, 6), 5);
	set(&f, B, BINARY | H24);
	assert_time(&f, 20, 24, 2, 29, 23, 59, 58);
	set(&f, B, BINARY);
	ck_assert_uint_eq(get(&f, 4), 0x80 | 11);
	set(&f, B, 0);
	ck_assert_uint_eq(get(&f, 4), 0x91);
	now_ns += 2 * SECOND;
	set(&f, B, BINARY);
	assert_time(&f, 20, 24, 3, 1, 12, 0, 0);
	ck_assert_uint_eq(get(&f, 6), 6);
	now_ns += 12 * 3600 * SECOND;
	assert_time(&f, 20, 24, 3, 1, 0x80 | 12, 0, 0);
	fixture_close(&f);
}
END_TEST

START_TEST(update_in_progress)
{
	struct fixture f;

	open_cmos(&f);
	ck_assert_uint_eq(get(&f, A) & 0x80, 0);
	now_ns += SECOND - 244000;
	ck_assert_uint_eq(get(&f, A) & 0x80, 0x80);
	set(&f, B, SET | H24);
	ck_assert_uint_eq(get(&f, A) & 0x80, 0);
	set(&f, B, H24);
	now_ns += 244000;
	ck_assert_uint_eq(get(&f, A) & 0x80, 0);
	set(&f, A, 0xff);
	ck_assert_uint_eq(get(&f, A), 0x7f);
	fixture_close(&f);
}
END_TEST

static void set_time(struct fixture *f)
{
	static const uint8_t reg[][2] = {
		{ 0, 0x30 }, { 2, 0x45 }, { 4, 0x12 }, { 6, 0x01 },
		{ 7, 0x31 }, { 8, 0x12 }, { 9, 0x99 }, { CENTURY, 0x19 }
	};

	for (size_t i = 0; i < ARRAY_SIZE(reg); i++)
		set(f, reg[i][0], reg[i][1]);
}

START_TEST(guest_sets_the_time)
{
	struct fixture f;
	uint8_t a;

	open_cmos(&f);
	/* As Linux does: hold, reset the divider, write, let go. */
	set(&f, B, SET | H24);
	a = get(&f, A);
	set(&f, A, a | 0x70);
	now_ns += 5 * SECOND;
	assert_time(&f, 0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58);
	set_time(&f);
	set(&f, B, H24);
	assert_time(&f, 0x19, 0x99, 0x12, 0x31, 0x12, 0x45, 0x30);
	now_ns += 5 * SECOND;
	assert_time(&f, 0x19, 0x99, 0x12, 0x31, 0x12, 0x45, 0x30);
	set(&f, A, a);
	now_ns += 12 * 3600 * SECOND;
	assert_time(&f, 0x20, 0x00, 0x01, 0x01, 0x00, 0x45, 0x30);
	/* The guest called the day before a Sunday. */
	ck_assert_uint_eq(get(&f, 6), 2);
	/* Without holding, one register at a time */
	set(&f, 2, 0x10);
	assert_time(&f, 0x20, 0x00, 0x01, 0x01, 0x00, 0x10, 0x30);
	fixture_close(&f);
}
END_TEST

START_TEST(no_time_is_harmless)
{
	struct fixture f;
	uint32_t x = 1;

	open_cmos(&f);
	for (unsigned i = 0; i < 20000; i++) {
		x = x * 1664525 + 1013904223;
		out8(&f, PLATFORM_CMOS + (x >> 31), (uint8_t)(x >> 16 & (i & 64 ? 0xff : 0x3f)));
		get(&f, (uint8_t)(x >> 8));
		now_ns += x >> 4;
	}
	fixture_stop(&f);
	device_start(f.dev);
	fixture_close(&f);
}
END_TEST

START_TEST(ram_and_read_only_registers)
{
	struct fixture f;

	open_cmos(&f);
	for (uint8_t reg = 0x0e; reg < 0x80; reg++)
		if (reg != CENTURY)
			set(&f, reg | 0x80, reg ^ 0x5a);
	for (uint8_t reg = 0x0e; reg < 0x80; reg++)
		if (reg != CENTURY)
			ck_assert_uint_eq(get(&f, reg), reg ^ 0x5a);
	set(&f, C, 0xff);
	ck_assert_uint_eq(get(&f, C), 0);
	set(&f, D, 0);
	ck_assert_uint_eq(get(&f, D), 0x80);
	fixture_stop(&f);
	device_reset(f.dev);
	device_start(f.dev);
	ck_assert_uint_eq(get(&f, 0x20), 0);
	fixture_close(&f);
}
END_TEST

START_TEST(update_flag_without_interrupt)
{
	struct fixture f;

	open_cmos(&f);
	set(&f, 1, 0x01); /* an alarm at no time soon */
	ck_assert_uint_eq(get(&f, C), 0);
	now_ns += SECOND;
	ck_assert_uint_eq(get(&f, C), UIE);
	ck_assert_uint_eq(get(&f, C), 0);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_RTC));
	set(&f, B, SET | UIE | H24);
	ck_assert_uint_eq(get(&f, B), SET | H24);
	now_ns += SECOND;
	ck_assert_uint_eq(get(&f, C), 0);
	fixture_close(&f);
}
END_TEST

START_TEST(update_interrupt)
{
	struct fixture f, g;
	struct err e;

	open_cmos(&f);
	open_cmos(&g);
	now_ns += SECOND - 2000000;
	set(&f, 1, 0x01);
	set(&f, B, UIE | H24);
	fixture_run_ms(&f, 1);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_RTC));
	now_ns += 2000000;
	fixture_run_ms(&f, 5);
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_RTC));
	ck_assert_int_eq(fixture_move(&g, &f, &e), 0);
	ck_assert(irq_level(&g.vm.irq, PLATFORM_IRQ_RTC));
	ck_assert_uint_eq(get(&g, C), 0x80 | UIE);
	ck_assert(!irq_level(&g.vm.irq, PLATFORM_IRQ_RTC));
	now_ns += SECOND - 1000000;
	set(&g, B, H24);
	now_ns += 1000000;
	fixture_run_ms(&g, 3);
	ck_assert(!irq_level(&g.vm.irq, PLATFORM_IRQ_RTC));
	/* A VM that is stopped does not move; what it missed comes at its start. */
	now_ns += SECOND - 1000000;
	set(&g, B, UIE | H24);
	fixture_stop(&g);
	now_ns += 1000000;
	fixture_run_ms(&g, 3);
	ck_assert(!irq_level(&g.vm.irq, PLATFORM_IRQ_RTC));
	now_ns += SECOND - 1000000;
	device_start(g.dev);
	fixture_run_ms(&g, 3);
	ck_assert(irq_level(&g.vm.irq, PLATFORM_IRQ_RTC));
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

/* Seconds from now until the alarm interrupts, or -1 within a day. */
static int alarm_after(struct fixture *f, uint8_t hour, uint8_t minute, uint8_t second)
{
	get(f, C);
	set(f, B, H24);
	set(f, 5, hour);
	set(f, 3, minute);
	set(f, 1, second);
	set(f, B, AIE | H24);
	for (int s = 0; s < 86400; s += 1) {
		now_ns += SECOND;
		if (get(f, C) & AIE)
			return s + 1;
	}
	return -1;
}

START_TEST(alarm)
{
	struct fixture f;

	open_cmos(&f);
	ck_assert_int_eq(alarm_after(&f, 0x00, 0x01, 0x02), 64); /* from 23:59:58 */
	ck_assert_int_eq(alarm_after(&f, 0xff, 0x01, 0x02), 3600);
	ck_assert_int_eq(alarm_after(&f, 0xff, 0xc0, 0x02), 60);
	ck_assert_int_eq(alarm_after(&f, 0xff, 0xff, 0xff), 1);
	ck_assert_int_eq(alarm_after(&f, 0x24, 0xff, 0xff), -1);
	/* It is found also if nobody looked for long. */
	alarm_after(&f, 0x00, 0x00, 0x00);
	now_ns += (40 * 86400 + 5) * SECOND;
	ck_assert_uint_eq(get(&f, C), 0x80 | AIE | UIE);
	fixture_close(&f);
}
END_TEST

START_TEST(alarm_interrupts)
{
	struct fixture f;

	open_cmos(&f);
	now_ns += SECOND - 1000000;
	set(&f, 5, 0x23);
	set(&f, 3, 0x59);
	set(&f, 1, 0x59);
	set(&f, B, AIE | H24);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_RTC));
	now_ns += 1000000;
	fixture_run_ms(&f, 4);
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_RTC));
	ck_assert_uint_eq(get(&f, C), 0x80 | AIE | UIE);
	fixture_close(&f);
}
END_TEST

START_TEST(moves_with_offset_and_held_time)
{
	struct fixture f, g;
	struct err e;

	open_cmos(&f);
	open_cmos(&g);
	set(&f, B, SET | H24);
	set_time(&f);
	ck_assert_int_eq(fixture_move(&g, &f, &e), 0);
	now_ns += 10 * SECOND;
	set(&g, B, H24);
	assert_time(&g, 0x19, 0x99, 0x12, 0x31, 0x12, 0x45, 0x30);
	device_start(f.dev);
	ck_assert_int_eq(fixture_move(&f, &g, &e), 0);
	now_ns += 10 * SECOND;
	assert_time(&f, 0x19, 0x99, 0x12, 0x31, 0x12, 0x45, 0x40);
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

/* What was due on the way comes after the load, once. */
START_TEST(alarm_due_during_a_move)
{
	struct fixture f, g;
	struct err e;

	open_cmos(&f);
	open_cmos(&g);
	now_ns += SECOND - 1000000;
	set(&f, 5, 0x00);
	set(&f, 3, 0x00);
	set(&f, 1, 0x03);
	set(&f, B, AIE | H24);
	fixture_stop(&f);
	fixture_stop(&g);
	memcpy(device_state(g.dev), device_state(f.dev), g.dev->class->state->size);
	now_ns += 60 * SECOND;
	ck_assert_int_eq(device_loaded(g.dev, &e), 0);
	device_start(g.dev);
	fixture_run_ms(&g, 5);
	ck_assert(irq_level(&g.vm.irq, PLATFORM_IRQ_RTC));
	ck_assert_uint_eq(get(&g, C), 0x80 | AIE | UIE);
	device_start(f.dev);
	now_ns += SECOND;
	ck_assert_int_eq(fixture_move(&f, &g, &e), 0);
	ck_assert_uint_eq(get(&f, C), UIE);
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

START_TEST(refuses_bad_state)
{
	struct fixture f;
	uint8_t good[512], *state;
	struct err e;

	open_cmos(&f);
	fixture_stop(&f);
	state = device_state(f.dev);
	memcpy(good, state, f.dev->class->state->size);
	ck_assert_int_eq(device_loaded(f.dev, &e), 0);
	memset(state, 0x7f, 8); /* offset_s */
	ck_assert_int_eq(device_loaded(f.dev, &e), -EBADMSG);
	memcpy(state, good, f.dev->class->state->size);
	state[8 + D] = 0;
	ck_assert_int_eq(device_loaded(f.dev, &e), -EBADMSG);
	memcpy(state, good, f.dev->class->state->size);
	device_start(f.dev);
	fixture_close(&f);
}
END_TEST

START_TEST(claims_fail_cleanly)
{
	fixture_fail_claims(&cmos_class, NULL, 3);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cmos");
	TCase *t = tcase_create("cmos");

	tcase_add_test(t, shows_the_hosts_time);
	tcase_add_test(t, update_in_progress);
	tcase_add_test(t, guest_sets_the_time);
	tcase_add_test(t, no_time_is_harmless);
	tcase_add_test(t, ram_and_read_only_registers);
	tcase_add_test(t, update_flag_without_interrupt);
	tcase_add_test(t, update_interrupt);
	tcase_add_test(t, alarm);
	tcase_add_test(t, alarm_interrupts);
	tcase_add_test(t, moves_with_offset_and_held_time);
	tcase_add_test(t, alarm_due_during_a_move);
	tcase_add_test(t, refuses_bad_state);
	tcase_add_test(t, claims_fail_cleanly);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

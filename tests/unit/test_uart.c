/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "uart_cable.h"

START_TEST(power_on)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	ck_assert_uint_eq(in8(&f, RBR), 0);
	ck_assert_uint_eq(in8(&f, IER), 0);
	ck_assert_uint_eq(in8(&f, IIR), 0x01);
	ck_assert_uint_eq(in8(&f, LCR), 0);
	ck_assert_uint_eq(in8(&f, MCR), 0);
	ck_assert_uint_eq(in8(&f, LSR), 0x60);
	ck_assert_uint_eq(in8(&f, MSR), 0xb0);
	ck_assert_uint_eq(bus_read(&f.vm.pio, RBR, 2), 0xffff);
	fixture_close(&f);
}
END_TEST

START_TEST(plain_registers)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, SCR, 0xa5);
	out8(&f, LCR, DLAB | 3);
	out8(&f, RBR, 0x12);
	out8(&f, IER, 0x34);
	ck_assert_uint_eq(in8(&f, RBR), 0x12);
	ck_assert_uint_eq(in8(&f, IER), 0x34);
	out8(&f, LCR, 3);
	ck_assert_uint_eq(in8(&f, RBR), 0);
	out8(&f, IER, 0xff);
	ck_assert_uint_eq(in8(&f, IER), 0x0f);
	out8(&f, MCR, 0xff);
	ck_assert_uint_eq(in8(&f, MCR), 0x1f);
	out8(&f, LSR, 0xff);
	ck_assert_uint_eq(in8(&f, LSR), 0x60);
	ck_assert_uint_eq(in8(&f, SCR), 0xa5);
	ck_assert_uint_eq(in8(&f, LCR), 3);
	out8(&f, FCR, 0x01);
	ck_assert_uint_eq(in8(&f, IIR) & 0xf0, 0xc0);
	out8(&f, FCR, 0x00);
	ck_assert_uint_eq(in8(&f, IIR) & 0xf0, 0);
	fixture_close(&f);
}
END_TEST

START_TEST(modem_signals_in_loopback)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, MCR, LOOP);
	ck_assert_uint_eq(in8(&f, MSR), 0x0b); /* all were up but RI */
	ck_assert_uint_eq(in8(&f, MSR), 0x00);
	out8(&f, MCR, LOOP | 0x0a);
	ck_assert_uint_eq(in8(&f, MSR) & 0xf0, 0x90); /* as Linux tests for a UART */
	out8(&f, MCR, LOOP | 0x01);
	ck_assert_uint_eq(in8(&f, MSR), 0x2b);
	out8(&f, MCR, LOOP | 0x05);
	ck_assert_uint_eq(in8(&f, MSR), 0x60); /* RI going up is no event */
	out8(&f, IER, 0x08);
	ck_assert_uint_eq(in8(&f, IIR), 0x01);
	out8(&f, MCR, LOOP | 0x01);
	ck_assert_uint_eq(in8(&f, IIR), 0x00);
	ck_assert_uint_eq(in8(&f, MSR), 0x24); /* RI going down is */
	ck_assert_uint_eq(in8(&f, IIR), 0x01);
	out8(&f, MCR, 0);
	ck_assert_uint_eq(in8(&f, MSR), 0xb9);
	fixture_close(&f);
}
END_TEST

static void loop_text(struct fixture *f, const char *text)
{
	while (*text)
		out8(f, THR, (uint8_t)*text++);
}

START_TEST(priorities)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, MCR, LOOP);
	out8(&f, FCR, TRIGGER_4);
	out8(&f, IER, 0x0f);
	loop_text(&f, "0123456789abcdefX"); /* one too many */
	ck_assert_uint_eq(in8(&f, IIR), 0xc6);
	ck_assert_uint_eq(in8(&f, LSR), 0x63);
	ck_assert_uint_eq(in8(&f, LSR), 0x61);
	for (unsigned i = 0; i < 12; i++) {
		ck_assert_uint_eq(in8(&f, IIR), 0xc4);
		ck_assert_uint_eq(in8(&f, RBR), (uint8_t) "0123456789abcdef"[i]);
	}
	ck_assert_uint_eq(in8(&f, RBR), 'c');
	/* Three left, but not yet for four characters' time */
	ck_assert_uint_eq(in8(&f, IIR), 0xc2);
	ck_assert_uint_eq(in8(&f, IIR), 0xc0);
	ck_assert_uint_eq(in8(&f, MSR) & 0x0f, 0x0b);
	ck_assert_uint_eq(in8(&f, IIR), 0xc1);
	fixture_close(&f);
}
END_TEST

START_TEST(disabled_causes_are_silent)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, MCR, LOOP);
	out8(&f, FCR, TRIGGER_1);
	loop_text(&f, "0123456789abcdefX");
	for (unsigned ier = 0; ier < 16; ier++) {
		uint8_t expected = 0xc1;

		out8(&f, IER, 0);
		out8(&f, IER, (uint8_t)ier);
		if (ier & 4)
			expected = 0xc6;
		else if (ier & 1)
			expected = 0xc4;
		else if (ier & 2)
			expected = 0xc2;
		else if (ier & 8)
			expected = 0xc0;
		ck_assert_uint_eq(in8(&f, IIR), expected);
	}
	fixture_close(&f);
}
END_TEST

START_TEST(trigger_levels)
{
	static const uint8_t fcr[] = { TRIGGER_1, TRIGGER_4, TRIGGER_8, TRIGGER_14 };
	static const unsigned level[] = { 1, 4, 8, 14 };
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, MCR, LOOP);
	out8(&f, IER, 0x01);
	for (unsigned i = 0; i < 4; i++) {
		out8(&f, FCR, fcr[i] | 0x06);
		ck_assert_uint_eq(in8(&f, IIR), 0xc1);
		for (unsigned n = 1; n <= 16; n++) {
			out8(&f, THR, 'x');
			ck_assert_uint_eq(in8(&f, IIR), n < level[i] ? 0xcc : 0xc4);
		}
	}
	fixture_close(&f);
}
END_TEST

START_TEST(without_fifos)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, MCR, LOOP);
	out8(&f, IER, 0x05);
	out8(&f, FCR, 0xc0); /* not taken without the enable bit */
	loop_text(&f, "a");
	ck_assert_uint_eq(in8(&f, IIR), 0x04);
	loop_text(&f, "b");
	ck_assert_uint_eq(in8(&f, IIR), 0x06);
	ck_assert_uint_eq(in8(&f, LSR), 0x63);
	ck_assert_uint_eq(in8(&f, RBR), 'b');
	ck_assert_uint_eq(in8(&f, LSR), 0x60);
	ck_assert_uint_eq(in8(&f, IIR), 0x01);
	/* Changing the mode empties what was there. */
	loop_text(&f, "c");
	out8(&f, FCR, 0x01);
	ck_assert_uint_eq(in8(&f, LSR), 0x60);
	loop_text(&f, "de");
	out8(&f, FCR, 0x03);
	ck_assert_uint_eq(in8(&f, LSR), 0x60);
	fixture_close(&f);
}
END_TEST

START_TEST(out2_gates_the_line)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, IER, 0x02);
	ck_assert(!interrupts(&f));
	out8(&f, MCR, OUT2);
	ck_assert(interrupts(&f));
	out8(&f, MCR, OUT2 | LOOP);
	ck_assert(!interrupts(&f));
	ck_assert_uint_eq(in8(&f, IIR), 0x02);
	out8(&f, IER, 0);
	out8(&f, IER, 0x02);
	out8(&f, MCR, OUT2);
	ck_assert(interrupts(&f));
	out8(&f, IER, 0);
	ck_assert(!interrupts(&f));
	fixture_close(&f);
}
END_TEST

START_TEST(thre_interrupt)
{
	struct fixture f;

	fixture_open(&f, &uart_class, NULL_MODE);
	out8(&f, MCR, OUT2);
	out8(&f, IER, 0x02);
	ck_assert_uint_eq(in8(&f, IIR), 0x02);
	ck_assert(!interrupts(&f));
	ck_assert_uint_eq(in8(&f, IIR), 0x01);
	/* Writing what is enabled already announces nothing. */
	out8(&f, IER, 0x02);
	ck_assert_uint_eq(in8(&f, IIR), 0x01);
	out8(&f, THR, 'x');
	ck_assert(interrupts(&f));
	/* An interrupt of higher priority that is read leaves it. */
	out8(&f, MCR, LOOP);
	out8(&f, IER, 0x03);
	out8(&f, THR, 'y');
	ck_assert_uint_eq(in8(&f, IIR), 0x04);
	ck_assert_uint_eq(in8(&f, RBR), 'y');
	ck_assert_uint_eq(in8(&f, IIR), 0x02);
	fixture_close(&f);
}
END_TEST

START_TEST(output_waits_for_the_host)
{
	static uint8_t sent[1 << 20], received[1 << 20];
	struct cable c;
	size_t n = 0, got = 0;
	ssize_t r;

	cable_open(&c);
	out8(&c.f, FCR, TRIGGER_8);
	out8(&c.f, MCR, OUT2);
	out8(&c.f, IER, 0x02);
	while (in8(&c.f, LSR) & 0x20) {
		ck_assert_uint_lt(n, sizeof(sent) - 32);
		sent[n] = (uint8_t)(n * 7 + n / 256);
		out8(&c.f, THR, sent[n++]);
	}
	ck_assert_uint_eq(in8(&c.f, LSR) & 0x60, 0);
	ck_assert(!interrupts(&c.f));
	for (unsigned i = 0; i < 15; i++) {
		sent[n] = (uint8_t)i;
		out8(&c.f, THR, sent[n++]);
	}
	out8(&c.f, THR, 'X'); /* does not fit */
	fixture_run_ms(&c.f, 1);
	ck_assert_uint_eq(in8(&c.f, LSR) & 0x60, 0);
	while (got < n) {
		r = read(c.fd, received + got, sizeof(received) - got);
		if (r < 0)
			fixture_run_ms(&c.f, 1);
		else
			got += (size_t)r;
	}
	ck_assert_uint_eq(in8(&c.f, LSR) & 0x60, 0x60);
	ck_assert(interrupts(&c.f));
	ck_assert_mem_eq(sent, received, got);
	ck_assert_int_eq(read(c.fd, received, 1), -1);
	cable_close(&c);
}
END_TEST

START_TEST(waiting_output_moves)
{
	struct cable c, d;
	uint8_t data[4096];
	struct err e;
	unsigned i;

	cable_open(&c);
	cable_open(&d);
	out8(&c.f, FCR, TRIGGER_8);
	while (in8(&c.f, LSR) & 0x20)
		out8(&c.f, THR, '.');
	for (i = 0; i < 5; i++)
		out8(&c.f, THR, (uint8_t)('a' + i));
	ck_assert_int_eq(fixture_move(&d.f, &c.f, &e), 0);
	ck_assert_int_eq(read(d.fd, data, sizeof(data)), 6);
	ck_assert_mem_eq(data, ".abcde", 6);
	ck_assert_uint_eq(in8(&d.f, LSR), 0x60);
	/* The guest may throw away what waits. */
	while (in8(&d.f, LSR) & 0x20)
		out8(&d.f, THR, '.');
	out8(&d.f, FCR, TRIGGER_8 | 4);
	ck_assert_uint_eq(in8(&d.f, LSR), 0x60);
	cable_close(&c);
	cable_close(&d);
}
END_TEST

START_TEST(input_waits_for_the_guest)
{
	struct cable c;
	char text[201] = { 0 }, got[201] = { 0 };
	unsigned n = 0;

	cable_open(&c);
	for (unsigned i = 0; i < 200; i++)
		text[i] = (char)('0' + i % 64);
	out8(&c.f, FCR, TRIGGER_14);
	out8(&c.f, MCR, OUT2);
	out8(&c.f, IER, 0x05);
	cable_send(&c, text);
	ck_assert(interrupts(&c.f));
	ck_assert_uint_eq(in8(&c.f, IIR), 0xc4);
	while (in8(&c.f, LSR) & 1) {
		ck_assert_uint_lt(n, 200);
		got[n++] = (char)in8(&c.f, RBR);
		ck_assert_uint_ne(in8(&c.f, IIR), 0xc6);
	}
	ck_assert_str_eq(got, text);
	cable_send(&c, "more");
	ck_assert_uint_eq(in8(&c.f, IIR), 0xcc);
	for (n = 0; in8(&c.f, LSR) & 1; n++)
		ck_assert_uint_eq(in8(&c.f, RBR), (uint8_t) "more"[n]);
	ck_assert_uint_eq(n, 4);
	ck_assert(!interrupts(&c.f));
	cable_close(&c);
}
END_TEST

START_TEST(input_is_cut_off_in_loopback)
{
	struct cable c;

	cable_open(&c);
	out8(&c.f, MCR, LOOP);
	cable_send(&c, "a");
	ck_assert_uint_eq(in8(&c.f, LSR), 0x60);
	out8(&c.f, MCR, 0);
	ck_assert_uint_eq(in8(&c.f, LSR), 0x61);
	ck_assert_uint_eq(in8(&c.f, RBR), 'a');
	cable_close(&c);
}
END_TEST

START_TEST(character_timeout)
{
	struct cable c;

	cable_open(&c);
	out8(&c.f, LCR, DLAB);
	out8(&c.f, RBR, 120); /* 960 baud: four characters of 7 bits, 29 ms */
	out8(&c.f, LCR, 0);
	out8(&c.f, FCR, TRIGGER_8);
	out8(&c.f, MCR, OUT2);
	out8(&c.f, IER, 0x01);
	cable_send(&c, "abc");
	ck_assert(interrupts(&c.f));
	ck_assert_uint_eq(in8(&c.f, IIR), 0xcc);
	ck_assert_uint_eq(in8(&c.f, IIR), 0xcc);
	/* Reading one ends it; the rest is announced when four more would have come. */
	ck_assert_uint_eq(in8(&c.f, RBR), 'a');
	ck_assert(!interrupts(&c.f));
	fixture_run_ms(&c.f, 5);
	ck_assert_uint_eq(in8(&c.f, IIR), 0xc1);
	fixture_run_ms(&c.f, 60);
	ck_assert(interrupts(&c.f));
	ck_assert_uint_eq(in8(&c.f, IIR), 0xcc);
	ck_assert_uint_eq(in8(&c.f, RBR), 'b');
	ck_assert_uint_eq(in8(&c.f, RBR), 'c');
	fixture_run_ms(&c.f, 60);
	ck_assert_uint_eq(in8(&c.f, IIR), 0xc1);
	/* Enough came before the time was up. */
	cable_send(&c, "ab");
	ck_assert_uint_eq(in8(&c.f, RBR), 'a');
	cable_send(&c, "cdefghij");
	fixture_run_ms(&c.f, 60);
	for (const char *p = "bc"; *p; p++)
		ck_assert_uint_eq(in8(&c.f, RBR), (uint8_t)*p);
	ck_assert_uint_eq(in8(&c.f, IIR), 0xc1);
	cable_close(&c);
}
END_TEST

START_TEST(stop_holds_input_and_ends_the_timeout)
{
	struct cable c;

	cable_open(&c);
	out8(&c.f, FCR, TRIGGER_8);
	out8(&c.f, MCR, OUT2);
	out8(&c.f, IER, 0x01);
	cable_send(&c, "abc");
	ck_assert_uint_eq(in8(&c.f, RBR), 'a');
	ck_assert(!interrupts(&c.f));
	fixture_stop(&c.f);
	cable_send(&c, "d");
	ck_assert_uint_eq(*(uint32_t *)device_state(c.f.dev), 2); /* characters received */
	device_start(c.f.dev);
	ck_assert(interrupts(&c.f));
	ck_assert_uint_eq(in8(&c.f, IIR), 0xcc);
	for (const char *p = "bcd"; *p; p++)
		ck_assert_uint_eq(in8(&c.f, RBR), (uint8_t)*p);
	ck_assert_uint_eq(in8(&c.f, LSR), 0x60);
	cable_close(&c);
}
END_TEST

START_TEST(filled_up_before_the_timeout)
{
	struct fixture f, g;
	struct err e;

	fixture_open(&f, &uart_class, NULL_MODE);
	fixture_open(&g, &uart_class, NULL_MODE);
	out8(&f, MCR, LOOP);
	out8(&f, FCR, TRIGGER_4);
	loop_text(&f, "ab");
	in8(&f, RBR);
	loop_text(&f, "cdefg");
	ck_assert_msg(!fixture_move(&g, &f, &e), "%s", e.text);
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

START_TEST(moves)
{
	struct fixture f, g;
	struct err e;

	fixture_open(&f, &uart_class, NULL_MODE);
	fixture_open(&g, &uart_class, NULL_MODE);
	out8(&f, SCR, 7);
	out8(&f, FCR, TRIGGER_14);
	out8(&f, IER, 0x05);
	out8(&f, MCR, LOOP | OUT2);
	loop_text(&f, "0123456789abcdefX");
	out8(&f, MCR, OUT2);
	ck_assert(interrupts(&f));
	ck_assert_int_eq(fixture_move(&g, &f, &e), 0);
	ck_assert(interrupts(&g));
	ck_assert_uint_eq(in8(&g, IIR), 0xc6);
	ck_assert_uint_eq(in8(&g, LSR), 0x63);
	ck_assert_uint_eq(in8(&g, IIR), 0xc4);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(in8(&g, RBR), (uint8_t) "0123456789abcdef"[i]);
	ck_assert(!interrupts(&g));
	ck_assert_uint_eq(in8(&g, SCR), 7);
	fixture_stop(&g);
	device_reset(g.dev);
	device_reset(f.dev);
	ck_assert_mem_eq(device_state(g.dev), device_state(f.dev), uart_class.state->size);
	device_start(g.dev);
	ck_assert_uint_eq(in8(&g, SCR), 0);
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

START_TEST(refuses_bad_state)
{
	struct fixture f;
	uint32_t *counts;
	struct err e;

	fixture_open(&f, &uart_class, NULL_MODE);
	fixture_stop(&f);
	counts = device_state(f.dev); /* received, to be sent */
	counts[0] = 2;
	ck_assert_int_eq(device_loaded(f.dev, &e), -EBADMSG);
	counts[0] = 1;
	counts[1] = 2;
	ck_assert_int_eq(device_loaded(f.dev, &e), -EBADMSG);
	counts[1] = 1;
	ck_assert_int_eq(device_loaded(f.dev, &e), 0);
	fixture_close(&f);
}
END_TEST

START_TEST(file_takes_all)
{
	char path[] = "/tmp/test_uart.XXXXXX", options[96], text[64] = { 0 };
	int fd = mkstemp(path);
	struct fixture f;

	ck_assert_int_eq(write(fd, "before ", 7), 7);
	snprintf(options, sizeof(options), "{\"mode\":\"file\",\"file\":\"%s\"}", path);
	fixture_open(&f, &uart_class, options);
	loop_text(&f, "hello");
	fixture_close(&f);
	ck_assert_int_eq(pread(fd, text, sizeof(text), 0), 12);
	ck_assert_str_eq(text, "before hello");
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(errors_say_which_device)
{
	struct fixture f;
	struct err e;

	ck_assert_int_eq(fixture_try(&f, &uart_class, "{\"mode\":\"File\"}", &e), -EINVAL);
	ck_assert_str_eq(e.text, "device: mode File needs a file: add file=PATH");
	fixture_close(&f);
	ck_assert_int_eq(
		fixture_try(&f, &uart_class, "{\"mode\":\"File\",\"file\":\"/nonexistent/x\"}", &e),
		-ENOENT);
	ck_assert_str_eq(e.text, "device: cannot open /nonexistent/x for output: "
				 "No such file or directory");
	fixture_close(&f);
	fixture_fail_claims(&uart_class, NULL_MODE, 4);
	fixture_fail_claims(&uart_class, "{\"mode\":\"Pty\"}", 4);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("uart");
	TCase *t = tcase_create("uart");

	tcase_add_test(t, power_on);
	tcase_add_test(t, plain_registers);
	tcase_add_test(t, modem_signals_in_loopback);
	tcase_add_test(t, priorities);
	tcase_add_test(t, disabled_causes_are_silent);
	tcase_add_test(t, trigger_levels);
	tcase_add_test(t, without_fifos);
	tcase_add_test(t, out2_gates_the_line);
	tcase_add_test(t, thre_interrupt);
	tcase_add_test(t, output_waits_for_the_host);
	tcase_add_test(t, waiting_output_moves);
	tcase_add_test(t, input_waits_for_the_guest);
	tcase_add_test(t, input_is_cut_off_in_loopback);
	tcase_add_test(t, character_timeout);
	tcase_add_test(t, stop_holds_input_and_ends_the_timeout);
	tcase_add_test(t, filled_up_before_the_timeout);
	tcase_add_test(t, moves);
	tcase_add_test(t, refuses_bad_state);
	tcase_add_test(t, file_takes_all);
	tcase_add_test(t, errors_say_which_device);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

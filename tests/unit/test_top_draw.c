/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of "godwit top", to the letter, and what must hold at any size. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "screen_text.h"
#include "top_draw.h"

enum { VMS = 3, VCPUS = 2 };

static struct vm_rates web, db, gone, *rows[VMS];
static struct vcpu_rates vcpu[VCPUS];

static void setup(void)
{
	top_rates_init(&web, "web");
	strcpy(web.state, "Running");
	web.cpu = 1.25;
	web.steal = 0.02;
	web.exits = 12345;
	web.given = 4.0 * GIB;
	web.resident = 1.5 * GIB;
	web.swapped = 0;
	web.dirty_rate = 3.0 * MIB;
	web.read_bytes = 10.0 * MIB;
	web.write_bytes = 512;
	web.read_ops = 2560;
	web.write_ops = 1;
	web.rx_bytes = 1000;
	web.tx_bytes = 99999;
	web.history[TOP_HISTORY - 3] = 0;
	web.history[TOP_HISTORY - 2] = 0.5;
	web.history[TOP_HISTORY - 1] = 1;
	vcpu[0] = (struct vcpu_rates){ "vcpu0", 1,     0.02,
				       0,       12340, { { "io", 12000 }, { "hlt", 340 } },
				       2 };
	vcpu[1] = (struct vcpu_rates){ "vcpu1", 0.25, 0, 0, 5, { { "hlt", 5 }, { "io", 0 } }, 2 };
	web.vcpu = vcpu;
	web.nvcpus = VCPUS;
	top_rates_init(&db, "db");
	strcpy(db.state, "Paused");
	db.cpu = db.exits = 0;
	top_rates_init(&gone, "gone");
	gone.answers = false;
	rows[0] = &gone;
	rows[1] = &db;
	rows[2] = &web;
}

static char *drawn(struct top_view view, size_t n)
{
	char *text = top_draw(rows, n, &view);

	ck_assert_ptr_nonnull(text);
	return text;
}

static void check_drawn(struct top_view view, size_t n, const char *expected)
{
	char *text = drawn(view, n);

	ck_assert_str_eq(text, expected);
	free(text);
}

static const char plain[] =
	"NAME      STATE      VCPUS   CPU%  STEAL%  EXITS/s"
	"  MEMORY  RESIDENT  SWAPPED  DIRTY/s  READ/s  WRITE/s  READS/s  WRITES/s   RX/s   TX/s\n"
	"web       Running        2  125.0     2.0      12k"
	"    4.0G      1.5G        0     3.0M     10M      512     2.6k         1   1.0k    98k\n"
	"  vcpu0                     100.0     2.0      12k  io 12k  hlt 340\n"
	"  vcpu1                      25.0     0.0        5  hlt 5\n"
	"db        Paused         -    0.0       -        0"
	"       -         -        -        -       -        -        -         -      -      -\n"
	"gone      No answer      -      -       -        -"
	"       -         -        -        -       -        -        -         -      -      -\n";

/* All columns, however wide. */
START_TEST(plain_table)
{
	check_drawn((struct top_view){ .order = TOP_BY_CPU }, VMS, plain);
}
END_TEST

START_TEST(screen)
{
	check_drawn((struct top_view){ .columns = 79, .lines = 11, .utf8 = true }, VMS,
		    "godwit top   3 VMs   CPU 125%   steal 2%   memory 4 GiB, resident 1.5 GiB\n"
		    "\n"
		    "NAME     STATE      CPU% EXITS/s MEMORY RESIDENT READ/s WRITE/s  RX/s  TX/s\n"
		    "web      Running   125.0     12k   4.0G     1.5G    10M     512  1.0k   98k\n"
		    "  vcpu0            100.0     12k  io 12k  hlt 340\n"
		    "  vcpu1             25.0       5  hlt 5\n"
		    "db       Paused      0.0       0      -        -      -       -     -     -\n"
		    "gone     No answer     -       -      -        -      -       -     -     -\n"
		    "\n"
		    "\n"
		    "q quit   c CPU   m memory   d disk   n network   v vCPUs   space pause");
}
END_TEST

static const char with_graphs[] =
	"godwit top   3 VMs   CPU 125%   steal 2%   memory 4 GiB, resident 1.5 GiB\n"
	"\n"
	"NAME     STATE      CPU%            EXITS/s MEMORY RESIDENT READ/s WRITE/s  RX/s  TX/s\n"
	"web      Running   125.0         ▄█     12k   4.0G     1.5G    10M     512  1.0k   98k\n"
	"  vcpu0            100.0 ██████████     12k  io 12k  hlt 340\n"
	"  vcpu1             25.0 ██▌              5  hlt 5\n"
	"db       Paused      0.0                  0      -        -      -       -     -     -\n"
	"gone     No answer     -                  -      -        -      -       -     -     -\n"
	"q quit   c CPU   m memory   d disk   n network   v vCPUs   space pause";

START_TEST(graphs)
{
	struct top_view view = { .columns = 86, .lines = 9 };
	char *text = drawn(view, VMS);

	ck_assert_ptr_nonnull(strstr(text, " 125.0         =@ "));
	ck_assert_ptr_nonnull(strstr(text, " 100.0 ########## "));
	free(text);
	view.utf8 = true;
	check_drawn(view, VMS, with_graphs);
}
END_TEST

/* In place of what is wanted less. */
START_TEST(throttled)
{
	web.throttled = vcpu[0].throttled = 0.4;
	check_drawn(
		(struct top_view){ .columns = 79, .lines = 11, .utf8 = true }, VMS,
		"godwit top   3 VMs   CPU 125%   steal 2%   memory 4 GiB, resident 1.5 GiB\n"
		"\n"
		"NAME     STATE      CPU% THROTTLED% MEMORY RESIDENT READ/s WRITE/s  RX/s  TX/s\n"
		"web      Running   125.0       40.0   4.0G     1.5G    10M     512  1.0k   98k\n"
		"  vcpu0            100.0       40.0  io 12k  hlt 340\n"
		"  vcpu1             25.0        0.0  hlt 5\n"
		"db       Paused      0.0          -      -        -      -       -     -     -\n"
		"gone     No answer     -          -      -        -      -       -     -     -\n"
		"\n"
		"\n"
		"q quit   c CPU   m memory   d disk   n network   v vCPUs   space pause");
}
END_TEST

START_TEST(none)
{
	check_drawn((struct top_view){ .columns = 40, .lines = 6, .utf8 = true }, 0,
		    "godwit top   0 VMs   CPU 0%   steal 0%  \n"
		    "\n"
		    "NAME       CPU%  MEMORY  RESIDENT\n"
		    "No VM is running.\n"
		    "\n"
		    "q quit   c CPU   m memory   d disk   n n");
}
END_TEST

/* A screen is filled to its last line and never exceeded; numbers too wide, too. */
START_TEST(any_size)
{
	web.cpu = 25500;
	web.exits = web.resident = 1e30;
	memset(gone.name, 'x', sizeof(gone.name) - 1);
	for (unsigned columns = 1; columns < 200; columns++) {
		for (unsigned lines = 1; lines < 14; lines++) {
			char *text = drawn((struct top_view){ .columns = columns,
							      .lines = lines,
							      .utf8 = columns % 2,
							      .colour = lines % 2,
							      .vcpus = TOP_VCPUS_ON },
					   VMS);

			ck_assert_msg(width_of(text) <= columns, "%u: %s", columns, text);
			ck_assert_uint_eq(lines_of(text), lines);
			free(text);
		}
	}
}
END_TEST

/* The least wanted go first, and what remains is whole. */
START_TEST(columns_go)
{
	static const struct {
		unsigned columns;
		const char *there, *gone;
	} cases[] = {
		{ 133, "WRITES/s", "none" },  { 120, "SWAPPED", "WRITES/s" },
		{ 100, "STEAL%", "SWAPPED" }, { 79, "EXITS/s", "STEAL%" },
		{ 60, "TX/s", "STATE" },      { 30, "MEMORY", "READ/s" },
		{ 24, "RESIDENT", "MEMORY" }, { 15, "CPU%", "RESIDENT" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = drawn((struct top_view){ .columns = cases[i].columns, .lines = 9 },
				   VMS);

		ck_assert_msg(strstr(text, cases[i].there), "%u: %s", cases[i].columns, text);
		ck_assert_msg(!strstr(text, cases[i].gone), "%u: %s", cases[i].columns, text);
		free(text);
	}
}
END_TEST

START_TEST(vcpus_if_they_fit)
{
	struct top_view view = { .columns = 79, .lines = 9 };

	free(top_draw(rows, VMS, &view));
	ck_assert(view.vcpus_shown);
	view.lines = 8;
	free(top_draw(rows, VMS, &view));
	ck_assert(!view.vcpus_shown);
	view.vcpus = TOP_VCPUS_ON;
	free(top_draw(rows, VMS, &view));
	ck_assert(view.vcpus_shown);
}
END_TEST

START_TEST(scrolls)
{
	struct top_view view = { .columns = 120, .lines = 6, .vcpus = TOP_VCPUS_ON, .scroll = 1 };
	char *text = top_draw(rows, VMS, &view);

	ck_assert_ptr_null(strstr(text, "\nweb"));
	ck_assert_ptr_nonnull(strstr(text, "\n  vcpu0"));
	ck_assert_ptr_nonnull(strstr(text, "\n  vcpu1"));
	ck_assert_ptr_nonnull(strstr(text, "line 2 of 5"));
	free(text);
	view.scroll = 1000;
	text = top_draw(rows, VMS, &view);
	ck_assert_uint_eq(view.scroll, 3);
	ck_assert_ptr_nonnull(strstr(text, "\ngone"));
	free(text);
}
END_TEST

START_TEST(colours)
{
	struct top_view view = { .columns = 120, .lines = 9, .order = TOP_BY_MEMORY };
	char *text = top_draw(rows, VMS, &view);

	ck_assert_ptr_null(strchr(text, '\033'));
	free(text);
	view.colour = true;
	text = top_draw(rows, VMS, &view);
	ck_assert_ptr_nonnull(strstr(text, "\033[1;4mRESIDENT\033[0m"));
	ck_assert_ptr_nonnull(strstr(text, "\033[33mPaused   \033[0m"));
	ck_assert_ptr_nonnull(strstr(text, "\033[31mNo answer\033[0m"));
	free(text);
}
END_TEST

static Suite *top_draw_suite(void)
{
	Suite *s = suite_create("top_draw");
	TCase *c = tcase_create("draw");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, plain_table);
	tcase_add_test(c, screen);
	tcase_add_test(c, graphs);
	tcase_add_test(c, throttled);
	tcase_add_test(c, none);
	tcase_add_test(c, any_size);
	tcase_add_test(c, columns_go);
	tcase_add_test(c, vcpus_if_they_fit);
	tcase_add_test(c, scrolls);
	tcase_add_test(c, colours);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(top_draw_suite)

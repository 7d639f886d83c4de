/* SPDX-License-Identifier: Apache-2.0 */
/* What "godwit-agent status" and "top" show of what the agent says. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "picture.h"
#include "screen_text.h"
#include "status_text.h"

enum { NOW = 1700000010 };

static const char answer[] =
	"{'id':'b','mode':'auto','planner':null,'why':'b was not heard of','hosts':["
	"{'id':'b','state':'dead','cores':2,'memory':2147483648,'reserve':1024},"
	"{'id':'a','state':'up','cores':4,'memory':4294967296,'reserve':1073741824,"
	" 'available':1073741824,'use':[0.75,0],'happiness':0.8,'psi_cpu':0.125}],"
	"'vms':["
	"{'name':'web','host':'a','state':'Running','vcpus':2,'memory':4294967296,"
	" 'resident':1073741824,'happiness':0.5,'run':[0.5,1],'delay':[0.5],'throttled':[0],"
	" 'dirty_rate':2048,'spec':true,'restarts':3,'why':'a is hot'},"
	"{'name':'db','host':'a','state':'Running','vcpus':1,'memory':1073741824,"
	" 'resident':1073741824,'happiness':1,'run':[1],'delay':[0],'throttled':[0]},"
	"{'name':'lost','host':'c','state':'Running','why':'','local':'it has 1 of 2 MiB'},"
	"{'state':'of no use'}],"
	"'flights':[{'vm':'db','from':'a','to':'b','since':1700000000,'phase':'copying',"
	"'left_s':30},{'vm':'web','from':'a','to':'b'}],"
	"'alerts':['host b is dead']}";

static json_t *status;
static struct status_view view;

static void read_answer(const char *text)
{
	char *json = strdup(text);

	for (char *c = json; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	status = json_loads(json, 0, NULL);
	ck_assert_ptr_nonnull(status);
	ck_assert_int_eq(status_view_read(&view, status), 0);
	free(json);
}

static void setup(void)
{
	read_answer(answer);
}

static void teardown(void)
{
	status_view_free(&view);
	json_decref(status);
}

static char *drawn(struct picture p)
{
	char *text;

	p.now = NOW;
	text = picture_draw(&view, &p);
	ck_assert_ptr_nonnull(text);
	return text;
}

static void check_drawn(struct picture p, const char *expected)
{
	char *text = drawn(p);

	ck_assert_str_eq(text, expected);
	free(text);
}

/* Hosts by name; what has no name is nothing; VMs of a host that is not there count for none. */
START_TEST(reads)
{
	ck_assert_uint_eq(view.nhosts, 2);
	ck_assert_uint_eq(view.nvms, 3);
	ck_assert_str_eq(view.host[0].id, "a");
	ck_assert(!view.host[0].here);
	ck_assert(view.host[1].here);
	ck_assert_uint_eq(view.host[0].nvms, 2);
	ck_assert_uint_eq(view.host[1].nvms, 0);
	ck_assert_double_eq(view.host[0].use, 0.75);
	ck_assert_double_eq(view.host[0].vcpus, 3);
	ck_assert_double_eq(view.host[0].run, 2);
	ck_assert_double_eq(view.host[0].delay, 1);
	ck_assert(isnan(view.host[1].use));
	ck_assert_str_eq(status_view_vms(&view, &view.host[0])->name, "db");
	ck_assert_double_eq_tol(view.happiness, 2.0 / 3, 1e-9);
}
END_TEST

START_TEST(says_nothing)
{
	teardown();
	read_answer("{}");
	check_drawn((struct picture){ .columns = 79 },
		    "godwit-agent top   0 hosts   0 VMs   happy    -   mode , nobody plans\n\n");
}
END_TEST

START_TEST(tables)
{
	char *text = NULL;
	size_t len;
	struct canvas c = { .f = open_memstream(&text, &len) };

	status_text_put(&c, &view, NOW);
	fclose(c.f);
	ck_assert_str_eq(
		text, "The agent of b: mode auto, nobody plans: b was not heard of\n"
		      "\n"
		      "HOST  STATE  VMS  CORES  VCPUS  USE  HAPPY  MEMORY  FREE  RESERVE  PSI-CPU"
		      "  PSI-MEM  PSI-IO\n"
		      "a     up       2      4      3  75%    80%    4.0G  1.0G     1.0G      12%"
		      "        -       -\n"
		      "b*    dead     0      2      0    -      -    2.0G     -     1.0k        -"
		      "        -       -\n"
		      "\n"
		      "VM    HOST  STATE    VCPUS  HAPPY   RUN  DELAY  THROTTLED  MEMORY  RESIDENT"
		      "  DIRTY/s  SPEC  RESTARTS  WHY\n"
		      "db    a     Running      1   100%  100%     0%         0%    1.0G      1.0G"
		      "        -  no           -\n"
		      "web   a     Running      2    50%   50%    50%         0%    4.0G      1.0G"
		      "     2.0k  yes          3  a is hot\n"
		      "lost  c     Running      -      -     -      -          -       -         -"
		      "        -  no           -  it has 1 of 2 MiB\n"
		      "\n"
		      "On their way:\n"
		      "  db: a to b, copying for 10 s, 30 s left\n"
		      "  web: a to b\n"
		      "\n"
		      "Alerts:\n"
		      "  host b is dead\n");
	free(text);
}
END_TEST

static const char plain[] =
	"godwit-agent top   2 hosts   3 VMs   happy  67%   mode auto, nobody pl\n"
	"host b is dead\n"
	"\n"
	"a     4 cores    3 vCPUs    2 VMs  happy  80%\n"
	"  CPU db======|web=====|host====|.........  75%, asked for  75%\n"
	"  mem db======|web=====|host====|......... 3.0G of 4.0G, given 5.0G\n"
	"b     2 cores    0 vCPUs    0 VMs  happy    -  dead\n"
	"  CPU ....................................    -, asked for   0%\n"
	"  mem ....................................    - of 2.0G, given    0\n"
	"\n"
	"ON THEIR WAY\n"
	"  db               ===|............  a to b, copying for 10 s, 30 s le\n"
	"  web              ................  a to b\n"
	"\n"
	"LEAST HAPPY  HOST  HAPPY   RUN  DELAY  THROTTLED  VCPUS  WHY\n"
	"web          a       50%   50%    50%         0%      2  a is hot\n"
	"db           a      100%  100%     0%         0%      1\n";

/* A quarter of the cores is one VM's, another the other's, another nobody's. */
START_TEST(bars)
{
	char *text = drawn((struct picture){ .columns = 0 });

	ck_assert_ptr_nonnull(strstr(text, "\n  CPU db============|web===========|"
					   "host==========|...............  75%"));
	free(text);
	check_drawn((struct picture){ .columns = 70 }, plain);
}
END_TEST

/* With room for more it is the same and empty lines for hosts, then keys. */
START_TEST(screen)
{
	char *text = drawn((struct picture){ .columns = 100, .lines = 20, .utf8 = true });

	ck_assert_ptr_nonnull(strstr(text, "\n  CPU db▒▒"));
	ck_assert_ptr_nonnull(strstr(text, "│··"));
	ck_assert_ptr_nonnull(strstr(text, "given    0\n\n\n\nON THEIR WAY\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nq quit   space pause"));
	ck_assert_ptr_null(strstr(text, "line 1"));
	free(text);
}
END_TEST

/* Without it hosts have a line each, then they scroll, and the keys stay. */
START_TEST(short_hosts)
{
	struct picture p = { .columns = 100, .lines = 17, .scroll = 9 };
	char *text = drawn(p);

	ck_assert_ptr_nonnull(strstr(text, "\na db"));
	ck_assert_ptr_nonnull(strstr(text, ". CPU  75%  mem  75%  happy  80%\nb "));
	ck_assert_ptr_nonnull(strstr(text, "\nq quit   space pause"));
	free(text);
	p.lines = 13;
	p.now = NOW;
	text = picture_draw(&view, &p);
	ck_assert_ptr_null(strstr(text, "\na db"));
	ck_assert_ptr_nonnull(strstr(text, "\nb ....."));
	ck_assert_ptr_nonnull(strstr(text, "arrows line 2 of 2"));
	ck_assert_uint_eq(p.scroll, 1);
	free(text);
}
END_TEST

START_TEST(colours)
{
	char *text = drawn((struct picture){ .columns = 100 });

	ck_assert_ptr_null(strchr(text, '\033'));
	free(text);
	text = drawn((struct picture){ .columns = 100, .colour = true, .silent = true });
	ck_assert_ptr_nonnull(strstr(text, "\033[7;31mweb "));
	ck_assert_ptr_nonnull(strstr(text, "\033[7;32mdb "));
	ck_assert_ptr_nonnull(strstr(text, "\033[31mdead\033[0m"));
	ck_assert_ptr_nonnull(strstr(text, "\033[33mhost b is dead\033[0m"));
	free(text);
	text = drawn((struct picture){ .columns = 200, .silent = true });
	ck_assert_ptr_nonnull(strstr(text, "top   the agent does not answer   2 hosts"));
	free(text);
	text = drawn((struct picture){ .columns = 200, .paused = true });
	ck_assert_ptr_nonnull(strstr(text, "top   paused   2 hosts"));
	free(text);
}
END_TEST

/* Less than its reserve is free. */
START_TEST(memory_is_short)
{
	char *text;

	view.host[0].available /= 2;
	text = drawn((struct picture){ .columns = 70, .colour = true });
	ck_assert_ptr_nonnull(strstr(text, "  mem \033[7;31mdb "));
	free(text);
}
END_TEST

/* A screen is filled to its last line and never exceeded, whatever the agent says. */
START_TEST(any_size)
{
	view.vm[0].run = 1e30;
	view.vm[1].resident = -1;
	view.host[0].cores = 0;
	for (unsigned columns = 1; columns < 300; columns += 3) {
		for (unsigned lines = 1; lines < 30; lines++) {
			char *text = drawn((struct picture){ .columns = columns,
							     .lines = lines,
							     .utf8 = columns % 2,
							     .colour = lines % 2 });

			ck_assert_msg(width_of(text) <= columns, "%u: %s", columns, text);
			ck_assert_uint_eq(lines_of(text), lines);
			free(text);
		}
	}
}
END_TEST

static Suite *picture_suite(void)
{
	Suite *s = suite_create("picture");
	TCase *c = tcase_create("draw");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, reads);
	tcase_add_test(c, says_nothing);
	tcase_add_test(c, tables);
	tcase_add_test(c, bars);
	tcase_add_test(c, screen);
	tcase_add_test(c, short_hosts);
	tcase_add_test(c, colours);
	tcase_add_test(c, memory_is_short);
	tcase_add_test(c, any_size);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(picture_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit top": what the VMs of this user do, again and again. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "cli.h"
#include "client.h"
#include "command/screen.h"
#include "log.h"
#include "top_sample.h"
#include "top_draw.h"
#include "tty.h"

enum { NS_PER_MS = 1000000 };
/* How long the picture, and a script, waits for a VM that hangs. */
enum { SCREEN_LIMIT_MS = 500, PRINT_LIMIT_MS = 5000 };

struct top {
	uint64_t interval_ns;
	bool once, json, on_screen;
	unsigned rounds;
	struct loop *loop;
	struct top_sample *sample;
	struct timer tick;
	struct screen screen;
	struct top_view view; /* of the screen; paused: nobody wants news */
};

/* Keys */

static void sort(void *arg, unsigned order)
{
	((struct top *)arg)->view.order = order;
}

static void toggle_vcpus(void *arg, unsigned unused)
{
	struct top_view *view = &((struct top *)arg)->view;

	(void)unused;
	view->vcpus = view->vcpus_shown ? TOP_VCPUS_OFF : TOP_VCPUS_ON;
}

static void toggle_pause(void *arg, unsigned unused)
{
	struct top *t = arg;

	(void)unused;
	t->view.paused = !t->view.paused;
}

static const struct screen_key keys[] = {
	{ "c", sort, TOP_BY_CPU }, { "m", sort, TOP_BY_MEMORY }, { "d", sort, TOP_BY_DISK },
	{ "n", sort, TOP_BY_NET }, { "v", toggle_vcpus, 0 },     { " ", toggle_pause, 0 },
};

/* Pictures */

static void print_json(const struct top *t, struct vm_rates **rows, size_t n)
{
	json_t *all = json_array();

	top_rates_sort(rows, n, TOP_BY_CPU);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(all, top_rates_json(rows[i]));
	json_dumpf(all, stdout, (t->once ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(all);
}

static void print_table(const struct top *t, struct vm_rates **rows, size_t n)
{
	struct top_view view = { .order = TOP_BY_CPU };
	CLEANUP(free) char *text = NULL;
	uint16_t columns, lines;

	tty_size(STDOUT_FILENO, &columns, &lines);
	view.columns = columns;
	text = top_draw(rows, n, &view);
	printf("%s%s", text ? text : "", t->once ? "" : "\n");
}

static void draw(struct top *t, struct vm_rates **rows, size_t n)
{
	CLEANUP(free) char *picture = NULL;

	if (!screen_begin(&t->screen))
		return;
	t->view.utf8 = t->screen.utf8;
	t->view.colour = t->screen.colour;
	t->view.columns = t->screen.columns;
	t->view.lines = t->screen.lines;
	t->view.scroll = t->screen.scroll;
	picture = top_draw(rows, n, &t->view);
	t->screen.scroll = t->view.scroll;
	screen_show(picture);
}

static void show(void *arg)
{
	struct top *t = arg;
	size_t n;
	struct vm_rates **rows = top_sample_rows(t->sample, &n);

	if (t->on_screen)
		draw(t, rows, n);
	else if (t->json)
		print_json(t, rows, n);
	else
		print_table(t, rows, n);
	fflush(stdout);
}

/* The first round only has something to compare with: who prints waits for the second. */
static void on_round(void *arg)
{
	struct top *t = arg;

	if (t->on_screen || t->rounds++)
		show(t);
	if (t->once && t->rounds > 1)
		loop_quit(t->loop);
}

static void on_tick(void *arg)
{
	struct top *t = arg;

	loop_timer_set(t->loop, &t->tick, loop_now_ns() + t->interval_ns);
	if (!t->view.paused)
		top_sample_ask(t->sample);
}

/* A name that is wrong now is a mistake; later, its VM has ended. */
static int check_names(const struct verb_args *args)
{
	int status = CLI_OK;

	for (int i = 0; i < args->nrest; i++) {
		struct client c;
		struct err e;

		if (client_open(&c, args->rest[i], &e)) {
			log_error("%s", e.text);
			status = CLI_FAILED;
		}
		client_close(&c);
	}
	return status;
}

static int top_open(struct top *t, const struct verb_args *args, struct err *e)
{
	struct top_sample_config config = {
		.names = args->rest, .nnames = args->nrest, .over = on_round, .arg = t
	};
	int r = loop_new(&t->loop, e);

	config.loop = t->screen.loop = t->loop;
	config.limit_ns = (uint64_t)(t->on_screen ? SCREEN_LIMIT_MS : PRINT_LIMIT_MS) * NS_PER_MS;
	if (!r)
		r = top_sample_new(&t->sample, &config, e);
	if (!r && t->on_screen)
		r = screen_open(&t->screen, e);
	return r;
}

static void top_close(struct top *t)
{
	screen_close(&t->screen);
	top_sample_free(t->sample);
	if (t->loop)
		loop_timer_cancel(t->loop, &t->tick);
	loop_free(t->loop);
}

int top_run(const struct verb *v, const struct verb_args *args)
{
	struct top t = { .once = args->value[0], .json = args->value[1] };
	int status = screen_interval(args->value[2], &t.interval_ns);
	struct err e;
	int r;

	(void)v;
	setlocale(LC_CTYPE, "");
	t.tick = (struct timer){ .expired = on_tick, .arg = &t };
	t.screen = (struct screen){
		.keys = keys, .nkeys = ARRAY_SIZE(keys), .changed = show, .arg = &t
	};
	t.on_screen = !t.once && !t.json && screen_is_there();
	if (status == CLI_OK)
		status = check_names(args);
	if (status != CLI_OK)
		return status;
	r = top_open(&t, args, &e);
	if (!r) {
		on_tick(&t);
		loop_run(t.loop);
	}
	top_close(&t);
	if (r)
		log_error("%s", e.text);
	return r ? CLI_FAILED : CLI_OK;
}

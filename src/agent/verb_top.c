/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent top": how hosts and VMs are, again and again. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "bits.h"
#include "cleanup.h"
#include "command/screen.h"
#include "log.h"
#include "picture.h"
#include "tty.h"
#include "verbs.h"

enum { ANSWER_LIMIT_MS = 5000, LATE_ROUNDS = 3 };

struct top {
	uint64_t interval_ns;
	bool once, json, on_screen;
	struct loop *loop;
	struct timer tick;
	struct client client;
	struct watch answer; /* active: it was asked */
	unsigned late; /* rounds without an answer */
	json_t *status; /* the last one; NULL: none yet */
	struct picture picture;
	struct screen screen;
	struct err wrong;
	int r; /* what ended it */
};

static char *draw(struct top *t)
{
	struct status_view view;
	char *text = NULL;

	t->picture.now = (uint64_t)time(NULL);
	if (!status_view_read(&view, t->status))
		text = picture_draw(&view, &t->picture);
	status_view_free(&view);
	return text;
}

static void print(struct top *t)
{
	CLEANUP(free) char *text = NULL;
	uint16_t columns, lines;

	if (t->json) {
		json_dumpf(t->status, stdout, t->once ? JSON_INDENT(2) : JSON_COMPACT);
		putchar('\n');
	} else {
		tty_size(STDOUT_FILENO, &columns, &lines);
		t->picture.columns = columns;
		text = draw(t);
		printf("%s%s", text ? text : "", t->once ? "" : "\n");
	}
	fflush(stdout);
}

static void show(void *arg)
{
	struct top *t = arg;
	CLEANUP(free) char *text = NULL;

	if (!t->status || !screen_begin(&t->screen))
		return;
	t->picture.columns = t->screen.columns;
	t->picture.lines = t->screen.lines;
	t->picture.utf8 = t->screen.utf8;
	t->picture.colour = t->screen.colour;
	t->picture.scroll = t->screen.scroll;
	t->picture.silent = t->late >= LATE_ROUNDS;
	text = draw(t);
	t->screen.scroll = t->picture.scroll;
	screen_show(text);
}

static void hang_up(struct top *t)
{
	if (t->answer.active)
		loop_unwatch(t->loop, &t->answer);
	client_close(&t->client);
}

/* On a screen the last picture stays, until the agent is there again. */
static void fail(struct top *t, int r)
{
	hang_up(t);
	t->late = LATE_ROUNDS;
	if (t->on_screen && t->status) {
		show(t);
		return;
	}
	t->r = r;
	loop_quit(t->loop);
}

static void on_answer(void *arg, uint32_t events)
{
	struct top *t = arg;
	json_t *status;
	int r = client_receive(&t->client, &status, &t->wrong);

	(void)events;
	if (r) {
		fail(t, r);
		return;
	}
	loop_unwatch(t->loop, &t->answer);
	json_decref(t->status);
	t->status = status;
	t->late = 0;
	if (t->on_screen)
		show(t);
	else
		print(t);
	if (t->once)
		loop_quit(t->loop);
}

static int ask(struct top *t)
{
	int r = t->client.fd < 0 ? ask_open(&t->client, &t->wrong) : 0;

	if (r)
		return r;
	client_set_limit(&t->client, ANSWER_LIMIT_MS);
	r = client_send(&t->client, "status", &t->wrong);
	t->answer = (struct watch){ .fd = t->client.fd, .ready = on_answer, .arg = t };
	return r ? r : loop_watch(t->loop, &t->answer, EPOLLIN);
}

static void on_tick(void *arg)
{
	struct top *t = arg;
	int r = 0;

	loop_timer_set(t->loop, &t->tick, loop_now_ns() + t->interval_ns);
	if (t->answer.active) {
		t->late++;
		show(t);
	} else if (!t->picture.paused) {
		r = ask(t);
	}
	if (r)
		fail(t, r);
}

static void toggle_pause(void *arg, unsigned unused)
{
	struct top *t = arg;

	(void)unused;
	t->picture.paused = !t->picture.paused;
}

static const struct screen_key keys[] = { { " ", toggle_pause, 0 } };

static int top_run_loop(struct top *t)
{
	int r = loop_new(&t->loop, &t->wrong);

	t->screen.loop = t->loop;
	if (!r && t->on_screen)
		r = screen_open(&t->screen, &t->wrong);
	if (!r) {
		on_tick(t);
		loop_run(t->loop);
	}
	screen_close(&t->screen);
	hang_up(t);
	if (t->loop)
		loop_timer_cancel(t->loop, &t->tick);
	loop_free(t->loop);
	json_decref(t->status);
	return r ? r : t->r;
}

int top_run(const struct verb *v, const struct verb_args *args)
{
	struct top t = { .once = args->value[0], .json = args->value[1], .client.fd = -1 };
	int status = screen_interval(args->value[2], &t.interval_ns);

	(void)v;
	if (status != CLI_OK)
		return status;
	setlocale(LC_CTYPE, "");
	t.tick = (struct timer){ .expired = on_tick, .arg = &t };
	t.screen = (struct screen){
		.keys = keys, .nkeys = ARRAY_SIZE(keys), .changed = show, .arg = &t
	};
	t.on_screen = !t.once && !t.json && screen_is_there();
	if (!top_run_loop(&t))
		return CLI_OK;
	log_error("%s", t.wrong.text);
	return CLI_FAILED;
}

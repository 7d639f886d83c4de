/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "list.h"
#include "rundir.h"
#include "top_sample.h"

/* An answer that has begun is there at once, or its VM hangs in the middle of it.  On a host with
 * too much to do a whole one may take its time: until then the last rates are shown. */
enum { REST_MS = 200, PATIENCE_S = 3 };

struct source {
	struct list node;
	struct top_sample *sample;
	struct client client;
	struct watch watch;
	enum { ASKED_NOTHING, ASKED_INFO, ASKED_COUNTERS } asked;
	uint64_t asked_ns; /* for info */
	bool awaited; /* this round does not end without it */
	bool runs; /* as the run directories say */
	struct reading before, now, next; /* next: what is there of it */
	struct vm_rates rates;
};

struct top_sample {
	struct top_sample_config config;
	struct list sources;
	struct vm_rates **rows;
	size_t nsources, nawaited;
	struct timer limit; /* of the round */
};

static bool is_silent(const struct source *src)
{
	return src->asked && loop_now_ns() - src->asked_ns >= PATIENCE_S * UINT64_C(1000000000);
}

static void round_over(struct top_sample *s)
{
	struct source *src;

	list_for_each (src, &s->sources, node)
		if (src->rates.answers && is_silent(src))
			top_rates_silence(&src->rates);
	loop_timer_cancel(s->config.loop, &s->limit);
	s->config.over(s->config.arg);
}

static void source_arrived(struct source *src)
{
	struct top_sample *s = src->sample;

	if (!src->awaited)
		return;
	src->awaited = false;
	if (!--s->nawaited)
		round_over(s);
}

/* One source */

static void source_close(struct source *src)
{
	if (src->client.fd >= 0)
		loop_unwatch(src->sample->config.loop, &src->watch);
	client_close(&src->client);
	reading_free(&src->next);
	src->asked = ASKED_NOTHING;
}

static void source_lose(struct source *src)
{
	source_close(src);
	top_rates_silence(&src->rates);
	source_arrived(src);
}

static void source_take(struct source *src)
{
	src->next.at_ns = loop_now_ns();
	reading_free(&src->before);
	src->before = src->now;
	src->now = src->next;
	src->next = (struct reading){ 0 };
	src->asked = ASKED_NOTHING;
	top_rates_update(&src->rates, &src->before, &src->now);
	source_arrived(src);
}

static void source_ready(void *arg, uint32_t events)
{
	struct source *src = arg;
	bool is_info = src->asked == ASKED_INFO;
	struct err e;
	int r = -EPIPE;

	(void)events;
	/* Else it has ended, or closed what was idle for long. */
	if (src->asked)
		r = client_receive(&src->client, is_info ? &src->next.info : &src->next.counters,
				   &e);
	if (!r && is_info) {
		src->asked = ASKED_COUNTERS;
		r = client_send(&src->client, "vm.counters", &e);
	} else if (!r) {
		source_take(src);
	}
	if (r && src->asked)
		source_lose(src);
	else if (r)
		source_close(src);
}

static int source_open(struct source *src)
{
	struct err e;
	int r;

	if (src->client.fd >= 0)
		return 0;
	r = client_open(&src->client, src->rates.name, &e);
	if (r)
		return r;
	client_set_limit(&src->client, REST_MS);
	src->watch.fd = src->client.fd;
	r = loop_watch(src->sample->config.loop, &src->watch, EPOLLIN);
	if (r)
		client_close(&src->client);
	return r;
}

/* Whether there will be an answer. */
static bool source_ask(struct source *src)
{
	struct err e;

	if (src->asked)
		return false;
	if (source_open(src) || client_send(&src->client, "vm.info", &e)) {
		source_lose(src);
		return false;
	}
	src->asked = ASKED_INFO;
	src->asked_ns = loop_now_ns();
	return true;
}

static void source_free(struct source *src)
{
	source_close(src);
	reading_free(&src->before);
	reading_free(&src->now);
	top_rates_free(&src->rates);
	list_remove(&src->node);
	src->sample->nsources--;
	free(src);
}

static void source_new(struct top_sample *s, const char *name)
{
	struct vm_rates **rows = reallocarray(s->rows, s->nsources + 1, sizeof(*rows));
	struct source *src = calloc(1, sizeof(*src));

	if (rows)
		s->rows = rows;
	if (!rows || !src) {
		free(src);
		return;
	}
	src->sample = s;
	src->runs = true;
	src->client.fd = -1;
	src->watch = (struct watch){ .fd = -1, .ready = source_ready, .arg = src };
	top_rates_init(&src->rates, name);
	list_append(&s->sources, &src->node);
	s->nsources++;
}

/* Which VMs there are */

static void found(void *arg, const char *name, int dir, pid_t pid)
{
	struct top_sample *s = arg;
	struct source *src;

	(void)dir;
	(void)pid;
	if (strlen(name) >= sizeof(src->rates.name))
		return;
	list_for_each (src, &s->sources, node) {
		if (!strcmp(src->rates.name, name)) {
			src->runs = true;
			return;
		}
	}
	source_new(s, name);
}

static void find_named(struct top_sample *s)
{
	for (int i = 0; i < s->config.nnames; i++) {
		int dir = rundir_open(geteuid(), s->config.names[i]);

		if (dir < 0)
			continue;
		found(s, s->config.names[i], dir, -1);
		close(dir);
	}
}

static void find(struct top_sample *s)
{
	struct list *node, *next;
	struct source *src;

	list_for_each (src, &s->sources, node)
		src->runs = false;
	if (s->config.nnames)
		find_named(s);
	else
		rundir_each(geteuid(), found, s);
	for (node = s->sources.next; node != &s->sources; node = next) {
		next = node->next;
		src = list_item(node, struct source, node);
		if (!src->runs)
			source_free(src);
	}
}

/* Rounds */

static void on_limit(void *arg)
{
	struct top_sample *s = arg;
	struct source *src;

	list_for_each (src, &s->sources, node)
		src->awaited = false;
	s->nawaited = 0;
	round_over(s);
}

void top_sample_ask(struct top_sample *s)
{
	struct source *src;

	if (s->nawaited)
		return;
	find(s);
	list_for_each (src, &s->sources, node) {
		src->awaited = source_ask(src);
		s->nawaited += src->awaited;
	}
	if (s->nawaited)
		loop_timer_set(s->config.loop, &s->limit, loop_now_ns() + s->config.limit_ns);
	else
		round_over(s);
}

struct vm_rates **top_sample_rows(struct top_sample *s, size_t *n)
{
	struct source *src;

	*n = 0;
	list_for_each (src, &s->sources, node)
		s->rows[(*n)++] = &src->rates;
	return s->rows;
}

int top_sample_new(struct top_sample **out, const struct top_sample_config *config, struct err *e)
{
	struct top_sample *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->config = *config;
	s->limit = (struct timer){ .expired = on_limit, .arg = s };
	list_init(&s->sources);
	*out = s;
	return 0;
}

void top_sample_free(struct top_sample *s)
{
	if (!s)
		return;
	while (!list_empty(&s->sources))
		source_free(list_item(s->sources.next, struct source, node));
	free(s->rows);
	free(s);
}

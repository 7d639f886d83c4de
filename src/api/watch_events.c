/* SPDX-License-Identifier: Apache-2.0 */
/* GET events?since=SEQ&wait=SECONDS: the events newer than SEQ; if there is none, the next one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"

enum { WAIT_MAX_S = 60, WATCHERS_MAX = 32 };

/* {"events": [...], "seq": N} of whole lines, which are JSON already. */
static void answer(struct call *c)
{
	char line[EVENT_BYTES_MAX], *text = NULL;
	const char *comma = "";
	size_t len, size;
	FILE *f = open_memstream(&text, &size);

	if (!f) {
		call_fail(c, 500, "out of memory");
		return;
	}
	fputs("{\"events\":[", f);
	while ((len = events_next(c->api->c.events, &c->since, line))) {
		fprintf(f, "%s%.*s", comma, (int)len - 1, line);
		comma = ",";
	}
	fprintf(f, "],\"seq\":%llu}\n", (unsigned long long)c->since);
	fclose(f);
	call_answer(c, text ? 200 : 500, "application/json", text);
}

static void stop_waiting(struct call *c)
{
	list_remove(&c->watcher);
	c->api->nwatchers--;
	loop_timer_cancel(c->api->loop, &c->limit);
	answer(c);
}

static void on_limit(void *arg)
{
	stop_waiting(arg);
}

static void on_event(void *arg)
{
	struct api *a = arg;

	while (!list_empty(&a->watchers))
		stop_waiting(list_item(a->watchers.next, struct call, watcher));
}

/* The number of "key=NUMBER" in a query; false: it is there and is none. */
static bool query_number(const char *query, const char *key, uint64_t *value)
{
	size_t len = strlen(key);
	char *end;

	for (; *query; query += *query == '&') {
		size_t here = strcspn(query, "&");

		if (here > len && !strncmp(query, key, len) && query[len] == '=') {
			*value = strtoull(query + len + 1, &end, 10);
			return end == query + here && end > query + len + 1;
		}
		query += here;
	}
	return true;
}

static bool has_news(struct call *c)
{
	char line[EVENT_BYTES_MAX];
	uint64_t seq = c->since;

	return events_next(c->api->c.events, &seq, line);
}

void route_events(struct call *c)
{
	uint64_t wait_s = 0;

	if (!query_number(c->http->query, "since", &c->since) ||
	    !query_number(c->http->query, "wait", &wait_s)) {
		call_fail(c, 400, "since and wait are numbers: events?since=17&wait=30");
		return;
	}
	if (!wait_s || has_news(c)) {
		answer(c);
		return;
	}
	c->limit = (struct timer){ .expired = on_limit, .arg = c };
	loop_timer_set(c->api->loop, &c->limit,
		       loop_now_ns() + MIN(wait_s, WAIT_MAX_S) * UINT64_C(1000000000));
	list_append(&c->api->watchers, &c->watcher);
	/* They leave places for others: the first has an answer without news, and asks again. */
	if (++c->api->nwatchers > WATCHERS_MAX)
		stop_waiting(list_item(c->api->watchers.next, struct call, watcher));
}

void watch_events_gone(struct call *c)
{
	if (c->watcher.next && !list_empty(&c->watcher))
		stop_waiting(c);
}

void watch_events_begin(struct api *a)
{
	a->listener = (struct events_listener){ .loop = a->loop,
						.added = { .run = on_event, .arg = a } };
	events_listen(a->c.events, &a->listener);
}

void watch_events_end(struct api *a)
{
	if (a->listener.loop)
		events_unlisten(a->c.events, &a->listener);
}

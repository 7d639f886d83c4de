/* SPDX-License-Identifier: Apache-2.0 */
#include "event_watchers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http.h"

enum { WAIT_MAX_S = 60, WATCHERS_MAX = 32 };

/* Of whole lines, which are JSON already. */
static void answer(struct event_watcher *w)
{
	char line[EVENT_BYTES_MAX], *text = NULL;
	const char *comma = "";
	size_t len, size;
	FILE *f = open_memstream(&text, &size);

	if (!f) {
		w->answer(w, NULL);
		return;
	}
	fputs("{\"events\":[", f);
	while ((len = events_next(w->of->events, &w->since, line))) {
		fprintf(f, "%s%.*s", comma, (int)len - 1, line);
		comma = ",";
	}
	fprintf(f, "],\"seq\":%llu}\n", (unsigned long long)w->since);
	fclose(f);
	w->answer(w, text);
}

static void stop_waiting(struct event_watcher *w)
{
	list_remove(&w->node);
	w->of->n--;
	loop_timer_cancel(w->of->loop, &w->limit);
	answer(w);
}

static void on_limit(void *arg)
{
	stop_waiting(arg);
}

static void on_event(void *arg)
{
	struct event_watchers *e = arg;

	while (!list_empty(&e->waiting))
		stop_waiting(list_item(e->waiting.next, struct event_watcher, node));
}

static bool has_news(const struct event_watcher *w)
{
	char line[EVENT_BYTES_MAX];
	uint64_t seq = w->since;

	return events_next(w->of->events, &seq, line);
}

int event_watchers_ask(struct event_watchers *e, struct event_watcher *w, const char *query,
		       struct err *err)
{
	uint64_t wait_s = 0;

	if (!http_query_number(query, "since", &w->since) ||
	    !http_query_number(query, "wait", &wait_s))
		return err_set(err, -EINVAL, "since and wait are numbers: events?since=17&wait=30");
	w->of = e;
	list_init(&w->node);
	if (!wait_s || has_news(w)) {
		answer(w);
		return 0;
	}
	w->limit = (struct timer){ .expired = on_limit, .arg = w };
	loop_timer_set(e->loop, &w->limit,
		       loop_now_ns() + MIN(wait_s, WAIT_MAX_S) * UINT64_C(1000000000));
	list_append(&e->waiting, &w->node);
	/* They leave places for others: the first has an answer without news, and asks again. */
	if (++e->n > WATCHERS_MAX)
		stop_waiting(list_item(e->waiting.next, struct event_watcher, node));
	return 0;
}

void event_watcher_gone(struct event_watcher *w)
{
	if (w->of && !list_empty(&w->node))
		stop_waiting(w);
}

void event_watchers_begin(struct event_watchers *e, struct loop *loop, struct events *events)
{
	*e = (struct event_watchers){ .loop = loop,
				      .events = events,
				      .listener = { .loop = loop,
						    .added = { .run = on_event, .arg = e } } };
	list_init(&e->waiting);
	events_listen(events, &e->listener);
}

void event_watchers_end(struct event_watchers *e)
{
	if (e->loop)
		events_unlisten(e->events, &e->listener);
}

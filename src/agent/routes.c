/* SPDX-License-Identifier: Apache-2.0 */
#include "routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "cleanup.h"
#include "metrics.h"
#include "orders.h"
#include "peers.h"
#include "specs.h"
#include "state.h"

/* A request for events that waits. */
struct watcher {
	struct list node;
	struct event_watcher w;
	struct request *q;
};

/* What a route does with a request: it answers it, at once or later. */
struct route {
	enum http_method method;
	const char *path;
	void (*run)(struct agent *, struct request *, const json_t *body);
};

static void get_status(struct agent *a, struct request *q, const json_t *body)
{
	(void)body;
	answer_json(q, state_status(a));
}

static void get_snapshot(struct agent *a, struct request *q, const json_t *body)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	(void)body;
	if (f) {
		state_snapshot(a, f);
		fclose(f);
	}
	request_answer(q, text ? 200 : 500, "application/x-ndjson", text, len);
	free(text);
}

static void get_metrics(struct agent *a, struct request *q, const json_t *body)
{
	CLEANUP(free) char *text = metrics_text(a);

	(void)body;
	request_answer(q, text ? 200 : 500, metrics_content_type, text, text ? strlen(text) : 0);
}

static int set(struct agent *a, const char *key, const json_t *value, struct err *e)
{
	int r = settings_set(&a->settings, a->store, key, value, a->options->id, e);
	CLEANUP(free) char *text = r ? NULL : json_dumps(value, JSON_ENCODE_ANY);

	if (!r) {
		agent_say(a, "set", key, "it is %s from now on", text ? text : "?");
		agent_settings_changed(a);
	}
	return r;
}

static void put_mode(struct agent *a, struct request *q, const json_t *body)
{
	struct err e;
	int r = set(a, "mode", json_object_get(body, "mode"), &e);

	answer_done(q, r, &e);
}

static void put_host(struct agent *a, struct request *q, const json_t *body)
{
	const char *id = json_string_value(json_object_get(body, "id"));
	char key[AGENT_KEY_MAX];
	struct err e;
	int r;

	if (!id || !peers_know(a, id)) {
		r = err_set(&e, -ENOENT, "no host \"%.64s\" is known here", id ? id : "");
	} else {
		snprintf(key, sizeof(key), "host.%s", id);
		r = set(a, key, json_object_get(body, "state"), &e);
	}
	answer_done(q, r, &e);
}

static void put_policy(struct agent *a, struct request *q, const json_t *body)
{
	char key[AGENT_KEY_MAX];
	const char *name;
	json_t *value;
	struct err e;
	int r = 0;

	json_object_foreach((json_t *)body, name, value)
	{
		if (snprintf(key, sizeof(key), "policy.%s", name) >= (int)sizeof(key))
			key[0] = '\0';
		r = r ? r : set(a, key, value, &e);
	}
	answer_done(q, r, &e);
}

/* Who is answered when a VM has started or stopped. */
struct waiter {
	struct request *q;
	json_t *says; /* NULL: there is nothing to say */
};

static void on_told(void *arg, int r, const struct err *e)
{
	struct waiter *w = arg;

	struct err why;

	if (!r && w->says) {
		answer_json(w->q, json_incref(w->says));
	} else {
		if (r)
			why = *e;
		if (r && w->says)
			err_prefix(&why, r, "the spec is kept, but");
		answer_done(w->q, r, &why);
	}
	json_decref(w->says);
	free(w);
}

/* Refuses by itself if there is none. */
static bool wait_with(struct asker *asker, struct request *q, json_t *says)
{
	struct waiter *w = malloc(sizeof(*w));

	if (!w) {
		json_decref(says);
		answer_refusal(q, 500, "out of memory");
		return false;
	}
	*w = (struct waiter){ q, says };
	*asker = (struct asker){ on_told, w };
	return true;
}

static void put_apply(struct agent *a, struct request *q, const json_t *body)
{
	json_t *says = json_array();
	struct asker asker;
	struct err e;
	int r;

	if (!wait_with(&asker, q, says))
		return;
	r = specs_apply(a, body, says, &asker, &e);
	if (!r)
		return;
	json_decref(says);
	free(asker.arg);
	answer_done(q, r, &e);
}

static void put_spec(struct agent *a, struct request *q, const json_t *body,
		     int (*ask)(struct agent *, const char *name, const struct asker *,
				struct err *))
{
	struct asker asker;
	struct err e;
	int r;

	if (!wait_with(&asker, q, NULL))
		return;
	r = ask(a, json_string_value(json_object_get(body, "name")), &asker, &e);
	if (r)
		on_told(asker.arg, r, &e);
}

static void put_start(struct agent *a, struct request *q, const json_t *body)
{
	put_spec(a, q, body, specs_start);
}

static void put_stop(struct agent *a, struct request *q, const json_t *body)
{
	put_spec(a, q, body, specs_stop);
}

static void put_delete(struct agent *a, struct request *q, const json_t *body)
{
	struct err e;
	int r = specs_delete(a, json_string_value(json_object_get(body, "name")), &e);

	answer_done(q, r, &e);
}

static void answer_events(struct event_watcher *w, char *text)
{
	struct watcher *watcher = container_of(w, struct watcher, w);

	request_answer(watcher->q, text ? 200 : 500, "application/json", text,
		       text ? strlen(text) : 0);
	list_remove(&watcher->node);
	free(text);
	free(watcher);
}

static void get_events(struct agent *a, struct request *q, const json_t *body)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	struct err e;

	(void)body;
	if (!watcher) {
		answer_refusal(q, 500, "out of memory");
		return;
	}
	*watcher = (struct watcher){ .w.answer = answer_events, .q = q };
	list_append(&a->routes.watchers, &watcher->node);
	if (event_watchers_ask(&a->routes.events, &watcher->w, q->query, &e)) {
		list_remove(&watcher->node);
		free(watcher);
		answer_refusal(q, 400, e.text);
	}
}

void routes_gone(void *arg, struct request *q)
{
	struct agent *a = arg;
	struct watcher *watcher;

	list_for_each (watcher, &a->routes.watchers, node) {
		if (watcher->q == q) {
			event_watcher_gone(&watcher->w);
			return;
		}
	}
	orders_gone(a, q);
}

void routes_begin(struct agent *a)
{
	list_init(&a->routes.watchers);
	event_watchers_begin(&a->routes.events, a->loop, a->events);
}

void routes_end(struct agent *a)
{
	while (a->routes.events.loop && !list_empty(&a->routes.watchers))
		event_watcher_gone(&list_item(a->routes.watchers.next, struct watcher, node)->w);
	event_watchers_end(&a->routes.events);
	orders_end(a);
}

#define API "/api/v1/"

static const struct route routes[] = {
	{ HTTP_GET, API "status", get_status }, { HTTP_GET, API "snapshot", get_snapshot },
	{ HTTP_PUT, API "mode", put_mode },     { HTTP_PUT, API "host", put_host },
	{ HTTP_PUT, API "policy", put_policy }, { HTTP_PUT, API "apply", put_apply },
	{ HTTP_PUT, API "delete", put_delete }, { HTTP_PUT, API "start", put_start },
	{ HTTP_PUT, API "stop", put_stop },     { HTTP_PUT, API "move", orders_ask },
	{ HTTP_GET, API "events", get_events }, { HTTP_GET, "/metrics", get_metrics },
};

void routes_handle(void *arg, struct request *q)
{
	json_auto_t *body = q->body ? json_loadb(q->body, q->body_len, 0, NULL) : NULL;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, q->path) || routes[i].method != q->method)
			continue;
		if (q->method == HTTP_PUT && !json_is_object(body))
			answer_refusal(q, 400, "The body of this request is no JSON object.");
		else
			routes[i].run(arg, q, body);
		return;
	}
	answer_refusal(q, 404, "There is nothing of that name here.");
}

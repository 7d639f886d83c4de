/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "events.h"

struct events {
	pthread_mutex_t lock;
	uint64_t started_ns;
	uint64_t seq; /* of the newest; 0: none yet */
	char *line[EVENTS_KEPT]; /* of event n at n % EVENTS_KEPT */
	struct list listeners;
};

int events_new(struct events **out, struct err *e)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&ev->lock, NULL);
	list_init(&ev->listeners);
	ev->started_ns = loop_now_ns();
	*out = ev;
	return 0;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ev->line); i++)
		free(ev->line[i]);
	pthread_mutex_destroy(&ev->lock);
	free(ev);
}

/* Some readers count braces to find the end of an event: none stands in a string. */
static char *without_braces(const char *json)
{
	char *out = malloc(6 * strlen(json) + 1), *at = out;
	bool in_string = false;

	for (; out && *json; json++) {
		if (in_string && (*json == '{' || *json == '}')) {
			at += sprintf(at, "\\u%04x", (unsigned)*json);
			continue;
		}
		if (*json == '"')
			in_string = !in_string;
		*at++ = *json;
		if (in_string && *json == '\\')
			*at++ = *++json;
	}
	if (out)
		*at = '\0';
	return out;
}

/* NULL: no memory, or too long. */
static char *make_line(const struct events *ev, const char *source, const char *event,
		       json_t *properties)
{
	uint64_t ns = loop_now_ns() - ev->started_ns;
	json_t *json = json_pack("{s:{s:I, s:I}, s:s, s:s, s:O?, s:I}", "timestamp", "secs",
				 (json_int_t)(ns / 1000000000), "nanos",
				 (json_int_t)(ns % 1000000000), "source", source, "event", event,
				 "properties", properties, "seq", (json_int_t)(ev->seq + 1));
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	char *line = text ? without_braces(text) : NULL;

	json_decref(json);
	free(text);
	if (line && strlen(line) + 2 > EVENT_BYTES_MAX) {
		free(line);
		return NULL;
	}
	return line;
}

void events_add(struct events *ev, const char *source, const char *event, json_t *properties)
{
	struct events_listener *l;
	char *line;

	if (!ev) {
		json_decref(properties);
		return;
	}
	pthread_mutex_lock(&ev->lock);
	line = make_line(ev, source, event, properties);
	if (!line && properties)
		line = make_line(ev, source, event, NULL);
	ev->seq++;
	free(ev->line[ev->seq % EVENTS_KEPT]);
	ev->line[ev->seq % EVENTS_KEPT] = line;
	list_for_each (l, &ev->listeners, node)
		loop_post(l->loop, &l->added);
	pthread_mutex_unlock(&ev->lock);
	json_decref(properties);
}

size_t events_next(struct events *ev, uint64_t *seq, char *line)
{
	size_t len = 0;

	pthread_mutex_lock(&ev->lock);
	if (ev->seq > EVENTS_KEPT && *seq < ev->seq - EVENTS_KEPT)
		*seq = ev->seq - EVENTS_KEPT;
	while (!len && *seq < ev->seq) {
		const char *text = ev->line[++*seq % EVENTS_KEPT];

		if (text)
			len = (size_t)snprintf(line, EVENT_BYTES_MAX, "%s\n", text);
	}
	pthread_mutex_unlock(&ev->lock);
	return len;
}

void events_listen(struct events *ev, struct events_listener *l)
{
	pthread_mutex_lock(&ev->lock);
	list_append(&ev->listeners, &l->node);
	pthread_mutex_unlock(&ev->lock);
}

void events_unlisten(struct events *ev, struct events_listener *l)
{
	pthread_mutex_lock(&ev->lock);
	list_remove(&l->node);
	pthread_mutex_unlock(&ev->lock);
	loop_unpost(l->loop, &l->added);
}

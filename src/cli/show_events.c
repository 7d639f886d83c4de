/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit events": what happened to a VM. */
#include <errno.h>
#include <stdio.h>

#include "cli.h"
#include "client.h"

enum { WAIT_S = 30 };

struct show {
	bool follow, json;
};

/* Values stay as JSON has them: nothing in them can disturb a terminal. */
static void print_properties(json_t *properties)
{
	const char *key;
	json_t *value;

	json_object_foreach(properties, key, value)
	{
		printf(" %s=", key);
		json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	}
}

static void print_event(const json_t *event, bool json)
{
	const json_t *when = json_object_get(event, "timestamp");

	if (json) {
		json_dumpf(event, stdout, JSON_COMPACT);
	} else {
		printf("%6lld.%06lld  %-15s %s", json_integer_value(json_object_get(when, "secs")),
		       json_integer_value(json_object_get(when, "nanos")) / 1000,
		       json_string_value(json_object_get(event, "source")),
		       json_string_value(json_object_get(event, "event")));
		print_properties(json_object_get(event, "properties"));
	}
	putchar('\n');
}

static int print_events(struct client *c, const void *arg, struct err *e)
{
	const struct show *show = arg;
	unsigned long long seq = 0;
	int r;

	do {
		json_t *answer = NULL, *event;
		char path[64];
		size_t i;

		snprintf(path, sizeof(path), "events?since=%llu&wait=%d", seq,
			 show->follow ? WAIT_S : 0);
		r = client_get(c, path, &answer, e);
		json_array_foreach(json_object_get(answer, "events"), i, event)
			print_event(event, show->json);
		fflush(stdout);
		seq = (unsigned long long)json_integer_value(json_object_get(answer, "seq"));
		json_decref(answer);
	} while (!r && show->follow);
	/* Its last event was shown. */
	return show->follow && r == -EPIPE ? 0 : r;
}

int events_run(const struct verb *v, const struct verb_args *args)
{
	const struct show show = { .follow = args->value[0], .json = args->value[1] };

	(void)v;
	return control_each(args, print_events, &show);
}

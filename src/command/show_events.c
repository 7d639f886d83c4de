/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "command/show_events.h"

enum { WAIT_S = 30 };

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

int show_events(struct client *c, bool follow, bool as_json, struct err *e)
{
	unsigned long long seq = 0;
	int r;

	do {
		json_t *answer = NULL, *event;
		char path[64];
		size_t i;

		snprintf(path, sizeof(path), "events?since=%llu&wait=%d", seq, follow ? WAIT_S : 0);
		r = client_get(c, path, &answer, e);
		json_array_foreach(json_object_get(answer, "events"), i, event)
			print_event(event, as_json);
		fflush(stdout);
		seq = (unsigned long long)json_integer_value(json_object_get(answer, "seq"));
		json_decref(answer);
	} while (!r && follow);
	/* Its last event was shown. */
	return follow && r == -EPIPE ? 0 : r;
}

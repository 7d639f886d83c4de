/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened to a VM, in order: each event is one line of JSON with a sequence number, and a
 * ring keeps the last ones.  Any thread adds, and never waits for whoever reads: a reader that is
 * too slow misses events and sees it by their numbers.
 *
 *	{"timestamp": {"secs": 1, "nanos": 5}, "source": "vm", "event": "booted",
 *	 "properties": null, "seq": 3}
 *
 * Names are those of the event monitor of the control API; the timestamp counts from events_new().
 */
#ifndef EVENTS_H
#define EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include "err.h"
#include "loop.h"

enum {
	EVENTS_KEPT = 512,
	EVENT_BYTES_MAX = 4096, /* of one line: what a pipe takes in one piece, pipe(7) */
};

struct events;

int events_new(struct events **, struct err *);
void events_free(struct events *); /* NULL is fine; no listener may be left */

/* properties: an object, which is taken over, or NULL.  One that makes the line too long is left
 * out.  NULL for events is fine: nobody wants to know. */
void events_add(struct events *, const char *source, const char *event, json_t *properties);

/* The line of the oldest event kept that is newer than *seq, which becomes that event's; line
 * has EVENT_BYTES_MAX.  Returns its length with the line feed, 0: there is none. */
size_t events_next(struct events *, uint64_t *seq, char *line);

/* Posts added to loop after each event, until events_unlisten(). */
struct events_listener {
	struct loop *loop;
	struct work added;
	struct list node;
};

void events_listen(struct events *, struct events_listener *);
/* On the listener's loop. */
void events_unlisten(struct events *, struct events_listener *);

#endif

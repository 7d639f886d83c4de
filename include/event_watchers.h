/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks for events over HTTP, "events?since=SEQ&wait=SECONDS": those newer than SEQ, or if there
 * is none the next one, or none when the time is over.  All of it is on one loop's thread.
 */
#ifndef EVENT_WATCHERS_H
#define EVENT_WATCHERS_H

#include "events.h"

struct event_watchers {
	struct loop *loop;
	struct events *events;
	struct events_listener listener;
	struct list waiting;
	unsigned n; /* that wait */
};

struct event_watcher {
	struct event_watchers *of; /* NULL: it has not asked */
	struct list node;
	struct timer limit;
	uint64_t since;
	/* Once: {"events": [...], "seq": N} as text, which is handed over; NULL: out of memory. */
	void (*answer)(struct event_watcher *, char *text);
};

void event_watchers_begin(struct event_watchers *, struct loop *, struct events *);
/* Those that wait are not answered any more. */
void event_watchers_end(struct event_watchers *);

/* w->answer is set, all else is zero.  -EINVAL: the query is wrong, and there is no answer. */
int event_watchers_ask(struct event_watchers *, struct event_watcher *, const char *query,
		       struct err *);
/* Who asked has gone: if it waits, it is answered. */
void event_watcher_gone(struct event_watcher *);

#endif

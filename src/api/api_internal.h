/* SPDX-License-Identifier: Apache-2.0 */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include <pthread.h>

#include "api.h"
#include "call.h"
#include "cleanup.h"
#include "event_monitor.h"
#include "routes.h"

/* But for what is posted to main, all of it is the API thread's while that runs. */
struct api {
	struct api_config c;
	struct loop *loop;
	struct server *server;
	struct event_monitor *monitor; /* NULL: none */
	pthread_t thread;
	bool runs;
	struct list calls; /* all that are not answered */
	struct list watchers; /* those that wait for an event */
	unsigned nwatchers;
	struct events_listener listener;
	struct work leave; /* posted to main: the process ends */
};

/* watch_events.c */
void watch_events_begin(struct api *);
void watch_events_end(struct api *);
void watch_events_gone(struct call *); /* if it waits, it is answered */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include <pthread.h>

#include "api.h"
#include "audit_log.h"
#include "call.h"
#include "cleanup.h"
#include "event_monitor.h"
#include "routes.h"

/* But for what is main's, all of it is the API thread's while that runs. */
struct api {
	struct api_config c;
	struct server *server, *metrics; /* NULL: none */
	struct event_monitor *monitor; /* NULL: none */
	pthread_t thread;
	bool runs;
	struct list calls; /* all that are not answered */
	struct event_watchers watchers;
	struct audit_log log;
	struct work quit;
	/* Posted to main. */
	struct work leave; /* the process ends */
	struct work look;
	pthread_mutex_t lock;
	struct list looks; /* under the lock: calls that main has not looked for yet */
	bool away; /* under the lock: main does not look now, and does not touch its answers */
	struct list answers; /* main's, one a route */
	struct list notes; /* under the lock: what main has for the audit log */
	struct work write_notes;
};

/* look.c */
void look_on_main(void *api); /* for all that want it */
bool look_here(struct call *); /* false: main will be done with it */

#endif

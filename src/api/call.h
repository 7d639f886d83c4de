/* SPDX-License-Identifier: Apache-2.0 */
/* One request on its way: from the server to a route, perhaps to main, and back. */
#ifndef CALL_H
#define CALL_H

#include "counters.h"
#include "event_watchers.h"
#include "server.h"
#include "vmm.h"

struct api;
struct call;

enum call_body { BODY_NONE, BODY_NEEDED };

struct route {
	const char *name; /* behind /api/v1/, or a path of its own */
	enum http_method method;
	enum call_body body;
	/* On main: waiting for nobody, or in order.  The first fills the answer; one for GET
	 * changes nothing. */
	void (*look)(struct vmm *, struct vmm_request *);
	void (*run)(struct vmm *, struct vmm_request *);
	/* On the API's thread, after main if that is asked: answers the call.  NULL: the call is
	 * answered with what main said. */
	void (*here)(struct call *);
	bool ends_process; /* once it is answered */
	const char *feature; /* for clients to search vmm.ping for; NULL: it goes without saying */
};

struct call {
	struct api *api;
	const struct route *route;
	struct request *http;
	json_t *body;
	struct vmm_request vmm;
	struct work to_main, back;
	struct counter_readings counters;
	struct list node; /* of all calls */
	uint64_t since_ns; /* it is being dealt with */
	bool quotes_body; /* what it is answered says what the body holds: not for the audit log */
	struct list look; /* of those that main is to look for, or has left answered */
	struct event_watcher watcher;
};

extern const struct route routes[];
extern const size_t nroutes;

/* NULL: no such path. */
const struct route *route_find(const char *path);

void call_is_done(struct vmm_request *); /* on main */
void call_discard(struct call *); /* one that nobody waits for */

/* On the API's thread, once; the call is gone then. */
void call_answer(struct call *, int status, const char *type, char *text);
void call_fail(struct call *, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void call_answer_json(struct call *, json_t *); /* takes it over; NULL: 204 */

#endif

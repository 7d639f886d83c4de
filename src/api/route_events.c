/* SPDX-License-Identifier: Apache-2.0 */
#include "api_internal.h"

static void answer(struct event_watcher *w, char *text)
{
	struct call *c = container_of(w, struct call, watcher);

	if (text)
		call_answer(c, 200, "application/json", text);
	else
		call_fail(c, 500, "out of memory");
}

void route_events(struct call *c)
{
	struct err e;

	c->watcher.answer = answer;
	if (event_watchers_ask(&c->api->watchers, &c->watcher, c->http->query, &e))
		call_fail(c, 400, "%s", e.text);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"
#include "bits.h"
#include "thread.h"

enum {
	/* What takes time, in which no other client is served, is not a body's length but the
	 * number of its values: up to 20 ms for so many. */
	JSON_VALUES_MAX = 65536,
};

static const char application_json[] = "application/json";

void call_discard(struct call *c)
{
	json_decref(c->body);
	json_decref(c->vmm.out);
	counters_free(&c->counters);
	free(c);
}

static void call_free(struct call *c)
{
	list_remove(&c->node);
	call_discard(c);
}

/* error: what the answer says, for the audit log; NULL: there was none. */
static void answer(struct call *c, int status, const char *type, char *text, const char *error)
{
	audit_log_request(&c->api->log, c->http, c->route ? c->route->name : NULL, status,
			  c->since_ns,
			  error && c->quotes_body ? "the body is not valid JSON" : error);
	request_answer(c->http, status, text ? type : NULL, text, text ? strlen(text) : 0);
	free(text);
	call_free(c);
}

void call_answer(struct call *c, int status, const char *type, char *text)
{
	answer(c, status, type, text, NULL);
}

/* ASCII only, and a line: some clients read in pieces that would split a character. */
static char *dump(const json_t *json)
{
	char *text = json_dumps(json, JSON_ENSURE_ASCII | JSON_COMPACT), *line = NULL;

	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

void call_answer_json(struct call *c, json_t *json)
{
	char *text;

	if (!json) {
		call_answer(c, 204, NULL, NULL);
		return;
	}
	text = dump(json);
	json_decref(json);
	call_answer(c, text ? 200 : 500, application_json, text);
}

void call_fail(struct call *c, int status, const char *fmt, ...)
{
	struct err e;
	json_t *json;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&e, 0, fmt, ap);
	va_end(ap);
	json = json_pack("[s]", e.text);
	answer(c, status, application_json, dump(json), e.text);
	json_decref(json);
}

static int status_of(enum vmm_fault fault)
{
	static const int status[] = { [VMM_INVALID] = 400,
				      [VMM_NO_VM] = 404,
				      [VMM_TAKEN] = 409,
				      [VMM_LATER] = 429,
				      [VMM_FAILED] = 500 };

	return status[fault];
}

/* On the API's thread: main is done with it. */
static void call_is_back(void *arg)
{
	struct call *c = arg;
	bool leave = (c->route->ends_process && !c->vmm.fault) || c->vmm.ends_process;
	struct api *a = c->api;

	if (c->vmm.fault)
		call_fail(c, status_of(c->vmm.fault), "%s", c->vmm.e.text);
	else if (c->route->here)
		c->route->here(c);
	else
		call_answer_json(c, TAKE(c->vmm.out));
	if (leave)
		loop_post(a->c.main_loop, &a->leave);
}

void call_is_done(struct vmm_request *q)
{
	struct call *c = q->arg;

	/* Here, as the configuration may go on using parts of it: no JSON has two threads. */
	json_decref(c->body);
	c->body = NULL;
	loop_post(c->api->c.loop, &c->back);
}

static void call_on_main(void *arg)
{
	struct call *c = arg;

	vmm_submit(c->api->c.vmm, &c->vmm);
}

/* Each but the first stands behind one of these, which may also stand in a string. */
static bool has_few_values(const char *body, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += body[i] == ',' || body[i] == '[' || body[i] == '{';
	return n < JSON_VALUES_MAX;
}

/* False: the call is answered. */
static bool take_body(struct call *c)
{
	json_error_t where;

	if (c->route->body == BODY_NONE && c->http->body_len) {
		call_fail(c, 400, "%s takes no body", c->route->name);
		return false;
	}
	if (c->route->body == BODY_NONE)
		return true;
	if (!c->http->body_len) {
		call_fail(c, 400, "%s needs a JSON object as its body", c->route->name);
		return false;
	}
	if (!has_few_values(c->http->body, c->http->body_len)) {
		call_fail(c, 413, "the body has more than %d values", JSON_VALUES_MAX);
		return false;
	}
	c->body = json_loadb(c->http->body, c->http->body_len, 0, &where);
	c->quotes_body = !c->body;
	if (!c->body)
		call_fail(c, 400, "the body is not valid JSON: line %d, column %d: %s", where.line,
			  where.column, where.text);
	else if (!json_is_object(c->body))
		call_fail(c, 400, "the body must be a JSON object, { ... }");
	else
		return true;
	return false;
}

/* NULL: it is answered. */
static struct call *new_call(struct api *a, struct request *http)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c) {
		request_answer(http, 500, NULL, NULL, 0);
		return NULL;
	}
	c->api = a;
	c->http = http;
	c->since_ns = loop_now_ns();
	list_append(&a->calls, &c->node);
	return c;
}

static void follow_route(struct call *c)
{
	struct api *a = c->api;

	if (!take_body(c))
		return;
	if (!c->route->look && !c->route->run) {
		c->route->here(c);
		return;
	}
	c->back = (struct work){ .run = call_is_back, .arg = c };
	c->to_main = (struct work){ .run = call_on_main, .arg = c };
	c->vmm = (struct vmm_request){ .run = c->route->run,
				       .in = c->body,
				       .fds = c->http->fds,
				       .nfds = c->http->nfds,
				       .done = call_is_done,
				       .arg = c };
	if (c->route->run)
		loop_post(a->c.main_loop, &c->to_main);
	else if (look_here(c))
		call_is_back(c);
}

static void on_request(void *arg, struct request *http)
{
	struct call *c = new_call(arg, http);

	if (!c)
		return;
	c->route = route_find(http->path);
	if (!c->route)
		call_fail(c, 404, "there is no %s; paths look like /api/v1/vm.info", http->path);
	else if (c->route->method != http->method)
		call_fail(c, 400, "%s is asked for with %s", c->route->name,
			  c->route->method == HTTP_GET ? "GET" : "PUT");
	else
		follow_route(c);
}

static void on_metrics_request(void *arg, struct request *http)
{
	struct call *c = new_call(arg, http);

	if (!c)
		return;
	if (strcmp(http->path, "/metrics")) {
		call_fail(c, 404, "there is no %s; this socket has only /metrics", http->path);
		return;
	}
	c->route = route_find(http->path);
	if (http->method != HTTP_GET)
		call_fail(c, 405, "/metrics is asked for with GET");
	else
		follow_route(c);
}

/* Whoever waited for an event waits no more. */
static void on_gone(void *arg, struct request *http)
{
	struct api *a = arg;
	struct call *c;

	list_for_each (c, &a->calls, node) {
		if (c->http == http) {
			event_watcher_gone(&c->watcher);
			return;
		}
	}
}

static void on_refused(void *arg, const struct request *http, int status, const char *why)
{
	struct api *a = arg;

	audit_log_request(&a->log, http, NULL, status, 0, why);
}

struct note {
	struct list node;
	json_t *line;
};

static struct note *next_note(struct api *a)
{
	struct note *n = NULL;

	pthread_mutex_lock(&a->lock);
	if (!list_empty(&a->notes)) {
		n = list_item(a->notes.next, struct note, node);
		list_remove(&n->node);
	}
	pthread_mutex_unlock(&a->lock);
	return n;
}

static void write_notes(void *arg)
{
	struct api *a = arg;
	struct note *n;

	while ((n = next_note(a))) {
		audit_write(a->c.audit, n->line);
		free(n);
	}
}

void api_note(struct api *a, json_t *line)
{
	struct note *n = malloc(sizeof(*n));

	if (!n) {
		json_decref(line);
		return;
	}
	n->line = line;
	pthread_mutex_lock(&a->lock);
	list_append(&a->notes, &n->node);
	pthread_mutex_unlock(&a->lock);
	loop_post(a->c.loop, &a->write_notes);
}

static void *api_main(void *arg)
{
	struct api *a = arg;

	loop_run(a->c.loop);
	return NULL;
}

static void api_leave(void *arg)
{
	struct api *a = arg;

	vmm_end(a->c.vmm);
}

/* Behind the answers that main has given: their clients wait for them. */
static void api_quit(void *arg)
{
	struct api *a = arg;

	loop_quit(a->c.loop);
}

/* Takes over what listens. */
static int serve(struct api *a, struct server **out, struct listener *listener,
		 const struct caller_group *group, void (*handle)(void *arg, struct request *),
		 struct err *e)
{
	const struct server_handler handler = {
		.handle = handle, .gone = on_gone, .refused = on_refused, .arg = a
	};
	int r = listener_let_in(listener, group, e);

	r = r ? r : server_new(out, a->c.loop, listener, &handler, &server_limits, e);
	if (r)
		listener_close(listener);
	return r;
}

static int open_sockets(struct api *a, struct err *e)
{
	struct listener listener;
	int r = a->c.path ? listener_open(&listener, a->c.path, 0600, e)
			  : listener_adopt(&listener, a->c.fd, e);

	r = r ? r : serve(a, &a->server, &listener, &a->c.group, on_request, e);
	if (r || !a->c.metrics_path)
		return r;
	r = listener_open(&listener, a->c.metrics_path, 0600, e);
	return r ? r : serve(a, &a->metrics, &listener, &a->c.metrics_group, on_metrics_request, e);
}

int api_new(struct api **out, const struct api_config *config, struct err *e)
{
	struct api *a = calloc(1, sizeof(*a));
	int r = 0;

	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->c = *config;
	a->leave = (struct work){ .run = api_leave, .arg = a };
	a->quit = (struct work){ .run = api_quit, .arg = a };
	a->look = (struct work){ .run = look_on_main, .arg = a };
	a->write_notes = (struct work){ .run = write_notes, .arg = a };
	pthread_mutex_init(&a->lock, NULL);
	list_init(&a->looks);
	list_init(&a->answers);
	list_init(&a->calls);
	list_init(&a->notes);
	audit_log_begin(&a->log, a->c.loop, config->audit);
	/* First, for clients that wait for it before they connect. */
	if (config->event_path || config->event_fd >= 0)
		r = event_monitor_new(&a->monitor, a->c.loop, config->events, config->event_path,
				      config->event_fd, e);
	if (!r)
		r = open_sockets(a, e);
	if (!r) {
		event_watchers_begin(&a->watchers, a->c.loop, config->events);
		r = thread_new(&a->thread, "_api", SANDBOX_API, 0, api_main, a);
		a->runs = !r;
		if (r)
			err_set(e, r, "cannot start the thread of the API: %s", strerror(-r));
	}
	if (r) {
		api_free(a);
		return r;
	}
	*out = a;
	return 0;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	if (a->runs) {
		loop_post(a->c.loop, &a->quit);
		pthread_join(a->thread, NULL);
	}
	event_watchers_end(&a->watchers);
	event_monitor_free(a->monitor);
	server_free(a->server);
	server_free(a->metrics);
	/* Nobody hears it; the server lets the request go.  Main may not have begun with it. */
	while (!list_empty(&a->calls)) {
		struct call *c = list_item(a->calls.next, struct call, node);

		loop_unpost(a->c.main_loop, &c->to_main);
		call_answer(c, 503, NULL, NULL);
	}
	audit_log_end(&a->log);
	loop_unpost(a->c.main_loop, &a->look);
	loop_unpost(a->c.main_loop, &a->leave);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

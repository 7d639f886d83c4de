/* SPDX-License-Identifier: Apache-2.0 */
#include "arrivals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "client.h"
#include "host_view.h"
#include "task.h"
#include "past.h"
#include "planner/names.h"
#include "process.h"
#include "pulse.h"
#include "specs.h"

enum { LISTEN_TRIES = 100, TRY_MS = 100, WATCH_MS = 500, ANSWER_MS = 2000 };

/* A VM that may come.  The thread of the one who asked makes it; from then on its own task has it,
 * and spec and moves are under the agent's lock. */
struct arrival {
	struct list node;
	struct agent *agent;
	char token[37], vm[65];
	uint64_t memory; /* bytes that were asked for */
	pid_t pid;
	json_t *spec, *moves; /* moves: an array */
};

json_t *arrivals_reservations(const struct agent *a)
{
	const struct reservation_entry *r;
	json_t *list = json_array();

	list_for_each (r, &a->ledger.entries, node)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:I, s:I, s:I}", "host", a->options->id, "vm",
					r->vm, "memory", (json_int_t)r->memory, "vcpus",
					(json_int_t)r->vcpus, "until", (json_int_t)r->until));
	return list;
}

/* What is here, with what is free at this moment. */
static struct ledger_view view(struct agent *a, const char *vm)
{
	struct ledger_view v = { .known = a->host.at > 0,
				 .state = settings_host(&a->settings, a->options->id),
				 .memory = a->host.memory,
				 .reserve = a->options->reserve,
				 .in_max = a->settings.policy.in_max,
				 .has_vm = agent_vm(a, vm) };
	struct host_reading now;
	const struct agent_vm *i;

	host_read(&now, "");
	v.available = a->host.available < now.available ? a->host.available : now.available;
	list_for_each (i, &a->vms, node) {
		v.known &= i->at > 0;
		v.committed += i->memory;
	}
	return v;
}

static int reserve(struct agent *a, const struct reservation_request *q, struct arrival *arrival,
		   struct err *e)
{
	const struct reservation_entry *entry;
	struct ledger_view v;
	int r;

	pthread_mutex_lock(&a->lock);
	v = view(a, q->vm);
	r = ledger_reserve(&a->ledger, &v, q, agent_now(), &entry, e);
	if (r) {
		agent_say(a, "refused", q->vm, "from %s: %s", q->from, e->text);
	} else {
		strcpy(arrival->token, entry->token);
		agent_say(a, "reserved", q->vm, "%s sends it", q->from);
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

/* What a request for room has to have. */
static int read_request(const json_t *body, const char *from, struct reservation_request *q,
			struct arrival *arrival, struct err *e)
{
	json_int_t memory, resident, vcpus;
	const char *vm, *uuid;
	json_t *spec = NULL, *moves = NULL;
	json_error_t error;

	if (json_unpack_ex((json_t *)body, &error, JSON_STRICT,
			   "{s:s, s:s, s:I, s:I, s:I, s?o, s?o}", "vm", &vm, "uuid", &uuid,
			   "memory", &memory, "resident", &resident, "vcpus", &vcpus, "spec", &spec,
			   "moves", &moves))
		return err_set(e, -EINVAL, "the question for room is wrong: %s", error.text);
	if (!name_is_valid(vm) || memory <= 0 || resident < 0 || vcpus <= 0)
		return err_set(e, -EINVAL, "the question for room makes no sense");
	*q = (struct reservation_request){ .vm = vm,
					   .from = from,
					   .memory = (uint64_t)memory,
					   .resident = (uint64_t)resident,
					   .vcpus = (uint64_t)vcpus };
	snprintf(arrival->vm, sizeof(arrival->vm), "%s", vm);
	arrival->memory = q->memory;
	arrival->spec = json_deep_copy(spec);
	arrival->moves = json_is_array(moves) ? json_deep_copy(moves) : json_array();
	return 0;
}

static bool has_ended(const struct arrival *v)
{
	bool over;
	int status;

	pthread_mutex_lock(&v->agent->lock);
	over = process_is_over(v->agent, v->pid, &status);
	pthread_mutex_unlock(&v->agent->lock);
	return over;
}

/* Its monitor's answer, a new reference or NULL. */
static json_t *ask_monitor(const struct arrival *v, const char *path)
{
	json_t *answer = NULL;
	struct client c;
	struct err e;

	if (!client_open(&c, v->vm, &e)) {
		client_set_limit(&c, ANSWER_MS);
		client_get(&c, path, &answer, &e);
	}
	client_close(&c);
	return answer;
}

/* Until it listens, and where. */
static json_t *await_url(const struct arrival *v, struct err *e)
{
	for (unsigned i = 0; i < LISTEN_TRIES && !has_ended(v); i++) {
		json_auto_t *progress = ask_monitor(v, "vm.migration-progress");
		json_t *url = json_object_get(progress, "url");

		if (url)
			return json_incref(url);
		tasks_sleep(v->agent, TRY_MS);
		if (tasks_end_soon(v->agent))
			break;
	}
	err_set(e, -EIO, "the monitor that should wait for it does not; see its log");
	return NULL;
}

static int start_monitor(struct arrival *v, json_t **url, struct err *e)
{
	const struct agent_options *o = v->agent->options;
	char incoming[300];
	const char *args[] = { "run",        "--name", v->vm,
			       "--incoming", incoming, o->tls ? "--tls" : NULL,
			       o->tls,       NULL };
	int r;

	if (!o->address[0])
		return err_set(e, -EBUSY, "the host has no --address that VMs could come to");
	snprintf(incoming, sizeof(incoming), strchr(o->address, ':') ? "tcp:[%s]:0" : "tcp:%s:0",
		 o->address);
	pthread_mutex_lock(&v->agent->lock);
	r = v->spec ? specs_adopt(v->agent, v->spec, e) : 0;
	r = r ? r : process_start(v->agent, v->vm, args, &v->pid, e);
	pthread_mutex_unlock(&v->agent->lock);
	if (r)
		return r;
	*url = await_url(v, e);
	return *url ? 0 : -EIO;
}

/* With the lock. */
static void arrival_free(struct arrival *v)
{
	list_remove(&v->node);
	json_decref(v->spec);
	json_decref(v->moves);
	free(v);
}

/* With the lock. */
static void release(const struct arrival *v)
{
	ledger_release(ledger_find(&v->agent->ledger, v->token));
}

/* With the lock.  SIGTERM ends a monitor that has no VM yet, and one whose VM is being handed over
 * does as the hand-over says. */
static void call_off(const struct arrival *v)
{
	struct err e;
	int status;

	if (v->pid > 0 && !process_is_over(v->agent, v->pid, &status))
		kill(v->pid, SIGTERM);
	if (v->spec && specs_leave(v->agent, v->vm, &e))
		agent_say(v->agent, "spec-kept", v->vm, "%s", e.text);
}

enum fate { FATE_WAITS, FATE_COMES, FATE_HERE, FATE_FAILED };

/* More than it was given room for: whoever sends it has lied, or it was given more meanwhile. */
static bool is_too_large(const struct arrival *v)
{
	json_auto_t *info = ask_monitor(v, "vm.info");
	const json_t *given = json_object_get(json_object_get(info, "memory"), "given");

	return json_integer_value(given) > (json_int_t)v->memory;
}

static enum fate fate_of(const struct arrival *v)
{
	json_auto_t *progress = NULL;
	const json_t *state, *session;

	if (has_ended(v))
		return FATE_FAILED;
	progress = ask_monitor(v, "vm.migration-progress");
	state = json_object_get(progress, "state");
	session = json_object_get(progress, "session");
	if (json_object_get(state, "Finished"))
		return FATE_HERE;
	if (json_object_get(state, "Failed") || json_object_get(state, "Cancelled"))
		return FATE_FAILED;
	if (!json_string_length(session))
		return FATE_WAITS;
	return is_too_large(v) ? FATE_FAILED : FATE_COMES;
}

static void arrived(const struct arrival *v)
{
	struct agent *a = v->agent;

	past_set(a, v->vm, v->moves);
	agent_say(a, "arrived", v->vm, "it runs here now");
	release(v);
}

/* Whether it is over, one way or the other. */
static bool judge(const struct arrival *v, enum fate fate)
{
	struct reservation_entry *r = ledger_find(&v->agent->ledger, v->token);

	if (fate == FATE_HERE) {
		arrived(v);
		return true;
	}
	if (r && fate == FATE_COMES)
		r->arrives = true;
	if (r && fate == FATE_FAILED)
		agent_say(v->agent, "not-arrived", v->vm, "the move from %s failed", r->from);
	if (r && ledger_has_expired(r, agent_now()))
		agent_say(v->agent, "not-arrived", v->vm, "%s sent nothing within %d s", r->from,
			  LEDGER_EXPIRES_S);
	else if (r && fate != FATE_FAILED)
		return false;
	call_off(v);
	release(v);
	return true;
}

static void watch(void *arg)
{
	struct arrival *v = arg;
	struct agent *a = v->agent;
	bool over = false;

	while (!over && !tasks_end_soon(a)) {
		enum fate fate = fate_of(v);

		pthread_mutex_lock(&a->lock);
		over = judge(v, fate);
		pthread_mutex_unlock(&a->lock);
		if (!over)
			tasks_sleep(a, WATCH_MS);
	}
	pthread_mutex_lock(&a->lock);
	pulse_now(a->look);
	arrival_free(v);
	pthread_mutex_unlock(&a->lock);
}

/* The monitor waits, and whoever asked may send. */
static int promise(struct arrival *v, const struct reservation_request *q, json_t **answer,
		   struct err *e)
{
	struct agent *a = v->agent;
	json_auto_t *url = NULL;
	int r = reserve(a, q, v, e);

	if (r)
		return r;
	r = start_monitor(v, &url, e);
	pthread_mutex_lock(&a->lock);
	if (!r)
		list_append(&a->arrivals, &v->node);
	r = r ? r : task_start(a, "arrival", watch, v, e);
	if (r) {
		agent_say(a, "refused", v->vm, "from %s: %s", q->from, e->text);
		call_off(v);
		release(v);
	} else {
		*answer = json_pack("{s:s, s:i, s:O}", "token", v->token, "expires_s",
				    LEDGER_EXPIRES_S, "url", url);
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

int arrivals_prepare(struct agent *a, const char *from, const json_t *body, json_t **answer,
		     struct err *e)
{
	struct arrival *v = calloc(1, sizeof(*v));
	struct reservation_request q;
	int r;

	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->agent = a;
	list_init(&v->node);
	r = read_request(body, from, &q, v, e);
	r = r ? r : promise(v, &q, answer, e);
	if (!r)
		return 0;
	pthread_mutex_lock(&a->lock);
	arrival_free(v);
	pthread_mutex_unlock(&a->lock);
	return r;
}

/* Only who was promised it may say what became of it. */
static struct reservation_entry *entry_of(struct agent *a, const char *from, const json_t *body)
{
	const char *token = json_string_value(json_object_get(body, "token"));
	struct reservation_entry *r = token ? ledger_find(&a->ledger, token) : NULL;

	return r && !strcmp(r->from, from) ? r : NULL;
}

int arrivals_cancel(struct agent *a, const char *from, const json_t *body, json_t **answer,
		    struct err *e)
{
	struct reservation_entry *r;

	(void)answer;
	(void)e;
	pthread_mutex_lock(&a->lock);
	r = entry_of(a, from, body);
	if (r) {
		r->arrives = false;
		r->until = 0; /* its task sees that it has expired */
	}
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static struct arrival *arrival_of(struct agent *a, const struct reservation_entry *r)
{
	struct arrival *v;

	list_for_each (v, &a->arrivals, node)
		if (r && !strcmp(v->token, r->token))
			return v;
	return NULL;
}

int arrivals_settled(struct agent *a, const char *from, const json_t *body, json_t **answer,
		     struct err *e)
{
	const char *vm = json_string_value(json_object_get(body, "vm"));
	json_t *move = json_object_get(body, "move");
	struct arrival *v;

	(void)answer;
	if (!vm || !json_is_object(move))
		return err_set(e, -EINVAL, "the end of a move is told without the move");
	pthread_mutex_lock(&a->lock);
	v = arrival_of(a, entry_of(a, from, body));
	if (v)
		json_array_insert(v->moves, 0, move);
	else if (agent_vm(a, vm))
		past_add(a, vm, json_incref(move));
	pthread_mutex_unlock(&a->lock);
	return 0;
}

int arrivals_gain(struct agent *a, const char *from, const json_t *body, json_t **answer,
		  struct err *e)
{
	const char *vm = json_string_value(json_object_get(body, "vm"));
	const json_t *gain = json_object_get(body, "gain");

	(void)from;
	(void)answer;
	if (!vm || !json_is_number(gain))
		return err_set(e, -EINVAL, "the gain of a move is told without VM or gain");
	pthread_mutex_lock(&a->lock);
	past_gain(a, vm, json_number_value(gain));
	pthread_mutex_unlock(&a->lock);
	return 0;
}

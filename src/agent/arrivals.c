/* SPDX-License-Identifier: Apache-2.0 */
#include "arrivals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "client.h"
#include "daily.h"
#include "days.h"
#include "host_view.h"
#include "look.h"
#include "past.h"
#include "peers.h"
#include "process.h"
#include "specs.h"
#include "supervise.h"
#include "task.h"
#include "uuid.h"

enum {
	LISTEN_S = 10,
	TRY_MS = 100,
	WATCH_MS = 500,
	ANSWER_MS = 2000,
	END_TRIES = 20, /* of TRY_MS, when the agent ends */
};

/* A VM that may come.  The thread of the one who asked makes it; from then on its own task has
 * it. */
struct arrival {
	struct list node;
	struct agent *agent;
	char token[37], vm[65], uuid[37], from[AGENT_ID_MAX + 1];
	uint64_t memory; /* bytes that were asked for */
	pid_t pid;
	json_t *spec;
	/* with the lock: */
	json_t *moves; /* an array */
	struct daily days; /* all 0: not known */
	bool adopted; /* its spec */
	bool off; /* its monitor is to end */
	bool settled; /* its source said so */
	uint64_t here_at; /* seconds since 1970; 0: it has not come */
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
		list_append(&a->arrivals, &arrival->node);
		agent_say(a, "reserved", q->vm, "%s sends it", q->from);
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

/* All that comes with it is of that VM. */
static int check_spec(const json_t *spec, const char *vm, const char *uuid, struct err *e)
{
	struct spec_values v;
	int r = spec ? spec_read(spec, &v, e) : 0;

	if (r || !spec)
		return r;
	if (strcmp(v.name, vm) || !v.uuid || strcmp(v.uuid, uuid))
		return err_set(e, -EINVAL, "the spec that comes with VM \"%s\" is not its own", vm);
	return 0;
}

/* What a request for room has to have. */
static int read_request(const json_t *body, const char *from, struct reservation_request *q,
			struct arrival *arrival, struct err *e)
{
	json_int_t memory, resident, vcpus;
	const char *vm, *uuid;
	json_t *spec = NULL, *moves = NULL, *days = NULL;
	json_error_t error;
	int r;

	if (json_unpack_ex((json_t *)body, &error, JSON_STRICT,
			   "{s:s, s:s, s:I, s:I, s:I, s?o, s?o, s?o}", "vm", &vm, "uuid", &uuid,
			   "memory", &memory, "resident", &resident, "vcpus", &vcpus, "spec", &spec,
			   "moves", &moves, "days", &days))
		return err_set(e, -EINVAL, "the question for room is wrong: %s", error.text);
	if (memory <= 0 || resident < 0 || vcpus <= 0 || !uuid_is(uuid))
		return err_set(e, -EINVAL, "the question for room makes no sense");
	r = spec_check_name(vm, e);
	r = r ? r : check_spec(spec, vm, uuid, e);
	r = r || !moves ? r : past_check(moves, e);
	if (!r && days && daily_read(&arrival->days, days))
		r = err_set(e, -EINVAL, "the days that come with VM \"%s\" make no sense", vm);
	if (r)
		return r;
	*q = (struct reservation_request){ .vm = vm,
					   .from = from,
					   .memory = (uint64_t)memory,
					   .resident = (uint64_t)resident,
					   .vcpus = (uint64_t)vcpus };
	snprintf(arrival->vm, sizeof(arrival->vm), "%s", vm);
	arrival->memory = q->memory;
	arrival->spec = json_deep_copy(spec);
	arrival->moves = moves ? json_deep_copy(moves) : json_array();
	strcpy(arrival->uuid, uuid);
	snprintf(arrival->from, sizeof(arrival->from), "%s", from);
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
	const uint64_t end_ns = loop_now_ns() + LISTEN_S * UINT64_C(1000000000);

	while (loop_now_ns() < end_ns && !tasks_end_soon(v->agent) && !has_ended(v)) {
		json_auto_t *progress = ask_monitor(v, "vm.migration-progress");
		json_t *url = json_object_get(progress, "url");

		if (url)
			return json_incref(url);
		tasks_sleep(v->agent, TRY_MS);
	}
	err_set(e, -EIO, "the monitor that should wait for it does not; see its log");
	return NULL;
}

static int start_monitor(struct arrival *v, struct err *e)
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
	v->adopted = v->spec && !r;
	r = r ? r : process_start(v->agent, v->vm, args, &v->pid, e);
	pthread_mutex_unlock(&v->agent->lock);
	return r;
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

/* With the lock: nothing of it is left here. */
static void leave(const struct arrival *v)
{
	struct err e;

	if (v->adopted && specs_leave(v->agent, v->vm, &e))
		agent_say(v->agent, "spec-kept", v->vm, "%s", e.text);
	if (!v->adopted && v->pid > 0)
		process_forget(v->agent, v->vm);
	release(v);
}

/* Its monitor ends then, unless the VM is here by now: then it refuses. */
static void call_off(const struct arrival *v)
{
	struct client c;
	struct err e;

	if (!client_open(&c, v->vm, &e)) {
		client_set_limit(&c, ANSWER_MS);
		client_put(&c, "vm.cancel-migration", NULL, NULL, &e);
	}
	client_close(&c);
}

enum fate { FATE_WAITS, FATE_COMES, FATE_HERE, FATE_TOO_LARGE, FATE_FAILED, FATE_ENDED };

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

	/* It may have been over soon after it came. */
	if (has_ended(v))
		return supervise_has_come(v->uuid) ? FATE_HERE : FATE_ENDED;
	progress = ask_monitor(v, "vm.migration-progress");
	state = json_object_get(progress, "state");
	session = json_object_get(progress, "session");
	if (json_object_get(state, "Finished"))
		return FATE_HERE;
	if (json_object_get(state, "Failed") || json_object_get(state, "Cancelled"))
		return FATE_FAILED;
	if (!json_string_length(session))
		return FATE_WAITS;
	return is_too_large(v) ? FATE_TOO_LARGE : FATE_COMES;
}

/* True: nothing more is heard of it. */
static bool arrived(struct arrival *v)
{
	struct agent *a = v->agent;

	if (!v->here_at) {
		v->here_at = agent_now();
		past_set(a, v->vm, v->moves);
		days_set(a->days, v->vm, v->days.hour ? &v->days : NULL);
		agent_say(a, "arrived", v->vm, "it runs here now");
		release(v);
	}
	return v->settled || agent_now() >= v->here_at + LEDGER_EXPIRES_S;
}

/* With the lock. */
static void end_it(struct arrival *v, const char *why)
{
	if (!v->off)
		agent_say(v->agent, "not-arrived", v->vm, "from %s: %s", v->from, why);
	v->off = true;
}

/* With the lock: whether it is over, one way or the other.  Its room is kept as long as its process
 * is there. */
static bool judge(struct arrival *v, enum fate fate)
{
	struct reservation_entry *r = ledger_find(&v->agent->ledger, v->token);

	if (fate == FATE_HERE)
		return arrived(v);
	r->arrives |= fate == FATE_COMES;
	if (fate == FATE_FAILED || fate == FATE_ENDED)
		end_it(v, "the move failed");
	else if (fate == FATE_TOO_LARGE)
		end_it(v, "it has more memory than room was asked for");
	else if (ledger_has_expired(r, agent_now()))
		end_it(v, "nothing was sent in time, or it was called off");
	if (fate != FATE_ENDED)
		return false;
	leave(v);
	return true;
}

/* One step; false: it is over. */
static bool go_on(struct arrival *v)
{
	struct agent *a = v->agent;
	enum fate fate = v->here_at ? FATE_HERE : fate_of(v);
	bool off, over;

	/* Before its room is given back it counts as one that is here. */
	if (fate == FATE_HERE && !v->here_at)
		look_at(a, v->vm, v->pid);
	pthread_mutex_lock(&a->lock);
	over = judge(v, fate);
	off = v->off;
	pthread_mutex_unlock(&a->lock);
	if (off && !over)
		call_off(v);
	return !over;
}

/* The agent ends: what has not begun to come does not come any more. */
static void go_out(struct arrival *v)
{
	for (unsigned i = 0; i < END_TRIES && fate_of(v) == FATE_WAITS; i++) {
		call_off(v);
		poll(NULL, 0, TRY_MS);
	}
	if (fate_of(v) != FATE_ENDED)
		return;
	pthread_mutex_lock(&v->agent->lock);
	leave(v);
	pthread_mutex_unlock(&v->agent->lock);
}

static void watch(void *arg)
{
	struct arrival *v = arg;
	struct agent *a = v->agent;
	bool more;

	while ((more = go_on(v)) && !tasks_end_soon(a))
		tasks_sleep(a, WATCH_MS);
	if (more && !v->here_at)
		go_out(v);
	pthread_mutex_lock(&a->lock);
	pulse_now(a->look);
	arrival_free(v);
	pthread_mutex_unlock(&a->lock);
}

/* With the lock. */
static int refuse(struct arrival *v, int r, const struct err *e)
{
	agent_say(v->agent, "refused", v->vm, "from %s: %s", v->from, e->text);
	leave(v);
	arrival_free(v);
	return r;
}

/* There is room.  The monitor waits, and whoever asked may send; from then on a task has it. */
static int promise(struct arrival *v, json_t **answer, struct err *e)
{
	struct agent *a = v->agent;
	json_auto_t *url = NULL;
	int r = start_monitor(v, e);

	if (!r)
		url = await_url(v, e);
	pthread_mutex_lock(&a->lock);
	v->off = !url;
	if (!r) {
		r = task_start(a, "arrival", watch, v, e);
		if (r)
			kill(v->pid, SIGTERM); /* nobody has heard where it waits */
	}
	if (r)
		r = refuse(v, r, e);
	else if (url)
		*answer = json_pack("{s:s, s:i, s:O}", "token", v->token, "expires_s",
				    LEDGER_EXPIRES_S, "url", url);
	pthread_mutex_unlock(&a->lock);
	return r || url ? r : -EIO;
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
	r = r ? r : reserve(a, &q, v, e);
	if (!r)
		return promise(v, answer, e);
	pthread_mutex_lock(&a->lock);
	arrival_free(v);
	pthread_mutex_unlock(&a->lock);
	return r;
}

/* Only who was promised it may say what became of it. */
static struct arrival *arrival_of(struct agent *a, const char *from, const json_t *body)
{
	const char *token = json_string_value(json_object_get(body, "token"));
	struct arrival *v;

	list_for_each (v, &a->arrivals, node)
		if (token && !strcmp(v->token, token) && !strcmp(v->from, from))
			return v;
	return NULL;
}

int arrivals_cancel(struct agent *a, const char *from, const json_t *body, json_t **answer,
		    struct err *e)
{
	struct reservation_entry *r;
	struct arrival *v;

	(void)answer;
	(void)e;
	pthread_mutex_lock(&a->lock);
	v = arrival_of(a, from, body);
	r = v ? ledger_find(&a->ledger, v->token) : NULL;
	if (r)
		r->until = 0; /* its task sees that it has expired */
	pthread_mutex_unlock(&a->lock);
	return 0;
}

/* With the lock.  What it was before may be all that there is room for. */
static void add_move(struct arrival *v, const json_t *move)
{
	json_array_insert_new(v->moves, 0, json_deep_copy(move));
	if (v->here_at && agent_vm(v->agent, v->vm))
		past_add(v->agent, v->vm, move);
	v->settled = true;
}

int arrivals_settled(struct agent *a, const char *from, const json_t *body, json_t **answer,
		     struct err *e)
{
	json_t *move = json_object_get(body, "move");
	json_auto_t *moves = json_pack("[O?]", move);
	struct arrival *v;
	int r = past_check(moves, e);

	(void)answer;
	if (r)
		return r;
	pthread_mutex_lock(&a->lock);
	v = arrival_of(a, from, body);
	if (!v || v->settled)
		r = err_set(e, -ENOENT, "no VM that %s sends is awaited", from);
	else
		add_move(v, move);
	pthread_mutex_unlock(&a->lock);
	return r;
}

int arrivals_gain(struct agent *a, const char *from, const json_t *body, json_t **answer,
		  struct err *e)
{
	const char *vm = json_string_value(json_object_get(body, "vm"));
	const json_t *gain = json_object_get(body, "gain");
	struct election election;
	int r = 0;

	(void)answer;
	if (!vm || !json_is_number(gain))
		return err_set(e, -EINVAL, "the gain of a move is told without VM or gain");
	pthread_mutex_lock(&a->lock);
	peers_election(a, &election);
	if (!election.planner || strcmp(election.planner, from))
		r = err_set(e, -EPERM, "%s does not plan for this host", from);
	else
		past_gain(a, vm, json_number_value(gain));
	pthread_mutex_unlock(&a->lock);
	return r;
}

bool arrivals_awaits(const struct agent *a, const char *vm)
{
	const struct arrival *v;

	list_for_each (v, &a->arrivals, node)
		if (!strcmp(v->vm, vm))
			return true;
	return false;
}

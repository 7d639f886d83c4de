/* SPDX-License-Identifier: Apache-2.0 */
#include "moves.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "client.h"
#include "daily.h"
#include "days.h"
#include "lessons.h"
#include "orders.h"
#include "past.h"
#include "peers.h"
#include "planner/names.h"
#include "planner/planner.h"
#include "planner/snapshot.h"
#include "record.h"
#include "specs.h"
#include "state.h"
#include "task.h"

enum {
	ASK_MS = 20000,
	TELL_MS = 5000,
	PROGRESS_MS = 500,
	WHY_MAX = 100,
	US_PER_S = 1000000,
	MS_PER_S = 1000
};

static struct flight_entry *moves_find(const struct agent *a, const char *vm)
{
	struct flight_entry *f;

	list_for_each (f, &a->flights, node)
		if (!strcmp(f->vm, vm))
			return f;
	return NULL;
}

json_t *moves_flights(const struct agent *a)
{
	const struct flight_entry *f;
	json_t *list = json_array(), *entry;

	list_for_each (f, &a->flights, node) {
		entry = json_pack("{s:s, s:s, s:s, s:I, s:s}", "vm", f->vm, "from", a->options->id,
				  "to", f->to, "since", (json_int_t)f->since, "phase", f->phase);
		if (f->left_s >= 0)
			json_object_set_new(entry, "left_s", json_real(f->left_s));
		json_array_append_new(list, entry);
	}
	return list;
}

/* What the destination is asked for; NULL: the VM has gone meanwhile. */
static json_t *room_wanted(const struct agent *a, const char *name)
{
	const struct agent_vm *vm = agent_vm((struct agent *)a, name);
	const struct daily *days = days_of(a->days, name);

	if (!vm)
		return NULL;
	return json_pack("{s:{s:s, s:s, s:I, s:I, s:I, s:o*, s:o*, s:o*}}", "prepare", "vm", name,
			 "uuid", vm->uuid, "memory", (json_int_t)vm->memory, "resident",
			 (json_int_t)(vm->resident < vm->memory ? vm->resident : vm->memory),
			 "vcpus", (json_int_t)vm->vcpus, "spec", specs_take(a, name), "moves",
			 json_deep_copy(past_of(a, name)), "days", days ? daily_json(days) : NULL);
}

/* What the move will take by what is known here now, as plans reckon it. */
static void expect(struct flight_entry *f)
{
	struct snapshot s = { 0 };
	uint32_t vm, to;
	struct err e;

	if (!state_read(f->agent, &s, &e)) {
		vm = snapshot_vm(&s, names_find(&s.names, f->vm));
		to = snapshot_host(&s, names_find(&s.names, f->to));
		if (vm != NOWHERE && to != NOWHERE && s.vm[vm].host != NOWHERE)
			plan_move_cost(&s, vm, s.vm[vm].host, to, &f->load, &f->cost);
	}
	snapshot_free(&s);
	if (!f->predicted && f->load.rate > 0)
		f->predicted = json_pack("{s:f, s:f, s:f}", "time_s", f->cost.time_s, "blackout_s",
					 f->cost.blackout_s, "bytes", f->cost.bytes);
}

/* It refuses by itself, once it has heard what may have been typed here a moment ago. */
static int takes_vms(const struct agent *a, const char *host, struct err *e)
{
	const char *state = settings_host(&a->settings, host);

	if (!strcmp(state, "up"))
		return 0;
	return err_set(e, -EBUSY, "the host takes no VMs, its state is \"%s\"", state);
}

static int ask_for_room(struct flight_entry *f, json_t **room, struct err *e)
{
	struct agent *a = f->agent;
	json_auto_t *question = NULL;
	int r;

	pthread_mutex_lock(&a->lock);
	r = takes_vms(a, f->to, e);
	question = room_wanted(a, f->vm);
	pthread_mutex_unlock(&a->lock);
	if (r)
		return r;
	if (!question)
		return err_set(e, -ENOENT, "the VM is not here any more");
	r = peers_ask(a, f->to, question, room, ASK_MS, e);
	if (r)
		return r;
	if (json_string_length(json_object_get(*room, "token")) &&
	    json_string_length(json_object_get(*room, "url")))
		return 0;
	return err_set(e, -EPROTO, "%s says neither where the VM should go nor a token", f->to);
}

static void note_progress(struct flight_entry *f)
{
	json_auto_t *progress = NULL;
	const char *phase;
	struct client c;
	struct err e;

	if (!client_open(&c, f->vm, &e)) {
		client_set_limit(&c, PROGRESS_MS);
		client_get(&c, "vm.migration-progress", &progress, &e);
	}
	client_close(&c);
	phase = json_string_value(json_object_get(progress, "phase"));
	if (!phase)
		return;
	pthread_mutex_lock(&f->agent->lock);
	snprintf(f->phase, sizeof(f->phase), "%s", phase);
	f->left_s = -1;
	if (json_object_get(progress, "left_us"))
		f->left_s = json_number_value(json_object_get(progress, "left_us")) / US_PER_S;
	pthread_mutex_unlock(&f->agent->lock);
}

/* -EINTR: the agent ends, and the move goes on without it. */
static int await_answer(struct flight_entry *f, struct client *c, json_t **answer, struct err *e)
{
	struct pollfd fds[] = { { .fd = c->fd, .events = POLLIN },
				{ .fd = f->agent->tasks.end_fd, .events = POLLIN } };

	while (poll(fds, ARRAY_SIZE(fds), PROGRESS_MS) <= 0)
		note_progress(f);
	if (fds[0].revents)
		return client_receive(c, answer, e);
	return err_set(e, -EINTR, "the agent ended while it went on");
}

/* The monitor's part; answer: what vm.migration-progress says of it in the end. */
static int go_over(struct flight_entry *f, const json_t *room, json_t **answer, struct err *e)
{
	json_auto_t *request = NULL;
	struct client c;
	double blackout_s;
	int r;

	pthread_mutex_lock(&f->agent->lock);
	blackout_s = f->agent->settings.policy.blackout_s;
	pthread_mutex_unlock(&f->agent->lock);
	request = json_pack("{s:O, s:s*, s:b, s:I}", "destination_url",
			    json_object_get(room, "url"), "tls_dir", f->agent->options->tls, "wait",
			    1, "downtime_ms", (json_int_t)(blackout_s * MS_PER_S));
	if (f->load.rate >= 1)
		json_object_set_new(request, "bandwidth_limit",
				    json_integer((json_int_t)f->load.rate));
	r = client_open(&c, f->vm, e);
	r = r ? r : client_send_put(&c, "vm.send-migration", request, e);
	r = r ? r : await_answer(f, &c, answer, e);
	client_close(&c);
	return r;
}

static double seconds(const json_t *progress, const char *key)
{
	return json_number_value(json_object_get(progress, key)) / US_PER_S;
}

/* As the planner has moves that are over. */
static json_t *past_move(const struct flight_entry *f, const json_t *progress)
{
	const json_t *p = f->predicted;

	return json_pack("{s:I, s:s, s:f, s:f, s:f, s:f, s:f}", "at", (json_int_t)agent_now(),
			 "from", f->agent->options->id, "took_s", seconds(progress, "total_us"),
			 "blackout_s", seconds(progress, "blackout_us"), "predicted_s",
			 json_number_value(json_object_get(p, "time_s")), "predicted_blackout_s",
			 json_number_value(json_object_get(p, "blackout_s")), "predicted_gain",
			 json_number_value(json_object_get(p, "gain")));
}

static void tell(const struct flight_entry *f, const char *id, json_t *question)
{
	json_t *answer = NULL;
	struct err e;

	/* What is not heard is found out: the VM is there, or nothing came in time. */
	peers_ask(f->agent, id, question, &answer, TELL_MS, &e);
	json_decref(answer);
	json_decref(question);
}

/* Before the guest stood still: all of its memory, and what it wrote meanwhile. */
static double sending(const json_t *progress)
{
	const json_t *phases = json_object_get(progress, "phases_us");

	return seconds(phases, "first-pass") + seconds(phases, "rounds");
}

static json_t *outcome_of(const struct flight_entry *f, const json_t *progress, const char *why)
{
	const json_t *memory = json_object_get(progress, "memory_transmission_info");

	return json_pack("{s:s, s:b, s:s*, s:f, s:f, s:f, s:f, s:f, s:f}", "vm", f->vm, "moved",
			 progress != NULL, "why", why, "time_s", seconds(progress, "total_us"),
			 "sending_s", sending(progress), "blackout_s",
			 seconds(progress, "blackout_us"), "bytes",
			 json_number_value(json_object_get(memory, "memory_bytes_transmitted")),
			 "rate", f->load.rate, "last_bytes", f->cost.last_bytes);
}

/* Who plans now, and is another one than who wanted it: "" if there is none. */
static void other_planner(const struct flight_entry *f, char id[AGENT_ID_MAX + 1])
{
	struct election election;

	peers_election(f->agent, &election);
	snprintf(id, AGENT_ID_MAX + 1, "%s", election.planner ? election.planner : "");
	if (!strcmp(id, f->by) || !strcmp(id, f->agent->options->id))
		id[0] = '\0';
}

static void hear_outcome(struct agent *a, const char *host, const char *vm, const json_t *outcome)
{
	lessons_outcome(a->lessons, vm, host, outcome, agent_now());
	orders_outcome(a, host, outcome);
}

/* With the lock, as the next two. */
static void note_moved(const struct flight_entry *f, const json_t *progress)
{
	struct err e;

	f->agent->moves.moved++;
	f->agent->moves.last_s = seconds(progress, "total_us");
	f->agent->moves.last_blackout_s = seconds(progress, "blackout_us");
	agent_say(f->agent, "moved", f->vm,
		  "it runs on %s now: %.3f s in all, stood still for %.0f ms", f->to,
		  seconds(progress, "total_us"), seconds(progress, "blackout_us") * MS_PER_S);
	if (specs_leave(f->agent, f->vm, &e))
		agent_say(f->agent, "spec-kept", f->vm, "%s", e.text);
	past_forget(f->agent, f->vm);
	days_set(f->agent->days, f->vm, NULL);
}

static void note_stayed(const struct flight_entry *f, bool had_room, const char *why)
{
	if (had_room)
		f->agent->moves.failed++;
	else
		f->agent->moves.refused++;
	agent_say(f->agent, "not-moved", f->vm, "to %s: %s", f->to, why);
}

/* The VM may be moved again. */
static void flight_end(struct flight_entry *f)
{
	specs_moves(f->agent, f->vm, false);
	list_remove(&f->node);
}

static void flight_free(struct flight_entry *f)
{
	json_decref(f->predicted);
	free(f);
}

/* The destination keeps the VM, or the room for it no more; why: it has not moved. */
static void tell_destination(const struct flight_entry *f, const json_t *token,
			     const json_t *progress, const char *why)
{
	if (!why)
		tell(f, f->to,
		     json_pack("{s:{s:O, s:s, s:o}}", "settled", "token", token, "vm", f->vm,
			       "move", past_move(f, progress)));
	else if (token)
		tell(f, f->to, json_pack("{s:{s:O, s:s}}", "cancel", "token", token, "why", why));
}

/* Over for this agent, then told to whoever wanted it and to who plans: who hears of it may ask for
 * the next at once. */
static void finish(struct flight_entry *f, bool had_room, const json_t *progress, const char *why)
{
	json_auto_t *outcome = outcome_of(f, progress, why);
	struct agent *a = f->agent;
	char planner[AGENT_ID_MAX + 1];

	pthread_mutex_lock(&a->lock);
	if (why)
		note_stayed(f, had_room, why);
	else
		note_moved(f, progress);
	flight_end(f);
	hear_outcome(a, a->options->id, f->vm, outcome);
	other_planner(f, planner);
	pthread_mutex_unlock(&a->lock);
	if (strcmp(f->by, a->options->id))
		tell(f, f->by, json_pack("{s:O}", "outcome", outcome));
	if (planner[0])
		tell(f, planner, json_pack("{s:O}", "outcome", outcome));
}

/* The agent ends; how the move does, nobody here will know. */
static void leave(struct flight_entry *f, bool had_room, const char *why)
{
	pthread_mutex_lock(&f->agent->lock);
	note_stayed(f, had_room, why);
	flight_end(f);
	pthread_mutex_unlock(&f->agent->lock);
}

static void fly(void *arg)
{
	struct flight_entry *f = arg;
	json_auto_t *room = NULL, *progress = NULL;
	const json_t *token;
	const char *why;
	struct err e;
	int r;

	expect(f);
	r = ask_for_room(f, &room, &e);
	r = r ? r : go_over(f, room, &progress, &e);
	token = json_object_get(room, "token");
	why = r ? e.text : NULL;
	if (r == -EINTR) {
		leave(f, token, why);
	} else {
		tell_destination(f, token, progress, why);
		finish(f, token, r ? NULL : progress, why);
	}
	flight_free(f);
}

/* An order that makes sense. */
static int check(struct agent *a, const char *vm, const char *to, struct err *e)
{
	const struct spec *s;

	if (!vm || !to || !name_is_valid(vm) || !name_is_valid(to))
		return err_set(e, -EINVAL, "a move is ordered with the names of a VM and a host");
	if (!agent_vm(a, vm))
		return err_set(e, -ENOENT, "VM \"%s\" is not on this host", vm);
	if (!peers_know(a, to))
		return err_set(e, -ENOENT, "no host %s is known here", to);
	if (!strcmp(to, a->options->id))
		return err_set(e, -EINVAL, "VM \"%s\" is on %s already", vm, to);
	if (moves_find(a, vm))
		return err_set(e, -EBUSY, "VM \"%s\" is on its way already", vm);
	s = specs_find(a, vm);
	if (s && s->job)
		return err_set(e, -EBUSY, "VM \"%s\" is being started or stopped", vm);
	return 0;
}

int moves_begin(struct agent *a, const json_t *order, const char *by, struct err *e)
{
	const char *vm = json_string_value(json_object_get(order, "vm")),
		   *to = json_string_value(json_object_get(order, "to")),
		   *why = json_string_value(json_object_get(order, "why"));
	struct flight_entry *f;
	int r = check(a, vm, to, e);

	if (r)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	*f = (struct flight_entry){ .agent = a,
				    .since = agent_now(),
				    .phase = "asks",
				    .left_s = -1,
				    .predicted =
					    json_deep_copy(json_object_get(order, "predicted")) };
	snprintf(f->vm, sizeof(f->vm), "%s", vm);
	snprintf(f->to, sizeof(f->to), "%s", to);
	snprintf(f->by, sizeof(f->by), "%s", by);
	list_append(&a->flights, &f->node);
	specs_moves(a, vm, true);
	agent_say(a, "moves", vm, "to %s, as %s wants: %s", to, by,
		  why && record_is_text(why, WHY_MAX) ? why : "asked for");
	r = task_start(a, "move", fly, f, e);
	if (r) {
		flight_end(f);
		flight_free(f);
	} else {
		a->moves.begun++;
	}
	return r;
}

int moves_ordered(struct agent *a, const char *from, const json_t *order, json_t **answer,
		  struct err *e)
{
	struct election election;
	int r;

	(void)answer;
	pthread_mutex_lock(&a->lock);
	peers_election(a, &election);
	if (json_is_true(json_object_get(order, "asked")) ||
	    (election.planner && !strcmp(election.planner, from)))
		r = moves_begin(a, order, from, e);
	else
		r = err_set(e, -EPERM, "%s does not plan for this host, %.200s", from,
			    election.planner ? election.planner : election.why);
	pthread_mutex_unlock(&a->lock);
	return r;
}

int moves_outcome(struct agent *a, const char *from, const json_t *outcome, json_t **answer,
		  struct err *e)
{
	const char *vm = json_string_value(json_object_get(outcome, "vm"));

	(void)answer;
	if (!vm)
		return err_set(e, -EINVAL, "the outcome of a move is told without the VM");
	pthread_mutex_lock(&a->lock);
	hear_outcome(a, from, vm, outcome);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

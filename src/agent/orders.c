/* SPDX-License-Identifier: Apache-2.0 */
#include "orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "cleanup.h"
#include "moves.h"
#include "peers.h"
#include "state.h"
#include "task.h"

enum {
	ASK_MS = 5000,
	MS_PER_S = 1000,
	/* The first may have been on its way when the move began. */
	STATES_WITHOUT = 2
};

struct order {
	struct list node;
	struct agent *agent;
	struct request *q; /* NULL: answered */
	char vm[65], to[AGENT_ID_MAX + 1], host[AGENT_ID_MAX + 1];
	bool waits; /* for the end of the move */
	bool is_asked; /* the other host's agent is; who asks frees it */
	unsigned without; /* states of the host in which the VM did not move */
};

static void order_free(struct order *o)
{
	list_remove(&o->node);
	free(o);
}

static void settle(struct order *o, int r, const struct err *e)
{
	if (o->q)
		answer_done(TAKE(o->q), r, e);
	if (!o->is_asked)
		order_free(o);
}

/* Its end will not be heard of. */
static void lose(struct order *o, const char *why)
{
	struct err e;

	settle(o,
	       err_set(&e, -EIO,
		       "how the move of VM \"%s\" to %s ended is not known here, for %s; see "
		       "\"godwit-agent status\" for where it runs",
		       o->vm, o->to, why),
	       &e);
}

struct question {
	struct order *order;
	json_t *message;
};

static void ask(void *arg)
{
	struct question *question = arg;
	struct order *o = question->order;
	struct agent *a = o->agent;
	json_auto_t *answer = NULL;
	struct err e;
	int r = peers_ask(a, o->host, question->message, &answer, ASK_MS, &e);

	pthread_mutex_lock(&a->lock);
	o->is_asked = false;
	if (r || !o->waits || !o->q)
		settle(o, r, &e);
	json_decref(question->message);
	pthread_mutex_unlock(&a->lock);
	free(question);
}

static int ask_host(struct order *o, struct err *e)
{
	struct question *question = calloc(1, sizeof(*question));
	int r;

	if (!question)
		return err_set(e, -ENOMEM, "out of memory");
	question->order = o;
	question->message = json_pack("{s:{s:s, s:s, s:s, s:b}}", "move", "vm", o->vm, "to", o->to,
				      "why", "a person wants it", "asked", 1);
	r = task_start(o->agent, "order", ask, question, e);
	o->is_asked = !r;
	if (r) {
		json_decref(question->message);
		free(question);
	}
	return r;
}

static int order_new(struct order **out, struct agent *a, struct request *q, const json_t *body,
		     struct err *e)
{
	const char *vm = json_string_value(json_object_get(body, "vm")),
		   *to = json_string_value(json_object_get(body, "to")),
		   *host = vm ? state_host_of(a, vm) : NULL;
	struct order *o;

	if (!host)
		return err_set(e, -ENOENT, "no host has a VM \"%.64s\"", vm ? vm : "");
	if (!to || strlen(to) >= sizeof(o->to))
		return err_set(e, -EINVAL, "a move is ordered with the names of a VM and a host");
	o = calloc(1, sizeof(*o));
	if (!o)
		return err_set(e, -ENOMEM, "out of memory");
	*o = (struct order){ .agent = a,
			     .q = q,
			     .waits = json_is_true(json_object_get(body, "wait")) };
	snprintf(o->vm, sizeof(o->vm), "%s", vm);
	snprintf(o->to, sizeof(o->to), "%s", to);
	snprintf(o->host, sizeof(o->host), "%s", host);
	list_append(&a->orders, &o->node);
	*out = o;
	return 0;
}

void orders_ask(struct agent *a, struct request *q, const json_t *body)
{
	struct order *o = NULL;
	struct err e;
	int r = order_new(&o, a, q, body, &e);

	if (r) {
		answer_done(q, r, &e);
		return;
	}
	if (strcmp(o->host, a->options->id))
		r = ask_host(o, &e);
	else
		r = moves_begin(a, body, a->options->id, &e);
	if (r || (!o->waits && !o->is_asked))
		settle(o, r, &e);
}

void orders_gone(struct agent *a, struct request *q)
{
	struct order *o;
	struct err e;

	list_for_each (o, &a->orders, node) {
		if (o->q == q) {
			settle(o, err_set(&e, -EPIPE, "nobody waits"), &e);
			return;
		}
	}
}

/* f of each order for a VM of that host (NULL: of any); f may free it. */
static void each_of(struct agent *a, const char *host, void (*f)(struct order *, const void *),
		    const void *arg)
{
	struct list *node, *next;

	for (node = a->orders.next; node != &a->orders; node = next) {
		struct order *o = list_item(node, struct order, node);

		next = node->next;
		if (!host || !strcmp(o->host, host))
			f(o, arg);
	}
}

static void lose_it(struct order *o, const void *why)
{
	lose(o, why);
}

void orders_end(struct agent *a)
{
	each_of(a, NULL, lose_it, "this agent ends");
}

void orders_lost(struct agent *a, const char *host)
{
	each_of(a, host, lose_it, "the agent of the host it was on is not heard any more");
}

static double number(const json_t *outcome, const char *key)
{
	return json_number_value(json_object_get(outcome, key));
}

static void hear_outcome(struct order *o, const void *outcome)
{
	const char *why = json_string_value(json_object_get(outcome, "why"));
	struct err e;
	char text[256];

	if (!o->waits || !o->q ||
	    strcmp(json_string_value(json_object_get(outcome, "vm")), o->vm) != 0)
		return;
	if (!json_is_true(json_object_get(outcome, "moved"))) {
		settle(o,
		       err_set(&e, -EIO, "VM \"%s\" has not moved to %s: %s", o->vm, o->to,
			       peer_sentence(why)),
		       &e);
		return;
	}
	snprintf(text, sizeof(text),
		 "VM \"%s\" runs on %s now: %.3f s in all, stood still for %.0f ms.", o->vm, o->to,
		 number(outcome, "time_s"), number(outcome, "blackout_s") * MS_PER_S);
	answer_json(TAKE(o->q), json_pack("[s]", text));
	settle(o, 0, NULL);
}

void orders_outcome(struct agent *a, const char *host, const json_t *outcome)
{
	each_of(a, host, hear_outcome, outcome);
}

static bool is_in_flight(const json_t *state, const char *vm)
{
	const char *name;
	json_t *flight;
	size_t i;

	json_array_foreach(json_object_get(state, "flights"), i, flight)
	{
		name = json_string_value(json_object_get(flight, "vm"));
		if (name && !strcmp(name, vm))
			return true;
	}
	return false;
}

static void hear_state(struct order *o, const void *state)
{
	if (o->is_asked)
		return;
	o->without = is_in_flight(state, o->vm) ? 0 : o->without + 1;
	if (o->without == STATES_WITHOUT)
		lose(o, "its agent has not told it");
}

void orders_heard(struct agent *a, const char *host, const json_t *state)
{
	each_of(a, host, hear_state, state);
}

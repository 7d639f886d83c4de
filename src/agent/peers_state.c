/* SPDX-License-Identifier: Apache-2.0 */
#include "peers_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "orders.h"
#include "peers_internal.h"
#include "planner/names.h"
#include "pulse.h"
#include "record.h"
#include "state.h"

#define NS_PER_S 1e9
#define INTERVAL_MAX_S 5.0

enum { LOOKS_PER_WINDOW = 6, INTERVALS_HEARD = 3, WORD_MAX = 64 };

double peers_interval_s(const struct agent *a)
{
	return MIN(INTERVAL_MAX_S, a->settings.policy.window_s / LOOKS_PER_WINDOW);
}

bool peer_is_heard(const struct agent *a, const struct peer *p)
{
	double ago_ns = (double)(loop_now_ns() - p->heard_ns);

	return p->heard_ns && ago_ns <= INTERVALS_HEARD * peers_interval_s(a) * NS_PER_S;
}

json_t *peers_state_message(const struct agent *a)
{
	json_t *state = state_own(a), *hears = json_array(), *knows = json_object();
	const struct peer *p;

	list_for_each (p, &a->peers->known, node) {
		if (!*p->id || p->twin)
			continue;
		json_object_set_new(knows, p->id, json_string(*p->said ? p->said : p->address));
		if (peer_is_heard(a, p))
			json_array_append_new(hears, json_string(p->id));
	}
	json_object_set_new(state, "hears", hears);
	json_object_set_new(state, "knows", knows);
	/* A copy: references are counted by one thread at a time. */
	json_object_set_new(state, "settings", json_deep_copy(a->settings.entries));
	return json_pack("{s:o}", "state", state);
}

static bool is_id(const json_t *text, const char *id)
{
	return json_is_string(text) && !strcmp(json_string_value(text), id);
}

static bool is_word(const json_t *text)
{
	return json_is_string(text) && record_is_text(json_string_value(text), WORD_MAX);
}

/* What the planner is told of it has to be of the host that says it; it looks at the rest. */
static bool vm_is_of(const json_t *vm, const char *host)
{
	const json_t *name = json_object_get(vm, "name"), *record = json_object_get(vm, "record");

	if (!is_word(name) || !name_is_valid(json_string_value(name)) ||
	    !is_word(json_object_get(vm, "uuid")) || !is_word(json_object_get(vm, "state")))
		return false;
	if (!record || json_is_null(record))
		return true;
	return is_id(json_object_get(record, "host"), host) &&
	       is_id(json_object_get(record, "id"), json_string_value(name));
}

/* Returns how many were left out. */
static size_t clean_vms(json_t *state, const char *from)
{
	json_t *vms = json_object_get(state, "vms");
	size_t left_out = 0;

	if (!json_is_array(vms)) {
		left_out = vms != NULL;
		json_object_set_new(state, "vms", json_array());
		return left_out;
	}
	for (size_t i = json_array_size(vms); i-- > 0;)
		if (!vm_is_of(json_array_get(vms, i), from)) {
			json_array_remove(vms, i);
			left_out++;
		}
	return left_out;
}

static size_t clean_host(json_t *state, const char *from)
{
	const json_t *host = json_object_get(state, "host");
	bool is_told = host && !json_is_null(host); /* else nothing is known of it yet */

	if (is_id(json_object_get(host, "id"), from))
		return 0;
	json_object_del(state, "host");
	return is_told;
}

static size_t clean_hears(json_t *state)
{
	const json_t *hears = json_object_get(state, "hears"), *id;
	size_t i;

	json_array_foreach(hears, i, id) if (!is_word(id) || !name_is_valid(json_string_value(id)))
	{
		json_object_del(state, "hears");
		return 1;
	}
	return 0;
}

/* Others that it knows are dialled from here, too. */
static void take_known(struct agent *a, const json_t *knows)
{
	const char *id, *address;
	json_t *value;

	json_object_foreach((json_t *)knows, id, value)
	{
		address = json_string_value(value);
		if (name_is_valid(id) && peer_address_is_valid(address) &&
		    strcmp(id, a->options->id) && !peer_of(a->peers, id))
			peer_know(a, id, address);
	}
}

/* With the lock. */
static void keep(struct agent *a, struct peer *p, json_t *state, const json_t *body)
{
	const bool was_known = p->heard && json_object_get(p->state, "host");

	json_decref(p->state);
	p->state = json_incref(state);
	p->heard_ns = loop_now_ns();
	if (!p->heard) {
		p->heard = true;
		agent_say(a, "peer-heard", p->id, "its agent tells how it is");
		peers_tell(a);
	}
	/* One that joins is used at once. */
	if (!was_known && json_object_get(state, "host"))
		pulse_now(a->rounds);
	orders_heard(a, p->id, state);
	take_known(a, json_object_get(body, "knows"));
	if (settings_merge(&a->settings, a->store, json_object_get(body, "settings"), agent_now()))
		agent_settings_changed(a);
}

int peers_take_state(struct agent *a, const char *from, const json_t *body, json_t **answer,
		     struct err *e)
{
	json_auto_t *state = NULL;
	struct peer *p;
	size_t left_out;

	(void)answer;
	if (!is_id(json_object_get(body, "id"), from))
		return err_set(e, -EINVAL, "the state that %s tells is not its own", from);
	state = json_deep_copy(body);
	if (!state)
		return err_set(e, -ENOMEM, "out of memory");
	json_object_del(state, "knows");
	json_object_del(state, "settings");
	left_out = clean_host(state, from) + clean_vms(state, from) + clean_hears(state);
	pthread_mutex_lock(&a->lock);
	p = peer_of(a->peers, from);
	if (p && left_out && pace_allows(&p->pace, 1))
		log_warn("%zu parts of what %s tells are left out: they are not of its own host, "
			 "or make no sense",
			 left_out, from);
	if (p)
		keep(a, p, state, body);
	/* Before another thread can have it. */
	json_decref(TAKE(state));
	pthread_mutex_unlock(&a->lock);
	return p ? 0 : err_set(e, -EINVAL, "%s is not known here", from);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arrivals.h"
#include "cleanup.h"
#include "inventory.h"
#include "lessons.h"
#include "local.h"
#include "moves.h"
#include "peers.h"
#include "planner/names.h"
#include "planner/snapshot.h"
#include "specs.h"

static json_t *vm_state(const struct agent *a, const struct agent_vm *vm)
{
	json_t *state = json_pack("{s:s, s:s, s:s, s:s, s:o*}", "name", vm->name, "uuid", vm->uuid,
				  "host", a->options->id, "state", vm->state, "record",
				  inventory_vm_record(a, vm));
	double happy = signals_happiness(&vm->signals);

	if (happy >= 0)
		json_object_set_new(state, "happiness", json_real(happy));
	specs_add_to_state(a, vm->name, state);
	local_add_to_state(a, vm->name, state);
	return state;
}

/* One that has no process; the planner knows nothing of it. */
static json_t *waiting_state(const struct agent *a, const struct spec *s)
{
	json_t *state = json_pack("{s:s, s:s, s:s, s:s}", "name", s->name, "uuid", s->values.uuid,
				  "host", a->options->id, "state", spec_state(s));

	specs_add_to_state(a, s->name, state);
	return state;
}

json_t *state_own(const struct agent *a)
{
	json_t *vms = json_array();
	const struct agent_vm *vm;
	const struct spec *s;

	list_for_each (vm, &a->vms, node)
		json_array_append_new(vms, vm_state(a, vm));
	list_for_each (s, &a->specs->list, node)
		if (!agent_vm(a, s->name))
			json_array_append_new(vms, waiting_state(a, s));
	return json_pack("{s:s, s:I, s:o?, s:o, s:o, s:o}", "id", a->options->id, "at",
			 (json_int_t)agent_now(), "host", inventory_host_record(a), "vms", vms,
			 "flights", moves_flights(a), "reservations", arrivals_reservations(a));
}

/* What an agent told, or tells. */
struct told {
	const char *id;
	bool heard;
	const json_t *state; /* NULL: nothing yet */
};

struct each {
	const struct agent *agent;
	void (*each)(void *arg, const struct agent *, const struct told *);
	void *arg;
};

static void each_peer(void *arg, const struct peer_view *view)
{
	const struct each *to = arg;

	to->each(to->arg, to->agent, &(struct told){ view->id, view->heard, view->state });
}

/* Each state, the own one first, then in the order of ids. */
static void each_state(const struct agent *a,
		       void (*each)(void *arg, const struct agent *, const struct told *),
		       void *arg)
{
	json_auto_t *own = state_own(a);

	each(arg, a, &(struct told){ a->options->id, true, own });
	peers_each(a, each_peer, &(struct each){ a, each, arg });
}

/* What all agree on of it, in place of what its agent thought when it said so. */
static json_t *host_record(const struct agent *a, const struct told *told)
{
	json_t *record = json_copy(json_object_get(told->state, "host"));

	if (record)
		json_object_set_new(
			record, "state",
			json_string(told->heard ? settings_host(&a->settings, told->id) : "dead"));
	return record;
}

static void write_line(FILE *f, const char *key, const json_t *record)
{
	json_auto_t *line = json_is_object(record) ? json_pack("{s:O}", key, record) : NULL;

	if (line && !json_dumpf(line, f, JSON_COMPACT | JSON_ENSURE_ASCII))
		fputc('\n', f);
}

/* Only those keys of it, if it is of that host, of which its agent speaks and no other. */
static void write_own(FILE *f, const char *kind, const json_t *object, const char *host,
		      const char *id, const char *const *keys)
{
	const char *of = json_string_value(json_object_get(object, host));
	json_auto_t *part = json_object();

	for (; *keys; keys++)
		json_object_set(part, *keys, json_object_get(object, *keys));
	if (of && !strcmp(of, id))
		write_line(f, kind, part);
}

/*
 * For VMs of a dead host the planner plans a start elsewhere.  But that an agent is not heard does
 * not say that its VMs do not run, and two of one would be worse than none.  So what it may not
 * start is not in the snapshot; the host is, so that nothing is sent there.
 */
static void write_state(void *arg, const struct agent *a, const struct told *told)
{
	json_auto_t *host = host_record(a, told);
	size_t i;
	json_t *vm;

	static const char *const of_flight[] = { "vm", "from", "to", "since", NULL };
	static const char *const of_reservation[] = {
		"host", "vm", "memory", "vcpus", "until", NULL
	};
	json_t *other;

	write_line(arg, "host", host);
	if (!told->heard)
		return;
	json_array_foreach(json_object_get(told->state, "vms"), i, vm)
		write_line(arg, "vm", json_object_get(vm, "record"));
	json_array_foreach(json_object_get(told->state, "reservations"), i, other)
		write_own(arg, "reservation", other, "host", told->id, of_reservation);
	json_array_foreach(json_object_get(told->state, "flights"), i, other)
		write_own(arg, "flight", other, "from", told->id, of_flight);
}

void state_snapshot(const struct agent *a, FILE *f)
{
	json_auto_t *head = json_pack("{s:i, s:I, s:s}", "version", SNAPSHOT_VERSION, "time",
				      (json_int_t)agent_now(), "mode", settings_mode(&a->settings));
	json_auto_t *policy = settings_policy_json(&a->settings);

	lessons_head(a->lessons, head);
	write_line(f, "snapshot", head);
	write_line(f, "policy", policy);
	lessons_curves(a->lessons, f);
	each_state(a, write_state, f);
}

int state_read(struct agent *a, struct snapshot *s, struct err *e)
{
	CLEANUP(free) char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_lock(&a->lock);
	state_snapshot(a, f);
	pthread_mutex_unlock(&a->lock);
	fclose(f);
	f = fmemopen(text, len, "r");
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	r = snapshot_read(s, f, e);
	fclose(f);
	return r;
}

/* The record's fields beside what only this agent says. */
static void add_flat(json_t *list, const json_t *record, const json_t *more)
{
	json_t *flat = json_object();

	json_object_update(flat, (json_t *)more);
	json_object_del(flat, "record");
	json_object_update(flat, (json_t *)record);
	json_array_append_new(list, flat);
}

struct lists {
	json_t *hosts, *vms, *flights;
};

static void add_vm(const struct lists *l, const struct told *told, const json_t *vm)
{
	json_auto_t *shown = json_copy((json_t *)vm);

	if (!told->heard)
		json_object_set_new(shown, "state", json_string("unknown"));
	/* Also of one that is too new for a record. */
	json_object_set_new(shown, "host", json_string(told->id));
	add_flat(l->vms, json_object_get(vm, "record"), shown);
}

/* Of the VMs of a host, each as many times as it has vCPUs: what they get of what they ask for. */
static void add_happiness(json_t *host, const json_t *vms)
{
	double sum = 0, all = 0;
	size_t i;
	json_t *vm;

	json_array_foreach(vms, i, vm)
	{
		const json_t *happy = json_object_get(vm, "happiness");
		double vcpus =
			json_number_value(json_object_get(json_object_get(vm, "record"), "vcpus"));

		sum += vcpus * json_number_value(happy);
		all += happy ? vcpus : 0;
	}
	if (all > 0)
		json_object_set_new(host, "happiness", json_real(sum / all));
}

/* Out of that host. */
static bool is_flight(const json_t *flight, const char *host)
{
	const char *vm = json_string_value(json_object_get(flight, "vm")),
		   *from = json_string_value(json_object_get(flight, "from")),
		   *to = json_string_value(json_object_get(flight, "to"));

	return vm && name_is_valid(vm) && to && name_is_valid(to) && from && !strcmp(from, host);
}

static void add_state(void *arg, const struct agent *a, const struct told *told)
{
	json_auto_t *host = host_record(a, told),
		    *least = json_pack("{s:s, s:s}", "id", told->id, "state",
				       told->heard ? settings_host(&a->settings, told->id)
						   : "dead");
	const struct lists *l = arg;
	json_t *vm, *flight;
	size_t i;

	add_happiness(least, json_object_get(told->state, "vms"));
	add_flat(l->hosts, host, least);
	json_array_foreach(json_object_get(told->state, "vms"), i, vm) add_vm(l, told, vm);
	json_array_foreach(json_object_get(told->state, "flights"), i, flight)
	{
		if (told->heard && is_flight(flight, told->id))
			json_array_append(l->flights, flight);
	}
}

json_t *state_status(const struct agent *a)
{
	struct lists l = { json_array(), json_array(), json_array() };
	struct election election;

	each_state(a, add_state, &l);
	peers_election(a, &election);
	return json_pack("{s:s, s:s, s:s?, s:s, s:o, s:o, s:o, s:O*}", "id", a->options->id, "mode",
			 settings_mode(&a->settings), "planner", election.planner, "why",
			 election.why, "hosts", l.hosts, "vms", l.vms, "flights", l.flights,
			 "alerts", json_object_get(a->plan, "alerts"));
}

struct search {
	const char *vm, *host;
};

static void look_for(void *arg, const struct peer_view *view)
{
	struct search *s = arg;
	size_t i;
	json_t *vm;

	json_array_foreach(json_object_get(view->state, "vms"), i, vm)
	{
		const char *name = json_string_value(json_object_get(vm, "name"));

		if (view->heard && name && !strcmp(name, s->vm) && json_object_get(vm, "record"))
			s->host = view->id;
	}
}

const char *state_host_of(const struct agent *a, const char *vm)
{
	struct search s = { .vm = vm };

	if (agent_vm(a, vm))
		return a->options->id;
	peers_each(a, look_for, &s);
	return s.host;
}

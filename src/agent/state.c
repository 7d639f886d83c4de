/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "cleanup.h"
#include "inventory.h"
#include "planner/snapshot.h"

static json_t *vm_state(const struct agent *a, const struct agent_vm *vm)
{
	return json_pack("{s:s, s:s, s:s, s:o?}", "name", vm->name, "uuid", vm->uuid, "state",
			 vm->state, "record", inventory_vm_record(a, vm));
}

json_t *state_own(const struct agent *a)
{
	json_t *vms = json_array();
	const struct agent_vm *vm;

	list_for_each (vm, &a->vms, node)
		json_array_append_new(vms, vm_state(a, vm));
	return json_pack("{s:s, s:I, s:o?, s:o}", "id", a->options->id, "at",
			 (json_int_t)agent_now(), "host", inventory_host_record(a), "vms", vms);
}

/* Each state, the own one first. */
static void each_state(const struct agent *a, void (*each)(void *arg, const json_t *state),
		       void *arg)
{
	json_auto_t *own = state_own(a);

	each(arg, own);
}

static void write_line(FILE *f, const char *key, const json_t *record)
{
	json_auto_t *line = json_is_object(record) ? json_pack("{s:O}", key, record) : NULL;

	if (line && !json_dumpf(line, f, JSON_COMPACT | JSON_ENSURE_ASCII))
		fputc('\n', f);
}

static void write_state(void *arg, const json_t *state)
{
	size_t i;
	json_t *vm;

	write_line(arg, "host", json_object_get(state, "host"));
	json_array_foreach(json_object_get(state, "vms"), i, vm)
		write_line(arg, "vm", json_object_get(vm, "record"));
}

void state_snapshot(const struct agent *a, FILE *f)
{
	json_auto_t *head = json_pack("{s:i, s:I, s:s}", "version", SNAPSHOT_VERSION, "time",
				      (json_int_t)agent_now(), "mode", settings_mode(&a->settings));
	json_auto_t *policy = settings_policy_json(&a->settings);

	write_line(f, "snapshot", head);
	write_line(f, "policy", policy);
	each_state(a, write_state, f);
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
	json_t *hosts, *vms;
};

static void add_state(void *arg, const json_t *state)
{
	const struct lists *l = arg;
	size_t i;
	json_t *vm;

	add_flat(l->hosts, json_object_get(state, "host"), NULL);
	json_array_foreach(json_object_get(state, "vms"), i, vm)
		add_flat(l->vms, json_object_get(vm, "record"), vm);
}

json_t *state_status(const struct agent *a)
{
	struct lists l = { json_array(), json_array() };

	each_state(a, add_state, &l);
	return json_pack("{s:s, s:s, s:o, s:o}", "id", a->options->id, "mode",
			 settings_mode(&a->settings), "hosts", l.hosts, "vms", l.vms);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whether one side reads what the other writes of devices, known before anything is written. */
#include "bits.h"
#include "devices.h"
#include "vm.h"

static void add_versions(json_t *versions, const struct state_desc *d)
{
	json_object_set_new(versions, d->name, json_integer(d->version));
	for (const struct state_field *f = d->field; f < d->field + d->nfields; f++)
		if (f->kind == STATE_STRUCT)
			add_versions(versions, f->nested);
}

json_t *devices_versions(const struct vm *vm)
{
	json_t *versions = json_object();
	struct device *dev;

	list_for_each (dev, &vm->devices, node)
		if (dev->class->state)
			add_versions(versions, dev->class->state);
	return versions;
}

/* -1: it is none. */
static json_int_t version_at(const json_t *range, size_t i)
{
	const json_t *version = json_array_get(range, i);

	return json_is_integer(version) ? json_integer_value(version) : -1;
}

static void add_record(void *arg, const struct state_desc *d, unsigned oldest)
{
	json_t *records = arg;
	json_int_t before = version_at(json_object_get(records, d->name), 0);

	json_object_set_new(records, d->name,
			    json_pack("[I, i]", MAX(before, (json_int_t)oldest), (int)d->version));
}

json_t *devices_records(const struct vm *vm)
{
	json_t *records = json_object();
	struct device *dev;

	list_for_each (dev, &vm->devices, node)
		if (dev->class->state)
			state_each_record(dev->class->state, device_state(dev), dev->fresh,
					  add_record, records);
	return records;
}

static json_t *knows_older(const char *name, json_int_t known, json_int_t needed)
{
	return json_sprintf("destination knows \"%s\" up to version %lld, and the VM needs version "
			    "%lld; update godwit there",
			    name, (long long)known, (long long)needed);
}

void devices_check_versions(const json_t *records, const json_t *versions, json_t *blockers)
{
	const char *name;
	json_t *range;

	json_object_foreach((json_t *)records, name, range)
	{
		const json_t *known = json_object_get(versions, name);

		if (!json_is_integer(known) || json_integer_value(known) < 1)
			json_array_append_new(
				blockers, json_sprintf("destination does not know \"%s\" of the "
						       "VM's devices; update godwit there",
						       name));
		else if (json_integer_value(known) < version_at(range, 0))
			json_array_append_new(blockers, knows_older(name, json_integer_value(known),
								    version_at(range, 0)));
	}
}

static void check_range(const char *name, const json_t *here, const json_t *there, json_t *blockers)
{
	json_int_t oldest = version_at(there, 0), newest = version_at(there, 1);

	if (oldest < 1 || newest < oldest)
		json_array_append_new(blockers,
				      json_sprintf("the source does not say which versions of "
						   "\"%s\" it writes",
						   name));
	else if (newest < version_at(here, 0))
		json_array_append_new(
			blockers,
			json_sprintf("destination reads \"%s\" from version %lld on, "
				     "and the source writes up to %lld; update godwit "
				     "at the source",
				     name, (long long)version_at(here, 0), (long long)newest));
	else if (version_at(here, 1) < oldest)
		json_array_append_new(blockers, knows_older(name, version_at(here, 1), oldest));
}

void devices_check_records(const struct vm *vm, const json_t *records, json_t *blockers)
{
	json_auto_t *own = devices_records(vm); /* as reset leaves it nothing newer is in use */
	const char *name;
	json_t *range;

	json_object_foreach(own, name, range)
		check_range(name, range, json_object_get(records, name), blockers);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration that was made elsewhere, with what is local to this host said anew. */
#include <errno.h>
#include <string.h>

#include "config.h"

json_t *config_find_id(const json_t *devices, const char *id)
{
	json_t *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		const char *its = json_string_value(json_object_get(device, "id"));

		if (its && !strcmp(its, id))
			return device;
	}
	return NULL;
}

static int relocate_devices(json_t *saved, const char *section, const json_t *local, struct err *e)
{
	const json_t *devices = json_object_get(saved, section), *given;
	size_t i;

	if (!json_is_array(local))
		return err_set(e, -EINVAL, "%s: must be an array of objects, [ { ... } ]", section);
	json_array_foreach(local, i, given)
	{
		const char *id = json_string_value(json_object_get(given, "id"));
		json_t *device = id ? config_find_id(devices, id) : NULL;

		if (!id)
			return err_set(e, -EINVAL,
				       "%s: which device? id=%.*s0 names one, if that is its id",
				       section, (int)strcspn(section, "s"), section);
		if (!json_is_object(device))
			return err_set(e, -EINVAL,
				       "%s: there is no device \"%.64s\" that could be replaced",
				       section, id);
		if (json_object_update(device, (json_t *)given))
			return err_set(e, -ENOMEM, "configuration: out of memory");
	}
	return 0;
}

static int relocate(json_t *saved, const char *key, json_t *local, struct err *e)
{
	const struct config_section *s = config_find_section(key);
	json_t *object = json_object_get(saved, key);
	int rc;

	if (s && s->many && !s->class)
		return err_set(e, -EINVAL, "%s: the guest knows what it has; leave it out", key);
	if (s && s->many)
		return relocate_devices(saved, key, local, e);
	if (s && !s->class && json_is_object(object) && json_is_object(local))
		rc = json_object_update(object, local);
	else
		rc = json_object_set(saved, key, local);
	return rc ? err_set(e, -ENOMEM, "configuration: out of memory") : 0;
}

int config_relocate(json_t *saved, const json_t *local, struct err *e)
{
	const char *key;
	json_t *value;
	int rc;

	json_object_foreach((json_t *)local, key, value)
	{
		rc = relocate(saved, key, value, e);
		if (rc)
			return rc;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "spec.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "bits.h"
#include "cleanup.h"
#include "option.h"
#include "planner/fields.h"
#include "planner/model.h"
#include "uuid.h"

static const char *const restarts[] = { "on-failure", "always", "no", NULL };
static const char *const states[] = { "running", "stopped", NULL };
static const char *const of_planner[] = { "weight", "pinned", "together", "apart" };

/* *index: of the word that the key has, 0 if it has none. */
static int read_word(const json_t *spec, const char *key, const char *const words[],
		     unsigned *index, struct err *e)
{
	const json_t *value = json_object_get(spec, key);
	const char *text = json_string_value(value);
	struct err list = { "" };

	*index = 0;
	if (!value)
		return 0;
	for (unsigned i = 0; words[i]; i++) {
		size_t len = strlen(list.text);

		*index = i;
		if (text && !strcmp(text, words[i]))
			return 0;
		snprintf(list.text + len, sizeof(list.text) - len, "%s\"%s\"",
			 !i             ? ""
			 : words[i + 1] ? ", "
					: " or ",
			 words[i]);
	}
	return err_set(e, -EINVAL, "%s must be %.100s", key, list.text);
}

static bool is_key(const char *key)
{
	static const char *const keys[] = { "name",  "vm",           "restart",
					    "state", "borrow_cores", "memory_min" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i], key))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(of_planner); i++)
		if (!strcmp(of_planner[i], key))
			return true;
	return false;
}

static int check_keys(const json_t *spec, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(spec))
		return err_set(e, -EINVAL, "a spec is a JSON object");
	json_object_foreach((json_t *)spec, key, value) if (!is_key(key)) return err_set(
		e, -EINVAL, "a spec has no \"%.64s\"", key);
	if (json_dumpb(spec, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII) > SPEC_BYTES_MAX)
		return err_set(e, -EINVAL, "a spec has at most %d bytes", SPEC_BYTES_MAX);
	return 0;
}

/* It becomes a directory's, and the planner's. */
int spec_check_name(const char *name, struct err *e)
{
	if (name && name_is_valid(name) && *name != '.' && *name != '-')
		return 0;
	return err_set(e, -EINVAL,
		       "name must be 1 to %d letters, digits, dots, underscores or dashes and "
		       "begin with a letter, a digit or an underscore",
		       SPEC_NAME_MAX);
}

/* The planner's own table has the ranges: a record of a VM that is complete but for these. */
static int check_planner(const json_t *spec, const char *name, struct err *e)
{
	json_auto_t *record = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:[f], s:[f], s:f}", "id",
					name, "host", "any", "at", 1, "vcpus", 1, "memory", 1,
					"resident", 1, "run", 0.0, "delay", 0.0, "cpu_mean", 0.0);
	struct names names = { 0 };
	struct vm vm;
	int r;

	if (!record)
		return err_set(e, -ENOMEM, "out of memory");
	spec_add_to_record(spec, record);
	r = fields_read(&vm_fields, &names, record, &vm, e);
	names_free(&names);
	return r;
}

static int check_terminal(const json_t *vm, const char *port, struct err *e)
{
	const char *mode = json_string_value(json_object_get(json_object_get(vm, port), "mode"));

	if (!mode || strcasecmp(mode, "Tty"))
		return 0;
	return err_set(e, -EINVAL,
		       "vm: %s cannot be Tty: nobody is at a terminal; godwit console reaches it "
		       "as Null, too",
		       port);
}

static int check_vm(const json_t *vm, struct spec_values *out, struct err *e)
{
	const json_t *name = json_object_get(vm, "name"),
		     *uuid = json_object_get(json_object_get(vm, "platform"), "uuid");
	int r;

	if (!json_is_object(vm))
		return err_set(e, -EINVAL, "vm must be the configuration of a VM");
	if (name && (!json_is_string(name) || strcmp(json_string_value(name), out->name)))
		return err_set(e, -EINVAL, "vm: its name must be that of the spec, or left out");
	out->uuid = json_string_value(uuid);
	if (uuid && !json_is_null(uuid) && (!out->uuid || !uuid_is(out->uuid)))
		return err_set(e, -EINVAL,
			       "vm: uuid must look like 6ba7b810-9dad-41d1-80b4-00c04fd430c8");
	r = check_terminal(vm, "serial", e);
	return r ? r : check_terminal(vm, "console", e);
}

static int check_borrow(const json_t *spec, struct spec_values *out, struct err *e)
{
	const json_t *value = json_object_get(spec, "borrow_cores"),
		     *cpus = json_object_get(json_object_get(spec, "vm"), "cpus");

	if (value && !json_is_boolean(value))
		return err_set(e, -EINVAL, "borrow_cores must be true or false");
	out->borrows = json_is_true(value) ? json_number_value(json_object_get(cpus, "limit")) : 0;
	out->roams = json_is_true(value) && json_array_size(json_object_get(cpus, "affinity"));
	if (json_is_true(value) && !(out->borrows > 0) && !out->roams)
		return err_set(e, -EINVAL,
			       "borrow_cores needs a limit or an affinity of its own: "
			       "vm.cpus.limit or vm.cpus.affinity");
	return 0;
}

static int check_memory_min(const json_t *spec, struct spec_values *out, struct err *e)
{
	const json_t *value = json_object_get(spec, "memory_min"),
		     *vm = json_object_get(spec, "vm");
	const char *text = json_string_value(value);
	json_int_t bytes = json_integer_value(value);

	if (!value)
		return 0;
	out->memory_min = bytes > 0 ? (uint64_t)bytes : 0;
	if ((text && option_size(text, &out->memory_min)) || !out->memory_min)
		return err_set(e, -EINVAL, "memory_min must be a size such as \"512M\"");
	if (!json_is_object(json_object_get(vm, "balloon")))
		return err_set(e, -EINVAL,
			       "memory_min needs a balloon, which says how the guest does: "
			       "vm.balloon");
	return 0;
}

int spec_read(const json_t *spec, struct spec_values *out, struct err *e)
{
	unsigned restart = 0, state = 0;
	int r = check_keys(spec, e);

	*out = (struct spec_values){ .name = json_string_value(json_object_get(spec, "name")) };
	r = r ? r : spec_check_name(out->name, e);
	r = r ? r : check_vm(json_object_get(spec, "vm"), out, e);
	r = r ? r : check_borrow(spec, out, e);
	r = r ? r : check_memory_min(spec, out, e);
	r = r ? r : read_word(spec, "restart", restarts, &restart, e);
	r = r ? r : read_word(spec, "state", states, &state, e);
	out->weight = json_number_value(json_object_get(spec, "weight"));
	out->restart = (enum restart)restart;
	out->runs = !state;
	return r ? r : check_planner(spec, out->name, e);
}

int spec_set_uuid(json_t *spec, const char *uuid, struct err *e)
{
	json_t *vm = json_object_get(spec, "vm"), *platform = json_object_get(vm, "platform");

	if (!json_is_object(platform)) {
		platform = json_object();
		if (json_object_set_new(vm, "platform", platform))
			platform = NULL;
	}
	if (json_object_set_new(platform, "uuid", json_string(uuid)))
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

/* "godwit run" would give a serial port that nothing is said of to its terminal. */
static int keep_off_terminal(json_t *config)
{
	json_t *serial = json_object_get(config, "serial");

	if (!serial || json_is_null(serial)) {
		serial = json_object();
		if (json_object_set_new(config, "serial", serial))
			return -ENOMEM;
	}
	if (!json_is_object(serial) || json_object_get(serial, "mode") ||
	    json_object_get(serial, "file") || json_object_get(serial, "socket"))
		return 0;
	return json_object_set_new(serial, "mode", json_string("Null"));
}

json_t *spec_config(const json_t *spec)
{
	json_t *config = json_deep_copy(json_object_get(spec, "vm"));

	if (!json_object_set(config, "name", json_object_get(spec, "name")) &&
	    !keep_off_terminal(config))
		return config;
	json_decref(config);
	return NULL;
}

void spec_add_to_record(const json_t *spec, json_t *record)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_planner); i++) {
		json_t *value = json_object_get(spec, of_planner[i]);

		if (value)
			json_object_set(record, of_planner[i], value);
	}
}

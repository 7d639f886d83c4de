/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "log.h"
#include "planner/names.h"
#include "planner/fields.h"
#include "record.h"

enum {
	ENTRIES_MAX = 256, /* as many as record_read() takes */
	FUTURE_MS = 60000,
	MS_PER_S = 1000,
	LINES_PER_SECOND = 1,
};

static const char file[] = "settings.json";

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * MS_PER_S + (uint64_t)t.tv_nsec / 1000000;
}

static const char *behind(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(key, prefix, len) ? NULL : key + len;
}

static int check_policy(const char *key, const json_t *value, struct err *e)
{
	struct policy policy;
	struct names names = { 0 };
	json_auto_t *object = json_pack("{s:O}", key, value);
	int r = object ? fields_read(&policy_fields, &names, object, &policy, e)
		       : err_set(e, -EINVAL, "\"%.64s\" is no policy value", key);

	names_free(&names);
	return r;
}

static int check(const char *key, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value), *name;
	struct snapshot s;

	if (!strcmp(key, "mode"))
		return text ? fields_set(&snapshot_fields, "mode", text, &s, e)
			    : err_set(e, -EINVAL, "a mode is a word");
	name = behind(key, "policy.");
	if (name)
		return check_policy(name, value, e);
	name = behind(key, "host.");
	if (!name || !name_is_valid(name))
		return err_set(e, -EINVAL, "there is no setting \"%.64s\"", key);
	if (text &&
	    (!strcmp(text, "up") || !strcmp(text, "draining") || !strcmp(text, "maintenance")))
		return 0;
	return err_set(e, -EINVAL, "a host can be up, draining or in maintenance");
}

/* One that makes sense, whoever made it; newest: more would be in the future. */
static bool entry_is_valid(const char *key, const json_t *entry, uint64_t newest, struct err *e)
{
	const json_t *at = json_object_get(entry, "at"), *value = json_object_get(entry, "value");
	const char *by = json_string_value(json_object_get(entry, "by"));

	if (!json_is_integer(at) || json_integer_value(at) < 0 || !value || !by ||
	    !name_is_valid(by)) {
		err_set(e, -EINVAL, "the setting \"%.64s\" is not complete", key);
		return false;
	}
	if (json_integer_value(at) > (json_int_t)newest) {
		err_set(e, -EINVAL, "\"%.64s\" comes from the future; set the clocks of the hosts",
			key);
		return false;
	}
	return !check(key, value, e);
}

static bool is_newer(const json_t *a, const json_t *b)
{
	json_int_t at = json_integer_value(json_object_get(a, "at")),
		   than = json_integer_value(json_object_get(b, "at"));

	if (!b || at != than)
		return !b || at > than;
	return strcmp(json_string_value(json_object_get(a, "by")),
		      json_string_value(json_object_get(b, "by"))) > 0;
}

static int keep(const struct settings *s, int store, struct err *e)
{
	int r = record_write(store, file, 0600, s->entries);

	return r ? err_set(e, r, "the agent's settings cannot be written: %s", strerror(-r)) : 0;
}

static bool take(struct settings *s, const json_t *entries, uint64_t newest)
{
	const char *key;
	json_t *entry;
	bool changed = false;
	struct err e;

	json_object_foreach((json_t *)entries, key, entry)
	{
		if (!entry_is_valid(key, entry, newest, &e)) {
			if (pace_allows(&s->pace, LINES_PER_SECOND))
				log_warn("a setting is left out: %s",
					 record_is_text(e.text, sizeof(e.text))
						 ? e.text
						 : "it is none that could be shown");
		} else if (json_object_size(s->entries) < ENTRIES_MAX &&
			   is_newer(entry, json_object_get(s->entries, key))) {
			changed |= !json_object_set_new(s->entries, key, json_deep_copy(entry));
		}
	}
	return changed;
}

json_t *settings_policy_json(const struct settings *s)
{
	json_t *policy = json_object(), *entry;
	const char *key, *name;

	json_object_foreach(s->entries, key, entry)
	{
		name = behind(key, "policy.");
		if (name)
			json_object_set(policy, name, json_object_get(entry, "value"));
	}
	return policy;
}

static void reckon_policy(struct settings *s)
{
	json_auto_t *object = settings_policy_json(s);
	struct names names = { 0 };
	struct err e;

	if (!object || fields_read(&policy_fields, &names, object, &s->policy, &e))
		fields_default(&policy_fields, &s->policy);
	names_free(&names);
}

int settings_new(struct settings *s, int store, struct err *e)
{
	json_auto_t *kept = NULL;
	int r = record_read(store, file, &kept);

	s->entries = json_object();
	if (!s->entries)
		return err_set(e, -ENOMEM, "out of memory");
	if (r && r != -ENOENT)
		return err_set(e, r, "the agent's %s is damaged; remove it to begin anew", file);
	take(s, kept, UINT64_MAX >> 1);
	reckon_policy(s);
	return 0;
}

void settings_free(struct settings *s)
{
	json_decref(s->entries);
	s->entries = NULL;
}

int settings_set(struct settings *s, int store, const char *key, const json_t *value,
		 const char *by, struct err *e)
{
	const json_t *old = json_object_get(s->entries, key);
	json_int_t at = (json_int_t)now_ms(), was = json_integer_value(json_object_get(old, "at"));
	json_t *entry;
	int r = check(key, value, e);

	if (r)
		return r;
	/* What is said here later is newer, whatever the other's clock says. */
	entry = json_pack("{s:O, s:I, s:s}", "value", value, "at", at > was ? at : was + 1, "by",
			  by);
	if (json_object_set_new(s->entries, key, entry))
		return err_set(e, -ENOMEM, "out of memory");
	reckon_policy(s);
	return keep(s, store, e);
}

bool settings_merge(struct settings *s, int store, const json_t *entries, uint64_t now)
{
	bool changed = json_is_object(entries) && take(s, entries, now * MS_PER_S + FUTURE_MS);
	struct err e;

	reckon_policy(s);
	if (changed && keep(s, store, &e))
		log_error("%s", e.text);
	return changed;
}

static const json_t *value_of(const struct settings *s, const char *key)
{
	return json_object_get(json_object_get(s->entries, key), "value");
}

const char *settings_mode(const struct settings *s)
{
	const char *text = json_string_value(value_of(s, "mode"));

	return text ? text : "recommend";
}

const char *settings_host(const struct settings *s, const char *id)
{
	char key[AGENT_KEY_MAX];
	const char *text;

	snprintf(key, sizeof(key), "host.%s", id);
	text = json_string_value(value_of(s, key));
	return text ? text : "up";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Options: JSON objects checked against their table, completed, and loaded into structs. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bits.h"
#include "cleanup.h"
#include "log.h"
#include "option_internal.h"

enum { WHAT_BYTES = 96, UNKNOWN_TOLD_MAX = 8 };

static bool is_number(const struct option *o)
{
	return o->kind >= OPTION_U8 && o->kind <= OPTION_SIZE;
}

uint64_t option_max(const struct option *o)
{
	static const uint64_t held[] = {
		[OPTION_U8] = UINT8_MAX,  [OPTION_U16] = UINT16_MAX, [OPTION_U32] = UINT32_MAX,
		[OPTION_U64] = INT64_MAX, [OPTION_SIZE] = INT64_MAX, [OPTION_NUMBERS] = UINT32_MAX,
	};

	assert(is_number(o) || o->kind == OPTION_NUMBERS);
	return o->max ? o->max : held[o->kind];
}

const struct option *option_find(const struct option_table *t, const char *key, size_t len)
{
	for (size_t i = 0; i < t->n; i++)
		if (strlen(t->option[i].key) == len && !memcmp(t->option[i].key, key, len))
			return &t->option[i];
	return NULL;
}

const struct option *option_meant(const struct option_table *t, const struct option *o)
{
	const char *path = o->alias;

	while (path) {
		size_t len = strcspn(path, ".");

		o = option_find(t, path, len);
		assert(o);
		path = path[len] ? path + len + 1 : NULL;
		t = o->nested;
	}
	return o;
}

static int enum_index(const struct option *o, const char *name)
{
	for (unsigned i = 0; name && o->names[i]; i++)
		if (!strcasecmp(o->names[i], name))
			return (int)i;
	return -1;
}

static bool asks_nothing(const json_t *v);

/* A console that is off asks for nothing, whatever else it says. */
static bool object_asks_nothing(const json_t *object)
{
	const char *mode = json_string_value(json_object_get(object, "mode"));
	const char *key;
	json_t *v;

	if (mode && !strcasecmp(mode, "off"))
		return true;
	json_object_foreach((json_t *)object, key, v)
	{
		if (!asks_nothing(v))
			return false;
	}
	return true;
}

/* Clients write out defaults of things they do not want: those must not be refused. */
static bool asks_nothing(const json_t *v)
{
	const char *s = json_string_value(v);

	switch (json_typeof(v)) {
	case JSON_NULL:
	case JSON_FALSE:
		return true;
	case JSON_INTEGER:
		return !json_integer_value(v);
	case JSON_STRING:
		return !*s || !strcasecmp(s, "off") || !strcmp(s, "0");
	case JSON_ARRAY:
		return !json_array_size(v);
	case JSON_OBJECT:
		return object_asks_nothing(v);
	default:
		return false;
	}
}

static bool is_fallback(const struct option *o, const json_t *v)
{
	uint64_t n;

	if (!o->fallback)
		return false;
	if (json_is_boolean(v))
		return !strcmp(o->fallback, json_is_true(v) ? "on" : "off");
	if (json_is_integer(v))
		return !option_size(o->fallback, &n) && json_integer_value(v) == (json_int_t)n;
	return json_is_string(v) && !strcasecmp(json_string_value(v), o->fallback);
}

static int check_refused(const struct option *o, const char *what, const json_t *v, struct err *e)
{
	bool on_by_default = o->fallback && !strcmp(o->fallback, "on");

	if (is_fallback(o, v) || (!on_by_default && asks_nothing(v)))
		return 0;
	if (o->help)
		return err_set(e, -EINVAL, "%s: %s is not supported by this version; %s", what,
			       o->key, o->help);
	if (o->fallback)
		return err_set(e, -EINVAL,
			       "%s: %s is supported only as %s by this version; leave it out", what,
			       o->key, o->fallback);
	return err_set(e, -EINVAL, "%s: %s is not supported by this version; leave it out", what,
		       o->key);
}

static int normalise_fraction(const struct option *o, const json_t *v, json_t **normal)
{
	double n = json_number_value(v) * 1000;

	if (!json_is_number(v) || !(n >= 0 && n <= (double)o->max) || (n > 0 && n < (double)o->min))
		return -EINVAL;
	*normal = json_incref((json_t *)v);
	return 0;
}

static int normalise_number(const struct option *o, const json_t *v, json_t **normal)
{
	uint64_t n;

	if (o->kind == OPTION_SIZE && json_is_string(v)) {
		if (option_size(json_string_value(v), &n))
			return -EINVAL;
	} else if (json_is_integer(v) && json_integer_value(v) >= 0) {
		n = (uint64_t)json_integer_value(v);
	} else {
		return -EINVAL;
	}
	if (n < o->min || n > option_max(o))
		return -EINVAL;
	*normal = json_integer((json_int_t)n);
	return 0;
}

/* -EINVAL without a sentence: the value is not what the option takes. */
static int normalise(const struct option *o, const json_t *v, json_t **normal)
{
	int i;

	switch (o->kind) {
	case OPTION_BOOL:
		if (!json_is_boolean(v))
			return -EINVAL;
		*normal = json_boolean(json_is_true(v));
		return 0;
	case OPTION_STRING:
		if (!json_is_string(v))
			return -EINVAL;
		*normal = json_incref((json_t *)v);
		return 0;
	case OPTION_ENUM:
		i = enum_index(o, json_string_value(v));
		if (i < 0)
			return -EINVAL;
		*normal = json_string(o->names[i]);
		return 0;
	case OPTION_FRACTION:
		return normalise_fraction(o, v, normal);
	default:
		return normalise_number(o, v, normal);
	}
}

int option_normalise(const struct option *o, const char *what, const json_t *v, json_t **normal,
		     struct err *e)
{
	CLEANUP(free) char *shown = NULL;

	*normal = NULL;
	if (o->kind == OPTION_REFUSED)
		return check_refused(o, what, v, e);
	if (option_is_list(o)) {
		*normal = option_list_check(o, what, v, e) ? NULL : json_incref((json_t *)v);
		return *normal ? 0 : -EINVAL;
	}
	if (o->kind == OPTION_OBJECT || normalise(o, v, normal)) {
		shown = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		return option_refuse_value(o, what, shown ? shown : "this", false, e);
	}
	if (!*normal)
		return err_set(e, -ENOMEM, "%s: out of memory", what);
	return 0;
}

/* normal: NULL stores zeroes. */
static void store(const struct option *o, const json_t *normal, void *base)
{
	void *at = (char *)base + o->offset;
	int i;

	switch (o->kind) {
	case OPTION_BOOL:
		*(bool *)at = json_is_true(normal);
		break;
	case OPTION_U8:
		*(uint8_t *)at = (uint8_t)json_integer_value(normal);
		break;
	case OPTION_U16:
		*(uint16_t *)at = (uint16_t)json_integer_value(normal);
		break;
	case OPTION_U32:
		*(uint32_t *)at = (uint32_t)json_integer_value(normal);
		break;
	case OPTION_U64:
	case OPTION_SIZE:
		*(uint64_t *)at = (uint64_t)json_integer_value(normal);
		break;
	case OPTION_FRACTION:
		*(uint32_t *)at = (uint32_t)(json_number_value(normal) * 1000 + 0.5);
		break;
	case OPTION_STRING:
		*(const char **)at = json_string_value(normal);
		break;
	case OPTION_NUMBERS:
	case OPTION_LIST:
		*(const json_t **)at = normal;
		break;
	case OPTION_ENUM:
		i = enum_index(o, json_string_value(normal));
		*(unsigned *)at = i < 0 ? 0 : (unsigned)i;
		break;
	default:
		break;
	}
}

static int load_absent(const struct option *o, const char *what, void *base, struct err *e)
{
	json_auto_t *normal = NULL;
	int rc;

	if (o->required)
		return err_set(e, -EINVAL, "%s: %s is missing and must be given", what, o->key);
	if (o->kind == OPTION_STRING && o->fallback) {
		*(const char **)((char *)base + o->offset) = o->fallback;
		return 0;
	}
	if (o->fallback && o->kind != OPTION_REFUSED) {
		rc = option_from_text(o, what, o->fallback, &normal, e);
		if (rc)
			return rc;
	}
	store(o, normal, base);
	return 0;
}

static int load_one(const struct option *o, const char *what, const json_t *v, void *base,
		    struct err *e)
{
	json_auto_t *normal = NULL;
	char inner[WHAT_BYTES];
	int rc;

	if (!v || json_is_null(v))
		return load_absent(o, what, base, e);
	if (o->kind == OPTION_ALIAS)
		return err_set(e, -EINVAL, "%s: %s is for the command line; in JSON it is %s", what,
			       o->key, o->alias);
	if (o->kind == OPTION_OBJECT && json_is_object(v)) {
		snprintf(inner, sizeof(inner), "%s.%s", what, o->key);
		return option_load(o->nested, inner, v, (char *)base + o->offset, e);
	}
	rc = option_normalise(o, what, v, &normal, e);
	if (!rc)
		store(o, normal, base); /* strings and lists live on in the object */
	return rc;
}

static void warn_unknown(const struct option_table *t, const char *what, const json_t *object)
{
	const char *key, *near;
	unsigned told = 0;
	json_t *v;

	json_object_foreach((json_t *)object, key, v)
	{
		if (option_find(t, key, strlen(key)))
			continue;
		if (told++ == UNKNOWN_TOLD_MAX) {
			log_warn("%s: it has more unknown keys; all are ignored", what);
			return;
		}
		near = option_nearest_key(t, key);
		if (near)
			log_warn("%s: unknown key \"%.64s\" is ignored; did you mean \"%s\"?", what,
				 key, near);
		else
			log_warn("%s: unknown key \"%.64s\" is ignored", what, key);
	}
}

int option_check_keys(const struct option_table *t, const char *what, const json_t *object,
		      struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)object, key, v)
	{
		if (!option_find(t, key, strlen(key)))
			return option_unknown_key(t, what, key, e);
	}
	return 0;
}

int option_load(const struct option_table *t, const char *what, const json_t *object, void *base,
		struct err *e)
{
	int rc;

	if (object && !json_is_object(object))
		return err_set(e, -EINVAL, "%s: must be an object, { \"key\": value, ... }", what);
	warn_unknown(t, what, object);
	for (size_t i = 0; i < t->n; i++) {
		const struct option *o = &t->option[i];

		rc = load_one(o, what, json_object_get(object, o->key), base, e);
		if (rc)
			return rc;
	}
	return 0;
}

static json_t *complete_one(const struct option *o, const json_t *v)
{
	json_t *normal = NULL;
	struct err ignored;

	if (!v || json_is_null(v)) {
		if (o->fallback && o->kind != OPTION_REFUSED)
			option_from_text(o, "", o->fallback, &normal, &ignored);
	} else if (o->kind == OPTION_OBJECT) {
		normal = option_complete(o->nested, v);
	} else {
		option_normalise(o, "", v, &normal, &ignored);
	}
	return normal;
}

json_t *option_complete(const struct option_table *t, const json_t *object)
{
	json_t *complete = json_object();

	for (size_t i = 0; complete && i < t->n; i++) {
		const struct option *o = &t->option[i];
		json_t *v = complete_one(o, json_object_get(object, o->key));

		if (v && json_object_set_new(complete, o->key, v)) {
			json_decref(complete);
			return NULL;
		}
	}
	return complete;
}

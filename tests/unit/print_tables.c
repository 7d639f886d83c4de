/* SPDX-License-Identifier: Apache-2.0 */
/* The tables behind the control API as one JSON object: options as they are nested in a VmConfig,
 * and routes.  tests/unit/openapi_file.py compares docs/openapi.yaml with it, api_page.py
 * docs/api.md. */
#include <stdio.h>

#include "call.h"
#include "config.h"
#include "option_internal.h"

static const char *const kinds[] = {
	[OPTION_BOOL] = "boolean",    [OPTION_U8] = "integer",    [OPTION_U16] = "integer",
	[OPTION_U32] = "integer",     [OPTION_U64] = "integer",   [OPTION_SIZE] = "integer",
	[OPTION_STRING] = "string",   [OPTION_ENUM] = "string",   [OPTION_OBJECT] = "object",
	[OPTION_FRACTION] = "number", [OPTION_NUMBERS] = "array", [OPTION_LIST] = "array",
	[OPTION_REFUSED] = "refused"
};

static json_t *table(const struct option_table *);

/* As the API writes it; of what is refused, as it stands in the table. */
static json_t *fallback_of(const struct option *o)
{
	json_t *value = NULL;
	struct err e;

	if (!o->fallback)
		return NULL;
	if (o->kind == OPTION_REFUSED)
		return json_string(o->fallback);
	option_from_text(o, "", o->fallback, &value, &e);
	return value;
}

static json_t *names_of(const struct option *o)
{
	json_t *names = json_array();

	for (size_t i = 0; o->names[i]; i++)
		json_array_append_new(names, json_string(o->names[i]));
	return names;
}

static json_t *option(const struct option *o)
{
	json_t *out = json_pack("{s:s, s:b, s:o*}", "kind", kinds[o->kind], "required", o->required,
				"default", fallback_of(o));

	if (o->kind >= OPTION_U8 && o->kind <= OPTION_SIZE) {
		json_object_set_new(out, "min", json_integer((json_int_t)o->min));
		json_object_set_new(out, "max", json_integer((json_int_t)option_max(o)));
	} else if (o->kind == OPTION_FRACTION) {
		json_object_set_new(out, "max", json_integer((json_int_t)o->max / 1000));
	} else if (o->kind == OPTION_ENUM) {
		json_object_set_new(out, "names", names_of(o));
	} else if (o->kind == OPTION_OBJECT || o->kind == OPTION_LIST) {
		json_object_set_new(out, "keys", table(o->nested));
	}
	return out;
}

/* Short words of the command line are no part of the JSON. */
static json_t *table(const struct option_table *t)
{
	json_t *out = json_object();

	for (size_t i = 0; i < t->n; i++)
		if (t->option[i].kind != OPTION_ALIAS)
			json_object_set_new(out, t->option[i].key, option(&t->option[i]));
	return out;
}

static json_t *configuration(void)
{
	json_t *out = table(&config_options);

	for (size_t i = 0; i < nconfig_sections; i++) {
		const struct config_section *s = &config_sections[i];

		json_object_set_new(out, s->key,
				    json_pack("{s:s, s:b, s:o}", "kind",
					      s->many ? "array" : "object", "required", 0, "keys",
					      table(config_section_table(s))));
	}
	return out;
}

static json_t *paths(void)
{
	json_t *out = json_object();

	for (size_t i = 0; i < nroutes; i++)
		json_object_set_new(out, routes[i].name,
				    json_pack("{s:s, s:b, s:s*}", "method",
					      routes[i].method == HTTP_GET ? "GET" : "PUT", "body",
					      routes[i].body == BODY_NEEDED, "feature",
					      routes[i].feature));
	return out;
}

int main(void)
{
	json_auto_t *all = json_pack("{s:o, s:o}", "configuration", configuration(), "routes",
				     paths());

	return json_dumpf(all, stdout, JSON_INDENT(1)) ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations that are written where they are tested. */
#ifndef CONFIG_OF_H
#define CONFIG_OF_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define KERNEL "'payload':{'kernel':'k'}"

/* JSON with ' for ". */
static inline json_t *json_of(const char *text)
{
	char *copy = strdup(text);
	json_error_t where;
	json_t *json;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = json_loads(copy, JSON_DECODE_ANY, &where);
	ck_assert_msg(json, "%s: %s", copy, where.text);
	free(copy);
	return json;
}

static inline int load(struct config *c, const char *text, struct err *e)
{
	json_t *json = json_of(text), *before = json_deep_copy(json);
	int rc = config_load(c, json, e);

	ck_assert(json_equal(json, before)); /* the caller's stays as it was */
	json_decref(before);
	json_decref(json);
	return rc;
}

static inline void assert_loads(struct config *c, const char *text)
{
	struct err e = { "" };

	ck_assert_msg(!load(c, text, &e), "%s: %s", text, e.text);
}

#endif

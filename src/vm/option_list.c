/* SPDX-License-Identifier: Apache-2.0 */
/* Options that are lists: of numbers, "[0-1,4]", and of objects with two keys, "[0@[0-1],1@20]". */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "option_internal.h"

enum { WHAT_BYTES = 96, ITEM_BYTES = 64 };

const char *option_list_example(const struct option *o)
{
	if (o->kind == OPTION_NUMBERS)
		return "[0-1,4]";
	return o->nested->option[1].kind == OPTION_NUMBERS ? "[0@[0-1],1@[4]]" : "[1@20,2@30]";
}

size_t option_list_bytes(const char *text)
{
	unsigned depth = 0;
	size_t n;

	for (n = 0; text[n] && (depth || text[n] != ','); n++) {
		if (text[n] == '[')
			depth++;
		else if (text[n] == ']' && depth)
			depth--;
	}
	return depth ? 0 : n;
}

/* The items between the brackets, in place; NULL: there are none. */
static char *strip(char *text)
{
	size_t len = strlen(text);

	if (len < 2 || *text != '[' || text[len - 1] != ']')
		return NULL;
	text[len - 1] = '\0';
	return text + 1;
}

/* The first item, cut off; *at: the next one. */
static char *cut(char **at)
{
	char *item = *at;
	size_t len = option_list_bytes(item);

	*at = item + len + (item[len] == ',');
	item[len] = '\0';
	return item;
}

static bool take_number(char **at, uint64_t max, uint64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)**at))
		return false;
	errno = 0;
	*n = strtoull(*at, &end, 10);
	*at = end;
	return !errno && *n <= max;
}

static int add_range(const struct option *o, char *text, json_t *list)
{
	uint64_t first, last;

	if (!take_number(&text, option_max(o), &first))
		return -EINVAL;
	last = first;
	if (*text == '-' && (text++, !take_number(&text, option_max(o), &last)))
		return -EINVAL;
	if (*text || last < first)
		return -EINVAL;
	for (; first <= last; first++)
		if (json_array_append_new(list, json_integer((json_int_t)first)))
			return -ENOMEM;
	return 0;
}

static int set_key(const struct option *o, const char *text, json_t *object)
{
	json_t *value = NULL;
	struct err unused;
	int r = option_from_text(o, "", text, &value, &unused);

	return r ? r : json_object_set_new(object, o->key, value);
}

static int add_pair(const struct option *o, char *text, json_t *list)
{
	char *second = strchr(text, '@');
	json_t *object = json_object();

	if (json_array_append_new(list, object))
		return -ENOMEM;
	if (!second)
		return -EINVAL;
	*second++ = '\0';
	if (set_key(&o->nested->option[0], text, object) ||
	    set_key(&o->nested->option[1], second, object))
		return -EINVAL;
	return 0;
}

int option_list_from_text(const struct option *o, const char *text, json_t **raw)
{
	CLEANUP(free) char *copy = strdup(text);
	json_auto_t *list = json_array();
	char *at = copy ? strip(copy) : NULL;
	int r = 0;

	if (!copy || !list)
		return -ENOMEM;
	if (!at)
		return -EINVAL;
	while (!r && *at) {
		char *item = cut(&at);

		r = o->kind == OPTION_NUMBERS ? add_range(o, item, list) : add_pair(o, item, list);
	}
	if (!r)
		*raw = TAKE(list);
	return r;
}

static bool are_numbers(const struct option *o, const json_t *v)
{
	const json_t *each;
	size_t i;

	json_array_foreach(v, i, each)
	{
		json_int_t n = json_integer_value(each);

		if (!json_is_integer(each) || n < (json_int_t)o->min ||
		    n > (json_int_t)option_max(o))
			return false;
	}
	return json_is_array(v);
}

static int refuse(const struct option *o, const char *what, const json_t *v, struct err *e)
{
	CLEANUP(free) char *shown = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

	return option_refuse_value(o, what, shown ? shown : "this", false, e);
}

int option_list_check(const struct option *o, const char *what, const json_t *v, struct err *e)
{
	uint64_t scratch[ITEM_BYTES / sizeof(uint64_t)];
	char inner[WHAT_BYTES];
	const json_t *each;
	size_t i;
	int r;

	if (o->kind == OPTION_NUMBERS)
		return are_numbers(o, v) ? 0 : refuse(o, what, v, e);
	if (!json_is_array(v))
		return refuse(o, what, v, e);
	json_array_foreach(v, i, each)
	{
		snprintf(inner, sizeof(inner), "%s: %s[%zu]", what, o->key, i);
		for (size_t k = 0; k < o->nested->n; k++)
			assert(o->nested->option[k].offset < ITEM_BYTES);
		r = option_load(o->nested, inner, each, scratch, e);
		if (r)
			return r;
	}
	return 0;
}

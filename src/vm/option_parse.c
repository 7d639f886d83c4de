/* SPDX-License-Identifier: Apache-2.0 */
/* Options as people type them: "key=value,..." and single values, turned into JSON. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "option_internal.h"

static int plain_number(const char *text, char **end, uint64_t *n)
{
	unsigned long long v;

	if (!isdigit((unsigned char)*text)) /* strtoull takes signs and blanks */
		return -EINVAL;
	errno = 0;
	v = strtoull(text, end, 10);
	if (errno || v > INT64_MAX)
		return -EINVAL;
	*n = v;
	return 0;
}

int option_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 0;
	uint64_t n;
	char *end;

	if (plain_number(text, &end, &n))
		return -EINVAL;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || end[1])
			return -EINVAL;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (n > (uint64_t)INT64_MAX >> shift)
		return -EINVAL;
	*bytes = n << shift;
	return 0;
}

int option_fraction(const char *text, uint64_t *thousandths)
{
	uint64_t whole, part = 0;
	unsigned digits = 0;
	char *end;

	if (plain_number(text, &end, &whole) || whole > UINT32_MAX)
		return -EINVAL;
	if (*end == '.')
		for (end++; isdigit((unsigned char)*end) && digits < 3; end++, digits++)
			part = part * 10 + (unsigned)(*end - '0');
	if (*end)
		return -EINVAL;
	for (; digits < 3; digits++)
		part *= 10;
	*thousandths = whole * 1000 + part;
	return 0;
}

void option_print_size(char *buf, size_t len, uint64_t bytes)
{
	static const char suffixes[] = "\0KMGT";
	unsigned i = 0;

	while (i < 4 && bytes && !(bytes & 1023)) {
		bytes >>= 10;
		i++;
	}
	snprintf(buf, len, "%llu%.1s", (unsigned long long)bytes, &suffixes[i]);
}

static void print_range(const struct option *o, char *buf, size_t len)
{
	char min[32], max[32];

	if (o->kind == OPTION_FRACTION) {
		snprintf(buf, len, "0 or a number from %g to %g such as 2.5", (double)o->min / 1000,
			 (double)o->max / 1000);
		return;
	}
	if (o->kind != OPTION_SIZE) {
		snprintf(buf, len, "a number from %llu to %llu", (unsigned long long)o->min,
			 (unsigned long long)option_max(o));
		return;
	}
	option_print_size(min, sizeof(min), o->min);
	option_print_size(max, sizeof(max), o->max);
	if (o->max)
		snprintf(buf, len, "a size from %s to %s", min, max);
	else if (o->min)
		snprintf(buf, len, "a size such as 512M or 2G, at least %s", min);
	else
		snprintf(buf, len, "a size such as 512M or 2G");
}

static void print_names(const struct option *o, char *buf, size_t len)
{
	size_t used = 0;

	for (unsigned i = 0; o->names[i] && used < len; i++) {
		const char *between = !i ? "" : o->names[i + 1] ? ", " : " or ";

		used += (size_t)snprintf(buf + used, len - used, "%s%s", between, o->names[i]);
	}
}

static void print_allowed(const struct option *o, bool typed, char *buf, size_t len)
{
	switch (o->kind) {
	case OPTION_BOOL:
		snprintf(buf, len, "%s", typed ? "on or off" : "true or false");
		break;
	case OPTION_STRING:
	case OPTION_REFUSED:
		snprintf(buf, len, "%s", typed ? "UTF-8 text" : "a string");
		break;
	case OPTION_ENUM:
		print_names(o, buf, len);
		break;
	case OPTION_NUMBERS:
		snprintf(buf, len, "a list of numbers from %llu to %llu such as %s",
			 (unsigned long long)o->min, (unsigned long long)option_max(o),
			 option_list_example(o));
		break;
	case OPTION_LIST:
		snprintf(buf, len, "a list%s%s", typed ? " such as " : " of objects",
			 typed ? option_list_example(o) : "");
		break;
	case OPTION_OBJECT:
		snprintf(buf, len, "an object with keys such as %s", o->nested->option[0].key);
		break;
	default:
		print_range(o, buf, len);
		break;
	}
}

int option_refuse_value(const struct option *o, const char *what, const char *shown, bool typed,
			struct err *e)
{
	const char *quote = typed ? "\"" : "";
	char allowed[256];

	print_allowed(o, typed, allowed, sizeof(allowed));
	return err_set(e, -EINVAL, "%s%s%s must be %s, not %s%.80s%s", what, *what ? ": " : "",
		       o->key, allowed, quote, shown, quote);
}

/* -EINVAL: not even the form is right. */
static int text_to_json(const struct option *o, const char *text, json_t **raw)
{
	uint64_t n;
	char *end;

	switch (o->kind) {
	case OPTION_BOOL:
		if (strcmp(text, "on") && strcmp(text, "off"))
			return -EINVAL;
		*raw = json_boolean(!strcmp(text, "on"));
		return 0;
	case OPTION_U8:
	case OPTION_U16:
	case OPTION_U32:
	case OPTION_U64:
		if (plain_number(text, &end, &n) || *end)
			return -EINVAL;
		*raw = json_integer((json_int_t)n);
		return *raw ? 0 : -ENOMEM;
	case OPTION_FRACTION:
		if (option_fraction(text, &n))
			return -EINVAL;
		*raw = n % 1000 ? json_real((double)n / 1000) : json_integer((json_int_t)n / 1000);
		return *raw ? 0 : -ENOMEM;
	case OPTION_NUMBERS:
	case OPTION_LIST:
		return option_list_from_text(o, text, raw);
	default:
		*raw = json_string(text); /* NULL if not UTF-8 */
		return *raw ? 0 : -EINVAL;
	}
}

int option_from_text(const struct option *o, const char *what, const char *text, json_t **normal,
		     struct err *e)
{
	json_auto_t *raw = NULL;
	struct err json_words;

	*normal = NULL;
	if (o->kind == OPTION_OBJECT)
		return err_set(e, -EINVAL, "%s: %s has keys of its own, such as %s.%s=VALUE", what,
			       o->key, o->key, o->nested->option[0].key);
	if (text_to_json(o, text, &raw))
		return option_refuse_value(o, what, text, true, e);
	if (o->kind == OPTION_REFUSED || option_is_list(o))
		return option_normalise(o, what, raw, normal, e);
	if (option_normalise(o, what, raw, normal, &json_words))
		return option_refuse_value(o, what, text, true, e);
	return 0;
}

static void list_keys(const struct option_table *t, char *buf, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < t->n && used < len; i++)
		if (t->option[i].kind != OPTION_REFUSED)
			used += (size_t)snprintf(buf + used, len - used, "%s%s", used ? ", " : "",
						 t->option[i].key);
}

int option_unknown_key(const struct option_table *t, const char *what, const char *key,
		       struct err *e)
{
	const char *near = option_nearest_key(t, key);
	char keys[256] = "";

	if (near)
		return err_set(e, -EINVAL, "%s: unknown key \"%.64s\"; did you mean \"%s\"?", what,
			       key, near);
	list_keys(t, keys, sizeof(keys));
	return err_set(e, -EINVAL, "%s: unknown key \"%.64s\"; it takes %s", what, key, keys);
}

/* Set key, which may be "outer.inner", in object.  typed: the key as the user wrote it. */
static int set_key(const struct option_table *t, const char *what, const char *key,
		   const char *typed, const char *text, json_t *object, struct err *e)
{
	const char *dot = strchr(key, '.');
	const struct option *o = option_find(t, key, dot ? (size_t)(dot - key) : strlen(key));
	struct option named;
	json_t *v;
	int rc;

	if (!o || (dot && o->kind != OPTION_OBJECT))
		return option_unknown_key(t, what, key, e);
	if (o->kind == OPTION_ALIAS)
		return set_key(t, what, o->alias, typed, text, object, e);
	v = json_object_get(object, o->key);
	if (dot) {
		if (!v) {
			v = json_object();
			if (json_object_set_new(object, o->key, v))
				return err_set(e, -ENOMEM, "%s: out of memory", what);
		}
		return set_key(o->nested, what, dot + 1, typed, text, v, e);
	}
	if (v)
		return err_set(e, -EINVAL, "%s: %s is given twice", what, typed);
	named = *o;
	named.key = typed;
	rc = option_from_text(&named, what, text, &v, e);
	if (rc || !v)
		return rc;
	if (json_object_set_new(object, o->key, v))
		return err_set(e, -ENOMEM, "%s: out of memory", what);
	return 0;
}

/* in: behind the opening quote.  Returns what follows the closing one, NULL if there is none. */
static char *unquote(char *in, char *out)
{
	for (;; *out++ = *in++) {
		if (!*in)
			return NULL;
		if (*in == '"' && *++in != '"') /* two stand for one */
			break;
	}
	*out = '\0';
	return in;
}

/* Cut a value off the front of *at, in place.  *at moves behind the comma, or becomes NULL at
 * the end.  Returns NULL if a quote is not closed. */
static char *cut_value(char **at)
{
	char *value = *at;
	char *end = *value == '"'                               ? unquote(value + 1, value)
		    : *value == '[' && option_list_bytes(value) ? value + option_list_bytes(value)
								: value + strcspn(value, ",");

	if (!end || (*end && *end != ','))
		return NULL;
	*at = *end ? end + 1 : NULL;
	*end = '\0';
	return value;
}

static int parse_pair(const struct option_table *t, const char *what, char **at, const char *first,
		      json_t *object, struct err *e)
{
	size_t len = strcspn(*at, "=,\"");
	const char *key = first;
	char *value;

	if ((*at)[len] == '=') {
		key = *at;
		(*at)[len] = '\0';
		*at += len + 1;
	} else if (option_find(t, *at, len)) {
		return err_set(e, -EINVAL, "%s: %.*s has no value; write %.*s=VALUE", what,
			       (int)len, *at, (int)len, *at);
	} else if (!first) {
		return err_set(e, -EINVAL, "%s: expected key=value instead of \"%.*s\"", what,
			       (int)MIN(len, 64), *at);
	}
	value = cut_value(at);
	if (!value)
		return err_set(e, -EINVAL, "%s: close the quoted value of %s with \"", what, key);
	return set_key(t, what, key, key, value, object, e);
}

int option_parse(const struct option_table *t, const char *what, const char *text, json_t **object,
		 struct err *e)
{
	CLEANUP(free) char *copy = strdup(text);
	json_auto_t *made = json_object();
	const char *first = t->first;
	char *at = copy;
	int rc;

	if (!copy || !made)
		return err_set(e, -ENOMEM, "%s: out of memory", what);
	while (at && *text) {
		rc = parse_pair(t, what, &at, first, made, e);
		if (rc)
			return rc;
		first = NULL;
	}
	*object = TAKE(made);
	return 0;
}

int option_value(const struct option_table *t, const char *what, const char *key, const char *text,
		 json_t **value, struct err *e)
{
	const struct option *o = option_find(t, key, strlen(key));
	struct option named;

	if (!o)
		return option_unknown_key(t, what, key, e);
	named = *o;
	named.key = what; /* sentences speak of "--on-panic", not of on_panic */
	return option_from_text(&named, "", text, value, e);
}

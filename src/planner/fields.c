/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "planner/fields.h"

/* Up to here a double has every whole number. */
static const double WHOLE_MAX = 9007199254740992.0;

static void set_number(const struct field *f, char *at, double v)
{
	switch (f->kind) {
	case FIELD_REAL:
		*(double *)at = v;
		break;
	case FIELD_COUNT:
		*(uint64_t *)at = (uint64_t)v;
		break;
	case FIELD_BOOL:
		*(bool *)at = v != 0;
		break;
	case FIELD_WORD:
		*(unsigned *)at = (unsigned)v;
		break;
	default: /* empty already */
		break;
	}
}

void fields_default(const struct field_table *t, void *base)
{
	for (size_t i = 0; i < t->n; i++)
		set_number(&t->field[i], (char *)base + t->field[i].offset, t->field[i].fallback);
}

static const struct field *find(const struct field_table *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->field[i].key, key))
			return &t->field[i];
	return NULL;
}

static int check_range(const struct field *f, double v, struct err *e)
{
	if (isfinite(v) && v >= f->min && v <= f->max)
		return 0;
	return err_set(e, -EINVAL, "%s is %g, which is not within %g to %g", f->key, v, f->min,
		       f->max);
}

static int read_number(const struct field *f, const json_t *v, double *number, struct err *e)
{
	if (f->kind == FIELD_COUNT ? !json_is_integer(v) : !json_is_number(v))
		return err_set(e, -EINVAL, "%s must be a %s", f->key,
			       f->kind == FIELD_COUNT ? "whole number" : "number");
	if (json_is_integer(v) && fabs((double)json_integer_value(v)) > WHOLE_MAX)
		return err_set(e, -EINVAL, "%s is too large", f->key);
	*number = json_number_value(v);
	return check_range(f, *number, e);
}

static int read_word(const struct field *f, const char *text, unsigned *at, struct err *e)
{
	for (unsigned i = 0; text && f->words[i]; i++) {
		if (!strcmp(f->words[i], text)) {
			*at = i;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "%s must be one of its words, such as \"%s\"", f->key,
		       f->words[0]);
}

static int read_name(const struct field *f, struct names *names, const json_t *v, uint32_t *at,
		     struct err *e)
{
	const char *text = json_string_value(v);

	if (!text || !name_is_valid(text))
		return err_set(e, -EINVAL, "%s must be a name of letters, digits, . _ and -",
			       f->key);
	*at = names_add(names, text);
	return *at ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int read_groups(const struct field *f, struct names *names, const json_t *v,
		       struct groups *g, struct err *e)
{
	int r = 0;

	if (!json_is_array(v) || json_array_size(v) > GROUPS_MAX)
		return err_set(e, -EINVAL, "%s must be an array of at most %d names", f->key,
			       GROUPS_MAX);
	for (g->n = 0; !r && g->n < json_array_size(v); g->n++)
		r = read_name(f, names, json_array_get(v, g->n), &g->name[g->n], e);
	return r;
}

static int read_numbers(const struct field *f, const json_t *v, size_t least, size_t most,
			double *at, struct err *e)
{
	int r = 0;

	if (!json_is_array(v) || json_array_size(v) < least || json_array_size(v) > most)
		return err_set(e, -EINVAL, "%s must be an array of %zu to %zu numbers", f->key,
			       least, most);
	for (size_t i = 0; !r && i < json_array_size(v); i++)
		r = read_number(f, json_array_get(v, i), &at[i], e);
	return r;
}

static int read_past(const struct field *f, struct names *names, const json_t *v, struct past *past,
		     struct err *e)
{
	size_t n = json_array_size(v);
	int r = 0;

	if (!json_is_array(v) || n > PAST_MOVES_MAX)
		return err_set(e, -EINVAL, "%s must be an array of at most %d moves", f->key,
			       PAST_MOVES_MAX);
	past->move = calloc(n + 1, sizeof(*past->move));
	if (!past->move)
		return err_set(e, -ENOMEM, "out of memory");
	for (past->n = 0; !r && past->n < n; past->n++) {
		struct past_move *m = &past->move[past->n];

		r = fields_read(&past_fields, names, json_array_get(v, past->n), m, e);
		if (!r && past->n && m->at > m[-1].at)
			r = err_set(e, -EINVAL, "%s must have the newest move first", f->key);
	}
	return r;
}

static int read_field(const struct field *f, struct names *names, const json_t *v, void *at,
		      struct err *e)
{
	double number;
	int r;

	switch (f->kind) {
	case FIELD_BOOL:
		if (!json_is_boolean(v))
			return err_set(e, -EINVAL, "%s must be true or false", f->key);
		*(bool *)at = json_is_true(v);
		return 0;
	case FIELD_WORD:
		return read_word(f, json_string_value(v), at, e);
	case FIELD_NAME:
		return read_name(f, names, v, at, e);
	case FIELD_GROUPS:
		return read_groups(f, names, v, at, e);
	case FIELD_WINDOWS:
		r = read_numbers(f, v, 1, WINDOWS_MAX, ((struct windows *)at)->value, e);
		if (!r)
			((struct windows *)at)->n = (uint32_t)json_array_size(v);
		return r;
	case FIELD_CURVE:
		return read_numbers(f, v, CURVE_POINTS, CURVE_POINTS, at, e);
	case FIELD_PAST:
		return read_past(f, names, v, at, e);
	default:
		r = read_number(f, v, &number, e);
		if (!r)
			set_number(f, at, number);
		return r;
	}
}

int fields_read(const struct field_table *t, struct names *names, const json_t *object, void *base,
		struct err *e)
{
	const char *key;
	json_t *v;

	if (!json_is_object(object))
		return err_set(e, -EINVAL, "it is no object");
	json_object_foreach((json_t *)object, key, v)
	{
		if (!find(t, key))
			return err_set(e, -EINVAL, "\"%.64s\" is not known here", key);
	}
	fields_default(t, base);
	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->field[i];
		int r = 0;

		v = json_object_get(object, f->key);
		if (v)
			r = read_field(f, names, v, (char *)base + f->offset, e);
		else if (f->required)
			r = err_set(e, -EINVAL, "%s is missing", f->key);
		if (r)
			return r;
	}
	return 0;
}

int fields_set(const struct field_table *t, const char *key, const char *text, void *base,
	       struct err *e)
{
	const struct field *f = find(t, key);
	char *end;
	double v;
	int r;

	if (!f)
		return err_set(e, -EINVAL, "there is no \"%.64s\" to change", key);
	if (f->kind == FIELD_WORD)
		return read_word(f, text, (unsigned *)((char *)base + f->offset), e);
	v = strtod(text, &end);
	if (f->kind > FIELD_COUNT || !*text || *end)
		return err_set(e, -EINVAL, "%s cannot be \"%.64s\"", key, text);
	r = check_range(f, v, e);
	if (!r)
		set_number(f, (char *)base + f->offset, v);
	return r;
}

void fields_number(double v, FILE *out)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	fputs(text, out);
}

static bool is_fallback(const struct field *f, const char *at)
{
	switch (f->kind) {
	case FIELD_REAL:
		return *(const double *)at == f->fallback;
	case FIELD_COUNT:
		return *(const uint64_t *)at == (uint64_t)f->fallback;
	case FIELD_BOOL:
		return *(const bool *)at == (f->fallback != 0);
	case FIELD_WORD:
		return *(const unsigned *)at == (unsigned)f->fallback;
	case FIELD_NAME:
		return *(const uint32_t *)at == NAME_NONE;
	case FIELD_GROUPS:
		return !((const struct groups *)at)->n;
	case FIELD_WINDOWS:
		return !((const struct windows *)at)->n;
	case FIELD_PAST:
		return !((const struct past *)at)->n;
	default:
		return false;
	}
}

static void write_numbers(const double *v, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++) {
		fputc(i ? ',' : '[', out);
		fields_number(v[i], out);
	}
	fputc(']', out);
}

static void write_groups(const struct groups *g, const struct names *names, FILE *out)
{
	for (uint32_t i = 0; i < g->n; i++)
		fprintf(out, "%c\"%s\"", i ? ',' : '[', names_text(names, g->name[i]));
	fputc(']', out);
}

static void write_past(const struct past *past, const struct names *names, FILE *out)
{
	for (uint32_t i = 0; i < past->n; i++) {
		fputc(i ? ',' : '[', out);
		fields_write(&past_fields, names, &past->move[i], false, out);
	}
	fputc(']', out);
}

static void write_field(const struct field *f, const struct names *names, const void *at, FILE *out)
{
	switch (f->kind) {
	case FIELD_REAL:
		fields_number(*(const double *)at, out);
		break;
	case FIELD_COUNT:
		fprintf(out, "%" PRIu64, *(const uint64_t *)at);
		break;
	case FIELD_BOOL:
		fputs(*(const bool *)at ? "true" : "false", out);
		break;
	case FIELD_WORD:
		fprintf(out, "\"%s\"", f->words[*(const unsigned *)at]);
		break;
	case FIELD_NAME:
		fprintf(out, "\"%s\"", names_text(names, *(const uint32_t *)at));
		break;
	case FIELD_GROUPS:
		write_groups(at, names, out);
		break;
	case FIELD_WINDOWS:
		write_numbers(((const struct windows *)at)->value, ((const struct windows *)at)->n,
			      out);
		break;
	case FIELD_CURVE:
		write_numbers(at, CURVE_POINTS, out);
		break;
	case FIELD_PAST:
		write_past(at, names, out);
		break;
	}
}

void fields_write_members(const struct field_table *t, const struct names *names, const void *base,
			  bool all, FILE *out)
{
	const char *before = "";

	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->field[i];
		const char *at = (const char *)base + f->offset;

		if (!all && !f->required && is_fallback(f, at))
			continue;
		fprintf(out, "%s\"%s\":", before, f->key);
		write_field(f, names, at, out);
		before = ",";
	}
}

void fields_write(const struct field_table *t, const struct names *names, const void *base,
		  bool all, FILE *out)
{
	fputc('{', out);
	fields_write_members(t, names, base, all, out);
	fputc('}', out);
}

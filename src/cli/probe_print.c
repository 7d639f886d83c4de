/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "probe.h"
#include "command/units.h"

enum { COLUMNS = 100, INDENT = 2 };

/* Length of a key as it is shown: with its unit beside the number it needs none itself. */
static size_t key_len(const char *key, const json_t *value)
{
	size_t len = strlen(key);

	return json_is_integer(value) && len > 6 && !strcmp(key + len - 6, "_bytes") ? len - 6
										     : len;
}

static void write_value(FILE *f, const char *key, const json_t *value);

static void write_members(FILE *f, const json_t *object)
{
	const char *key, *separator = "";
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		fprintf(f, "%s%.*s ", separator, (int)key_len(key, value), key);
		write_value(f, key, value);
		separator = ", ";
	}
}

static void write_elements(FILE *f, const json_t *array)
{
	json_t *value;
	size_t i;

	json_array_foreach(array, i, value)
	{
		bool enclosed = json_is_object(value);

		fprintf(f, "%s%s", i ? " " : "", enclosed ? "(" : "");
		write_value(f, "", value);
		fputs(enclosed ? ")" : "", f);
	}
	if (!json_array_size(array))
		fputs("none", f);
}

/* On one line, whatever it is. */
static void write_value(FILE *f, const char *key, const json_t *value)
{
	char number[UNITS_TEXT];

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		write_members(f, value);
		break;
	case JSON_ARRAY:
		write_elements(f, value);
		break;
	case JSON_STRING:
		fputs(json_string_value(value), f);
		break;
	case JSON_INTEGER:
		if (key_len(key, value) < strlen(key))
			units_bytes(number, (double)json_integer_value(value));
		else
			snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
				 json_integer_value(value));
		fputs(number, f);
		break;
	case JSON_REAL:
		fprintf(f, "%g", json_real_value(value));
		break;
	default:
		fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-", f);
	}
}

/* Words from this column on, on as many lines as they need. */
static void print_wrapped(FILE *f, const char *text, size_t column)
{
	size_t at = column;

	while (*(text += strspn(text, " "))) {
		size_t len = strcspn(text, " ");

		if (at > column && at + 1 + len > COLUMNS) {
			fprintf(f, "\n%*s", (int)column, "");
			at = column;
		}
		at += (size_t)fprintf(f, "%s%.*s", at > column ? " " : "", (int)len, text);
		text += len;
	}
	fputc('\n', f);
}

static void print_line(FILE *f, size_t indent, const char *key, const json_t *value, size_t column)
{
	CLEANUP(free) char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return;
	write_value(memory, key, value);
	fclose(memory);
	fprintf(f, "%*s%-*.*s", (int)indent, "", (int)(column - indent), (int)key_len(key, value),
		key);
	print_wrapped(f, text, column);
}

/* Where values begin: behind the longest key. */
static size_t find_column(const json_t *object, size_t indent)
{
	size_t column = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		column = MAX(column, indent + key_len(key, value) + INDENT);
		if (json_is_object(value))
			column = MAX(column, find_column(value, indent + INDENT));
	}
	return column;
}

/* An object is a heading with its members below, each element that is one has its own line. */
static void print_object(FILE *f, const json_t *object, size_t indent, size_t column)
{
	const char *key;
	json_t *value, *element;
	size_t i;

	json_object_foreach((json_t *)object, key, value)
	{
		if (json_is_object(value)) {
			fprintf(f, "%*s%s\n", (int)indent, "", key);
			print_object(f, value, indent + INDENT, column);
		} else if (json_is_object(json_array_get(value, 0))) {
			json_array_foreach(value, i, element)
				print_line(f, indent, i ? "" : key, element, column);
		} else {
			print_line(f, indent, key, value, column);
		}
	}
}

void probe_print(FILE *f, const json_t *facts)
{
	const json_t *verdict = json_object_get(facts, "verdict");
	json_auto_t *shown = json_copy((json_t *)facts);

	json_object_del(shown, "verdict");
	print_object(f, shown, 0, find_column(shown, 0));
	fprintf(f, "\n%s\n", json_string_value(json_object_get(verdict, "sentence")));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Options explained to people: tables of --help and the nearest known word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "option_internal.h"

enum { WORD_MAX = 48, HELP_COLUMN = 34 };

/* Insertions, deletions and replacements that make b of a (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);
	unsigned row[WORD_MAX + 1], diagonal, above;

	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		diagonal = i - 1;
		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			above = row[j];
			row[j] = MIN(row[j - 1], above) + 1;
			row[j] = MIN(row[j], diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[m];
}

const char *option_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word);
	unsigned best = (unsigned)MIN(len, WORD_MAX) / 3 + 1; /* more is a guess, not a slip */
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned d = distance(word, candidates[i]);

		if (len > 2 && !strncmp(word, candidates[i], len))
			d = 1; /* cut short */
		if (d < best || (d == best && !nearest)) {
			best = d;
			nearest = candidates[i];
		}
	}
	return best < len ? nearest : NULL;
}

const char *option_nearest_key(const struct option_table *t, const char *key)
{
	CLEANUP(free) const char **keys = calloc(t->n, sizeof(*keys));
	size_t n = 0;

	if (!keys)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		if (t->option[i].kind != OPTION_REFUSED)
			keys[n++] = t->option[i].key;
	return option_nearest(key, keys, n);
}

static size_t print_form(const struct option *o, char *buf, size_t len)
{
	size_t used = 0;

	switch (o->kind) {
	case OPTION_BOOL:
		return (size_t)snprintf(buf, len, "on|off");
	case OPTION_STRING:
		return (size_t)snprintf(buf, len, "TEXT");
	case OPTION_SIZE:
		return (size_t)snprintf(buf, len, "SIZE");
	case OPTION_ENUM:
		for (unsigned i = 0; o->names[i] && used < len; i++)
			used += (size_t)snprintf(buf + used, len - used, "%s%s", i ? "|" : "",
						 o->names[i]);
		return used;
	default:
		return (size_t)snprintf(buf, len, "N");
	}
}

/* meant: o, or what it is a short word for. */
static void help_line(const struct option *o, const struct option *meant, const char *outer,
		      bool first, int indent)
{
	char left[128], form[96];
	int width;

	print_form(meant, form, sizeof(form));
	snprintf(left, sizeof(left), "%s%s%s=%s%s", first ? "[" : "", outer, o->key,
		 first ? "]" : "", form);
	width = printf("%*s%-*s", indent, "", HELP_COLUMN - indent, left);
	if (width > HELP_COLUMN)
		printf("\n%*s", HELP_COLUMN, "");
	printf(" %s", o->help);
	if (o->required)
		printf(" (required)");
	else if (o->fallback)
		printf(" (%s)", o->fallback);
	printf("\n");
}

static void help_table(const struct option_table *t, const char *outer, int indent)
{
	char inner[64];

	for (size_t i = 0; i < t->n; i++) {
		const struct option *o = &t->option[i];

		if (o->kind == OPTION_OBJECT) {
			snprintf(inner, sizeof(inner), "%s%s.", outer, o->key);
			help_table(o->nested, inner, indent);
		} else if (o->help && o->kind != OPTION_REFUSED) {
			help_line(o, option_meant(t, o), outer,
				  t->first && !strcmp(t->first, o->key), indent);
		}
	}
}

void option_help(const struct option_table *t, int indent)
{
	help_table(t, "", indent);
}

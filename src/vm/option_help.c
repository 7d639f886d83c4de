/* SPDX-License-Identifier: Apache-2.0 */
/* Options explained to people: the keys of a table and the nearest known word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "option_internal.h"

enum { WORD_MAX = 48 };

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

static void print_form(const struct option *o, char *buf, size_t len)
{
	size_t used = 0;

	switch (o->kind) {
	case OPTION_BOOL:
		snprintf(buf, len, "on|off");
		break;
	case OPTION_STRING:
		snprintf(buf, len, "TEXT");
		break;
	case OPTION_SIZE:
		snprintf(buf, len, "SIZE");
		break;
	case OPTION_ENUM:
		for (unsigned i = 0; o->names[i] && used < len; i++)
			used += (size_t)snprintf(buf + used, len - used, "%s%s", i ? "|" : "",
						 o->names[i]);
		break;
	case OPTION_NUMBERS:
		snprintf(buf, len, "[N-N,...]");
		break;
	case OPTION_LIST:
		snprintf(buf, len, "[N@%s,...]",
			 o->nested->option[1].kind == OPTION_NUMBERS ? "[N-N,...]" : "N");
		break;
	default:
		snprintf(buf, len, "N");
	}
}

struct walk {
	void (*each)(void *arg, const struct option_key *);
	void *arg;
};

static void walk_table(const struct walk *w, const struct option_table *t, const char *outer)
{
	char inner[64], form[96];

	for (size_t i = 0; i < t->n; i++) {
		const struct option *o = &t->option[i];
		const struct option_key k = { .key = inner,
					      .form = form,
					      .help = o->help,
					      .fallback = o->fallback,
					      .required = o->required,
					      .first = t->first && !strcmp(t->first, o->key) };
		bool nested = o->kind == OPTION_OBJECT;

		snprintf(inner, sizeof(inner), "%s%s%s", outer, o->key, nested ? "." : "");
		if (nested) {
			walk_table(w, o->nested, inner);
		} else if (o->help && o->kind != OPTION_REFUSED) {
			print_form(option_meant(t, o), form, sizeof(form));
			w->each(w->arg, &k);
		}
	}
}

void option_each(const struct option_table *t, void (*each)(void *arg, const struct option_key *),
		 void *arg)
{
	walk_table(&(struct walk){ each, arg }, t, "");
}

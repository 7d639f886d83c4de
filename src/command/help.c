/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "bits.h"
#include "command/help.h"

enum { COLUMNS = 79, OPTION_COLUMN_MAX = 34, KEY_INDENT = 6, KEY_COLUMN = 34 };

/* Words up to the end of each line; a line feed in text begins another paragraph. */
static void print_text(FILE *f, int indent, const char *text)
{
	int column = 0;

	while (*text) {
		int len = (int)strcspn(text, " \n");

		if (column && column + 1 + len > COLUMNS) {
			fputc('\n', f);
			column = 0;
		}
		column += fprintf(f, "%*s%.*s", column ? 1 : indent, "", len, text);
		text += len;
		if (*text == '\n') {
			fprintf(f, "\n\n");
			column = 0;
		}
		text += *text != '\0';
	}
	fputc('\n', f);
}

static void print_key(void *arg, const struct option_key *k)
{
	char left[160];
	int width;

	(void)arg;
	snprintf(left, sizeof(left), "%s%s=%s%s", k->first ? "[" : "", k->key, k->first ? "]" : "",
		 k->form);
	width = printf("%*s%-*s", KEY_INDENT, "", KEY_COLUMN - KEY_INDENT, left);
	if (width > KEY_COLUMN)
		printf("\n%*s", KEY_COLUMN, "");
	printf(" %s", k->help);
	if (k->required)
		printf(" (required)");
	else if (k->fallback)
		printf(" (%s)", k->fallback);
	printf("\n");
}

/* Arg is the column of help: as wide as what stands before it. */
static void measure_option(void *arg, const struct verb_option *o, const struct option_table *keys)
{
	int *column = arg, width = (int)(strlen(o->name) + (o->form ? strlen(o->form) + 1 : 0));

	if (!keys && width + 4 > *column)
		*column = MIN(width + 4, OPTION_COLUMN_MAX);
}

static void print_option(void *arg, const struct verb_option *o, const struct option_table *keys)
{
	const int *column = arg;
	int width = printf("%s  %s%s%s", keys ? "\n" : "", o->name, o->form ? " " : "",
			   o->form ? o->form : "");

	printf("%*s%s\n", keys ? 2 : MAX(*column - width, 1), "", o->help);
	if (keys)
		option_each(keys, print_key, NULL);
}

static void print_status(const struct verb *v)
{
	printf("\nExit status:\n");
	for (int i = 0; i < VERB_STATUSES; i++)
		printf("  %d  %s\n", i, verb_status(v, i));
}

static void print_examples(const struct verb *v)
{
	if (v->examples[0].command)
		printf("\nExamples:\n");
	for (size_t i = 0; i < VERB_EXAMPLES_MAX && v->examples[i].command; i++)
		printf("  %s\n      %s\n", v->examples[i].command, v->examples[i].does);
}

void help_verb(const struct program *program, const struct verb *v)
{
	char summary[160];
	int column = 0;

	printf("Usage: %s %s [OPTION]...%s%s\n\n", program->name, v->name, *v->rest ? " " : "",
	       v->rest);
	snprintf(summary, sizeof(summary), "%c%s.", toupper((unsigned char)*v->help), v->help + 1);
	print_text(stdout, 0, summary);
	if (v->about) {
		printf("\n");
		print_text(stdout, 0, v->about);
	}
	printf("\n");
	verb_each_option(v, measure_option, &column);
	verb_each_option(v, print_option, &column);
	if (v->keys)
		printf("\nKeys, of which the one in [ ] may be left out where its value comes "
		       "first:\n");
	else if (v->each_key)
		printf("\nKeys:\n");
	verb_each_key(v, print_key, NULL);
	print_status(v);
	print_examples(v);
}

void help_program(const struct program *p, FILE *f)
{
	fprintf(f, "Usage: %s COMMAND [OPTION]...\n", p->name);
	for (size_t g = 0; g < p->nheadings; g++) {
		fprintf(f, "\n%s:\n", p->headings[g].title);
		for (size_t i = 0; i < p->nverbs; i++)
			if (p->verbs[i].group == p->headings[g].group)
				fprintf(f, "  %-12s %s\n", p->verbs[i].name, p->verbs[i].help);
	}
	fprintf(f, "\n\"%s COMMAND --help\" explains a command.\n", p->name);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "man.h"

#define DATE "2026-11-21" /* of what the pages say */

/* Text as it is: nothing in it is an instruction, and a dash can be copied to a shell. */
static void put_text(FILE *f, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", f);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", f);
		else if (*text == '-')
			fputs("\\-", f);
		else if (*text == '\n')
			fputs("\n.PP\n", f);
		else
			fputc(*text, f);
	}
}

/* Words without a small letter stand for something: in italics, the others in bold. */
static void put_form(FILE *f, const char *form)
{
	static const char between[] = "|=:,[] .";
	char word[64];

	while (*form) {
		size_t len = strcspn(form, between), lower = 0;

		while (lower < len && !islower((unsigned char)form[lower]))
			lower++;
		snprintf(word, sizeof(word), "%.*s", (int)len, form);
		if (len)
			fputs(lower < len ? "\\fB" : "\\fI", f);
		put_text(f, word);
		fputs(len ? "\\fR" : "", f);
		form += len;
		for (; *form && strchr(between, *form); form++)
			fputc(*form, f);
	}
}

static void put_key(void *arg, const struct option_key *k)
{
	FILE *f = arg;

	fprintf(f, ".TP\n%s\\fB", k->first ? "[" : "");
	put_text(f, k->key);
	fprintf(f, "=\\fR%s", k->first ? "]" : "");
	put_form(f, k->form);
	fputc('\n', f);
	put_text(f, k->help);
	if (k->required || k->fallback) {
		fputs(" (", f);
		put_text(f, k->required ? "required" : k->fallback);
		fputc(')', f);
	}
	fputc('\n', f);
}

static void put_option(void *arg, const struct verb_option *o, const struct option_table *keys)
{
	FILE *f = arg;

	fputs(".TP\n\\fB", f);
	put_text(f, o->name);
	fputs("\\fR", f);
	if (o->form) {
		fputc(' ', f);
		put_form(f, o->form);
	}
	fputc('\n', f);
	put_text(f, o->help);
	fputc('\n', f);
	if (!keys)
		return;
	fputs(".RS\n", f);
	option_each(keys, put_key, f);
	fputs(".RE\n", f);
}

/* "godwit-run(1)"; of the program itself "godwit(1)". */
static void put_reference(FILE *f, const struct program *p, const struct verb *v)
{
	fputs("\\fB", f);
	put_text(f, p->name);
	put_text(f, *v->name ? "-" : "");
	put_text(f, v->name);
	fputs("\\fR(1)", f);
}

static void put_commands(FILE *f, const struct program *p)
{
	fputs(".SH COMMANDS\n", f);
	for (size_t g = 0; g < p->nheadings; g++) {
		fprintf(f, ".SS %s\n", p->headings[g].title);
		for (size_t i = 0; i < p->nverbs; i++) {
			if (p->verbs[i].group != p->headings[g].group)
				continue;
			fputs(".TP\n", f);
			put_reference(f, p, &p->verbs[i]);
			fputc('\n', f);
			put_text(f, p->verbs[i].help);
			fputc('\n', f);
		}
	}
}

static void put_status(FILE *f, const struct verb *v)
{
	fputs(".SH \"EXIT STATUS\"\n", f);
	for (int i = 0; i < VERB_STATUSES; i++) {
		fprintf(f, ".TP\n%d\n", i);
		put_text(f, verb_status(v, i));
		fputc('\n', f);
	}
}

static void put_examples(FILE *f, const struct verb *v)
{
	if (v->examples[0].command)
		fputs(".SH EXAMPLES\n", f);
	for (size_t i = 0; i < VERB_EXAMPLES_MAX && v->examples[i].command; i++) {
		fputs(i ? ".PP\n" : "", f);
		put_text(f, v->examples[i].does);
		fputs(":\n.PP\n.in +4n\n.EX\n", f);
		put_text(f, v->examples[i].command);
		fputs("\n.EE\n.in\n", f);
	}
}

/* The command itself, and who stands beside the verb in the list. */
static void put_see_also(FILE *f, const struct program *p, const struct verb *v)
{
	fputs(".SH \"SEE ALSO\"\n", f);
	put_reference(f, p, v == p->self ? &p->verbs[0] : p->self);
	for (size_t i = 0; i < p->nverbs; i++) {
		if (v == p->self || p->verbs[i].group != v->group || &p->verbs[i] == v)
			continue;
		fputs(",\n", f);
		put_reference(f, p, &p->verbs[i]);
	}
	fputc('\n', f);
}

static void put_head(FILE *f, const struct program *p, const struct verb *v, const char *page)
{
	fputs(".TH ", f);
	for (const char *c = page; *c; c++)
		fputc(toupper((unsigned char)*c), f);
	fprintf(f, " 1 " DATE " \"%s " GODWIT_VERSION "\" Godwit\n.SH NAME\n", p->name);
	put_text(f, page);
	fputs(" \\- ", f);
	put_text(f, v->help);
	fputs("\n.SH SYNOPSIS\n\\fB", f);
	put_text(f, p->name);
	fputs(*v->name ? " " : "", f);
	put_text(f, v->name);
	fputs("\\fR ", f);
	put_form(f, *v->rest ? "[OPTION]... " : "[OPTION]...");
	put_form(f, v->rest);
	fputs("\n.SH DESCRIPTION\n", f);
	put_text(f, v->about ? v->about : v->help);
	fputc('\n', f);
}

static void put_page(FILE *f, const struct program *p, const struct verb *v, const char *page)
{
	put_head(f, p, v, page);
	if (v == p->self)
		put_commands(f, p);
	fputs(".SH OPTIONS\n", f);
	verb_each_option(v, put_option, f);
	if (v->keys)
		fputs(".SH KEYS\nThe one in [ ] may be left out where its value comes first.\n", f);
	else if (v->each_key)
		fputs(".SH KEYS\n", f);
	verb_each_key(v, put_key, f);
	put_status(f, v);
	put_examples(f, v);
	put_see_also(f, p, v);
}

/* A new file: who made the folder is told by its time that something in it is new. */
static int write_page(const char *folder, const struct program *p, const struct verb *v,
		      struct err *e)
{
	CLEANUP(free) char *path = NULL;
	CLEANUP(file) FILE *f = NULL;
	char page[64];

	snprintf(page, sizeof(page), "%s%s%s", p->name, *v->name ? "-" : "", v->name);
	if (asprintf(&path, "%s/%s.1", folder, page) < 0) {
		path = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	unlink(path);
	f = fopen(path, "wxe");
	if (f) {
		put_page(f, p, v, page);
		if (!fflush(f) && !ferror(f))
			return 0;
	}
	return err_set(e, -errno, "%s cannot be written: %s", path, strerror(errno));
}

int man_write(const struct program *p, const char *folder, struct err *e)
{
	int r;

	if (mkdir(folder, 0777) && errno != EEXIST)
		return err_set(e, -errno, "%s cannot be made: %s", folder, strerror(errno));
	r = write_page(folder, p, p->self, e);
	for (size_t i = 0; !r && i < p->nverbs; i++)
		if (p->verbs[i].group != VERB_HIDDEN)
			r = write_page(folder, p, &p->verbs[i], e);
	return r;
}

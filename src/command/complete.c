/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "PROGRAM complete -- WORD...": how the last word may go on, for the completion of shells.  The
 * candidates are whole words, and one that ends in = goes on itself.
 */
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "command/complete.h"
#include "command/verb.h"
#include "form.h"

/* The exit status says whether the name of a file may stand there, too. */
enum { NO_FILES = CLI_OK, FILES = CLI_FAILED };

struct found {
	const char *name; /* that is looked for */
	size_t len;
	const char *form; /* NULL: not found, or it takes no value */
	const struct option_table *keys; /* of its value; NULL: none */
};

static void offer(const struct completion *p, const char *text, size_t len)
{
	const char *typed = p->word + p->kept;

	if (len && !strncmp(text, typed, MIN(len, strlen(typed))) && strlen(typed) <= len)
		printf("%.*s%.*s\n", (int)p->kept, p->word, (int)len, text);
}

void complete_offer(const struct completion *c, const char *text)
{
	offer(c, text, strlen(text));
}

static bool is_file(const char *form)
{
	static const char *const forms[] = { "FILE", "PATH", "DIR", "TEXT" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (strstr(form, forms[i]))
			return true;
	return false;
}

/* What the program knows to put for words in capitals. */
static void offer_known(const struct completion *p, const char *form)
{
	const struct program_word *known = p->program->words;
	const char *word = form;

	for (; word; word = strchr(word, '|'), word += word != NULL)
		for (size_t i = 0; i < p->program->nwords; i++)
			if (!strncmp(word, known[i].word, strlen(known[i].word)))
				known[i].offer(p);
}

static int complete_form(const struct completion *p, const char *form)
{
	const char *literal;
	size_t len;

	offer_known(p, form);
	for (unsigned i = 0; (literal = form_literal(form, i, &len)); i++)
		offer(p, literal, len);
	return is_file(form) ? FILES : NO_FILES;
}

struct keys {
	struct completion p; /* of the last key=value */
	const char *equals; /* NULL: the key is not whole yet */
	int status;
};

static void complete_key(void *arg, const struct option_key *k)
{
	struct keys *keys = arg;
	const char *typed = keys->p.word + keys->p.kept;
	size_t len = strlen(k->key);
	char text[96];

	if (!keys->equals) {
		snprintf(text, sizeof(text), "%s=", k->key);
		offer(&keys->p, text, strlen(text));
	} else if ((size_t)(keys->equals - typed) == len && !memcmp(typed, k->key, len)) {
		keys->p.kept += len + 1;
		keys->status = complete_form(&keys->p, k->form);
		keys->p.kept -= len + 1;
	}
}

static void note_first(void *arg, const struct option_key *k)
{
	*(bool *)arg |= k->first;
}

/* The keys of a table; without one, those of the verb. */
static void each_key(const struct option_table *t, const struct verb *v,
		     void (*each)(void *arg, const struct option_key *), void *arg)
{
	if (t)
		option_each(t, each, arg);
	else
		verb_each_key(v, each, arg);
}

static int complete_keys(const struct completion *p, const struct option_table *t,
			 const struct verb *v)
{
	const char *typed = p->word + p->kept, *comma = strrchr(typed, ',');
	struct keys keys = { .p = *p };
	bool first = false;

	if (comma)
		keys.p.kept = (size_t)(comma + 1 - p->word);
	keys.equals = strchr(p->word + keys.p.kept, '=');
	/* The first value may come without its key. */
	each_key(t, v, note_first, &first);
	keys.status = first && !comma && !keys.equals ? FILES : NO_FILES;
	each_key(t, v, complete_key, &keys);
	return keys.status;
}

static void find_option(void *arg, const struct verb_option *o, const struct option_table *keys)
{
	struct found *found = arg;

	if (strlen(o->name) != found->len || memcmp(o->name, found->name, found->len))
		return;
	found->form = o->form;
	found->keys = keys;
}

static struct found find(const struct verb *v, const char *name, size_t len)
{
	struct found found = { .name = name, .len = len };

	verb_each_option(v, find_option, &found);
	return found;
}

static int complete_value(const struct completion *p, const struct found *option)
{
	return option->keys ? complete_keys(p, option->keys, NULL) : complete_form(p, option->form);
}

static void offer_option(void *arg, const struct verb_option *o, const struct option_table *keys)
{
	(void)keys;
	complete_offer(arg, o->name);
}

static void offer_commands(const struct completion *p)
{
	for (size_t i = 0; i < p->program->nverbs; i++)
		if (p->program->verbs[i].group != VERB_HIDDEN)
			complete_offer(p, p->program->verbs[i].name);
}

static int complete_operand(const struct verb *v, const struct completion *p, int i)
{
	size_t len;
	const char *word = verb_operand(v, i, &len);
	char form[64];

	if (!word)
		return NO_FILES;
	word += *word == '[';
	if ((v->keys || v->each_key) && !strncmp(word, "KEY=", 4)) {
		complete_form(p, word); /* what may stand there instead */
		return complete_keys(p, NULL, v);
	}
	if (!strncmp(word, "COMMAND", strlen("COMMAND")))
		offer_commands(p);
	snprintf(form, sizeof(form), "%.*s", (int)strcspn(word, " ].,"), word);
	if (strchr(form, '|') || is_file(form))
		return complete_form(p, form);
	offer_known(p, form);
	return NO_FILES;
}

static int complete_argument(const struct program *program, const struct verb *v, char **words,
			     int last)
{
	struct completion p = { .program = program, .word = words[last] };
	size_t len = strcspn(p.word, "=");
	struct found option;
	int operands = 0;

	for (int i = 0; i < last; i++) {
		if (strncmp(words[i], "--", 2)) {
			p.operand = operands++ ? p.operand : words[i];
			continue;
		}
		option = find(v, words[i], strlen(words[i]));
		if (option.form && ++i == last)
			return complete_value(&p, &option);
	}
	if (*p.word != '-')
		return complete_operand(v, &p, operands);
	option = find(v, p.word, len);
	if (p.word[len] && option.form) {
		p.kept = len + 1;
		return complete_value(&p, &option);
	}
	verb_each_option(v, offer_option, &p);
	return NO_FILES;
}

int complete_run(const struct verb *self, const struct verb_args *args)
{
	const struct completion first = { .program = args->program, .word = args->rest[0] };
	const struct verb *v;

	(void)self;
	if (args->nrest == 1) {
		offer_commands(&first);
		verb_each_option(args->program->self, offer_option, (void *)&first);
		return NO_FILES;
	}
	v = verb_named(args->program, args->rest[0]);
	return v ? complete_argument(args->program, v, args->rest + 1, args->nrest - 2) : NO_FILES;
}

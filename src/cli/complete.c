/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "godwit complete -- WORD...": how the last word may go on, for the completion of shells.  The
 * candidates are whole words, and one that ends in = goes on itself.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "form.h"
#include "rundir.h"

/* The exit status says whether the name of a file may stand there, too. */
enum { ANSWER_LIMIT_MS = 1000, NO_FILES = CLI_OK, FILES = CLI_FAILED };

struct partial {
	const char *word;
	size_t kept; /* of the word: what stays before each candidate, such as "--disk=" */
	const char *vm; /* the first operand before the word; NULL: there is none */
};

struct found {
	const char *name; /* that is looked for */
	size_t len;
	const char *form; /* NULL: not found, or it takes no value */
	const struct config_section *section;
};

static void offer(const struct partial *p, const char *text, size_t len)
{
	const char *typed = p->word + p->kept;

	if (len && !strncmp(text, typed, MIN(len, strlen(typed))) && strlen(typed) <= len)
		printf("%.*s%.*s\n", (int)p->kept, p->word, (int)len, text);
}

static bool is_file(const char *form)
{
	static const char *const forms[] = { "FILE", "PATH", "DIR", "TEXT" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (strstr(form, forms[i]))
			return true;
	return false;
}

static int complete_form(const struct partial *p, const char *form)
{
	const char *literal;
	size_t len;

	for (unsigned i = 0; (literal = form_literal(form, i, &len)); i++)
		offer(p, literal, len);
	return is_file(form) ? FILES : NO_FILES;
}

struct keys {
	struct partial p; /* of the last key=value */
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

static int complete_keys(const struct partial *p, const struct option_table *t)
{
	const char *typed = p->word + p->kept, *comma = strrchr(typed, ',');
	struct keys keys = { .p = *p };

	if (comma)
		keys.p.kept = (size_t)(comma + 1 - p->word);
	keys.equals = strchr(p->word + keys.p.kept, '=');
	/* The first value may come without its key. */
	keys.status = t->first && !comma && !keys.equals ? FILES : NO_FILES;
	option_each(t, complete_key, &keys);
	return keys.status;
}

static void find_option(void *arg, const struct verb_option *o, const struct config_section *s)
{
	struct found *found = arg;

	if (strlen(o->name) != found->len || memcmp(o->name, found->name, found->len))
		return;
	found->form = o->form;
	found->section = s;
}

static struct found find(const struct verb *v, const char *name, size_t len)
{
	struct found found = { .name = name, .len = len };

	verb_each_option(v, find_option, &found);
	return found;
}

static int complete_value(const struct partial *p, const struct found *option)
{
	return option->section ? complete_keys(p, config_section_table(option->section))
			       : complete_form(p, option->form);
}

static void offer_option(void *arg, const struct verb_option *o, const struct config_section *s)
{
	(void)s;
	offer(arg, o->name, strlen(o->name));
}

static void offer_vm(void *arg, const char *name, int dir, pid_t pid)
{
	(void)dir;
	(void)pid;
	offer(arg, name, strlen(name));
}

static void offer_vms(const struct partial *p)
{
	rundir_each(geteuid(), offer_vm, (void *)p);
}

/* Those that can be taken away. */
static void offer_devices(const struct partial *p)
{
	json_t *info = NULL, *config, *device;
	struct client c;
	struct err e;
	size_t at;

	if (!client_open(&c, p->vm, &e)) {
		client_set_limit(&c, ANSWER_LIMIT_MS);
		client_get(&c, "vm.info", &info, &e);
	}
	client_close(&c);
	config = json_object_get(info, "config");
	for (size_t i = 0; i < nconfig_sections; i++) {
		if (!config_sections[i].hotplug)
			continue;
		json_array_foreach(json_object_get(config, config_sections[i].key), at, device)
		{
			const char *id = json_string_value(json_object_get(device, "id"));

			if (id)
				offer(p, id, strlen(id));
		}
	}
	json_decref(info);
}

static void offer_commands(const struct partial *p)
{
	for (size_t i = 0; i < nverbs; i++)
		if (verbs[i].group != VERB_HIDDEN)
			offer(p, verbs[i].name, strlen(verbs[i].name));
}

static int complete_operand(const struct verb *v, const struct partial *p, int i)
{
	static const struct {
		const char *word;
		void (*offer)(const struct partial *);
	} kinds[] = { { "NAME", offer_vms },
		      { "ID", offer_devices },
		      { "COMMAND", offer_commands } };
	size_t len;
	const char *word = verb_operand(v, i, &len);

	if (!word)
		return NO_FILES;
	word += *word == '[';
	if (v->keys && !strncmp(word, "KEY=", 4)) {
		complete_form(p, word); /* what may stand there instead */
		return complete_keys(p, v->keys());
	}
	for (i = 0; i < (int)ARRAY_SIZE(kinds); i++)
		if (!strncmp(word, kinds[i].word, strlen(kinds[i].word)))
			kinds[i].offer(p);
	return NO_FILES;
}

static int complete_argument(const struct verb *v, char **words, int last)
{
	struct partial p = { .word = words[last] };
	size_t len = strcspn(p.word, "=");
	struct found option;
	int operands = 0;

	for (int i = 0; i < last; i++) {
		if (strncmp(words[i], "--", 2)) {
			p.vm = operands++ ? p.vm : words[i];
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
	const struct verb *v;

	(void)self;
	if (args->nrest == 1) {
		offer_commands(&(struct partial){ .word = args->rest[0] });
		verb_each_option(&verb_program, offer_option,
				 &(struct partial){ .word = args->rest[0] });
		return NO_FILES;
	}
	v = verb_named(args->rest[0]);
	return v ? complete_argument(v, args->rest + 1, args->nrest - 2) : NO_FILES;
}

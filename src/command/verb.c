/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "command/help.h"
#include "command/verb.h"
#include "form.h"
#include "log.h"

static const struct verb_option help = { "--help", NULL, "print this" };

void verb_each_option(const struct verb *v,
		      void (*each)(void *arg, const struct verb_option *,
				   const struct option_table *),
		      void *arg)
{
	if (v->each_option) {
		v->each_option(each, arg);
		return;
	}
	for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++)
		each(arg, &v->options[i], NULL);
	each(arg, &help, NULL);
}

bool verb_each_key(const struct verb *v, void (*each)(void *arg, const struct option_key *),
		   void *arg)
{
	if (v->each_key)
		v->each_key(each, arg);
	else if (v->keys)
		option_each(v->keys(), each, arg);
	return v->each_key || v->keys;
}

/* "KEY=VALUE,..." is one word. */
static bool repeats(const char *word, size_t len)
{
	size_t i = 0;

	while (i + 3 <= len && memcmp(word + i, "...", 3))
		i++;
	return i + 3 <= len && (!i || word[i - 1] != ',');
}

const char *verb_operand(const struct verb *v, int i, size_t *len)
{
	const char *word = v->rest;

	*len = strcspn(word, " ");
	while (i-- && *len && !repeats(word, *len)) {
		word += *len + (word[*len] == ' ');
		*len = strcspn(word, " ");
	}
	return *len ? word : NULL;
}

const char *verb_status(const struct verb *v, int status)
{
	static const char *const usual[VERB_STATUSES] = {
		"done", "refused or failed; one line on standard error says why",
		"the command line is wrong"
	};

	return v->status[status] ? v->status[status] : usual[status];
}

static int refuse_option(const struct program *p, const struct verb *v, const char *given)
{
	const char *names[VERB_OPTIONS_MAX + 1] = { help.name }, *near;
	size_t n = 1;

	for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++)
		names[n++] = v->options[i].name;
	near = option_nearest(given, names, n);
	if (near)
		log_error("unknown option \"%.64s\"; did you mean \"%s\"?", given, near);
	else
		log_error("unknown option \"%.64s\"; see \"%s %s --help\"", given, p->name,
			  v->name);
	return CLI_USAGE;
}

static int check_value(const struct verb_option *o, const char *value)
{
	if (!value)
		log_error("%s needs a value: %s %s", o->name, o->name, o->form);
	else if (o->form && form_is_choice(o->form) && !form_has(o->form, value))
		log_error("%s must be one of %s, not \"%.64s\"", o->name, o->form, value);
	else
		return CLI_OK;
	return CLI_USAGE;
}

static int keep_value(const struct verb *v, struct verb_args *args, const struct verb_option *o,
		      const char *value)
{
	bool many = v->many && !strcmp(v->many, o->name);

	if (args->value[o - v->options] && (!many || args->nmany == VERB_MANY_MAX)) {
		log_error(many ? "%s is given too often" : "%s is given twice", o->name);
		return CLI_USAGE;
	}
	args->value[o - v->options] = value;
	if (many)
		args->many[args->nmany++] = value;
	return check_value(o, value);
}

/* The option at argv[0], its value behind = or in argv[1]; *used: arguments taken. */
static int take_option(const struct verb *v, struct verb_args *args, char **argv, int *used)
{
	size_t len = strcspn(argv[0], "="), i;
	const char *value = argv[0][len] ? argv[0] + len + 1 : NULL;

	for (i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++)
		if (strlen(v->options[i].name) == len && !memcmp(v->options[i].name, argv[0], len))
			break;
	if (i == VERB_OPTIONS_MAX || !v->options[i].name)
		return refuse_option(args->program, v, argv[0]);
	*used = 1;
	if (!v->options[i].form) {
		if (value) {
			log_error("%s takes no value", v->options[i].name);
			return CLI_USAGE;
		}
		value = "";
	} else if (!value) {
		value = argv[1];
		*used = 2;
	}
	return keep_value(v, args, &v->options[i], value);
}

/* An operand that is a choice, such as "on|off". */
static int check_word(const char *word, size_t len, const char *given)
{
	char form[64];

	snprintf(form, sizeof(form), "%.*s", (int)len, word);
	if (!strchr(form, '|') || !form_is_choice(form) || form_has(form, given))
		return CLI_OK;
	log_error("there can be %s here, not \"%.64s\"", form, given);
	return CLI_USAGE;
}

static int check_rest(const struct verb *v, const struct verb_args *args)
{
	const char *word;
	size_t len;

	for (int i = 0; i < args->nrest; i++) {
		word = verb_operand(v, i, &len);
		if (word && check_word(word, len, args->rest[i]))
			return CLI_USAGE;
		if (word)
			continue;
		log_error("there is no place for \"%.64s\"; see \"%s %s --help\"", args->rest[i],
			  args->program->name, v->name);
		return CLI_USAGE;
	}
	word = verb_operand(v, args->nrest, &len);
	if (word && *word != '[' && !(args->nrest && repeats(word, len))) {
		log_error("something is missing: %s %s %s", args->program->name, v->name, v->rest);
		return CLI_USAGE;
	}
	return CLI_OK;
}

/* Options may stand before and behind the rest, which argv is compacted to, up to a "--". */
static int verb_parse(const struct verb *v, struct verb_args *args, char **argv)
{
	bool options = true;
	int used, status = CLI_OK;

	args->rest = argv;
	while (status == CLI_OK && *argv) {
		if (options && !strcmp(*argv, "--")) {
			options = false;
			argv++;
		} else if (options && !strncmp(*argv, "--", 2)) {
			status = take_option(v, args, argv, &used);
			argv += used;
		} else {
			args->rest[args->nrest++] = *argv++;
		}
	}
	return status == CLI_OK ? check_rest(v, args) : status;
}

static bool asks_for_help(char **argv)
{
	while (*argv && strcmp(*argv, "--") && strcmp(*argv, help.name))
		argv++;
	return *argv && !strcmp(*argv, help.name);
}

int verb_main(const struct program *p, const struct verb *v, int argc, char **argv)
{
	struct verb_args args = { .program = p };
	int status;

	if (v->main)
		return v->main(v, argc, argv);
	if (asks_for_help(argv + 1)) {
		help_verb(p, v);
		return CLI_OK;
	}
	status = verb_parse(v, &args, argv + 1);
	return status == CLI_OK ? v->run(v, &args) : status;
}

const struct verb *verb_named(const struct program *p, const char *name)
{
	for (size_t i = 0; i < p->nverbs; i++)
		if (!strcmp(p->verbs[i].name, name))
			return &p->verbs[i];
	return NULL;
}

int verb_refuse_unknown(const struct program *p, const char *name)
{
	CLEANUP(free) const char **names = calloc(p->nverbs, sizeof(*names));
	const char *near = NULL;

	for (size_t i = 0; names && i < p->nverbs; i++)
		names[i] = p->verbs[i].name;
	if (names)
		near = option_nearest(name, names, p->nverbs);
	if (near)
		log_error("unknown command \"%.64s\"; did you mean \"%s\"?", name, near);
	else
		log_error("unknown command \"%.64s\"; see \"%s --help\"", name, p->name);
	return CLI_USAGE;
}

int program_main(const struct program *p, int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct verb *v;

	if (!name) {
		help_program(p, stderr);
		return CLI_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version"))
		name = "version";
	else if (!strncmp(name, "--", 2) && p->without_verb)
		return p->without_verb(argc, argv);
	v = verb_named(p, name);
	return v ? verb_main(p, v, argc - 1, argv + 1) : verb_refuse_unknown(p, name);
}

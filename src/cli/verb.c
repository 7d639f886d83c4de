/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "form.h"
#include "help.h"
#include "log.h"

static const struct verb_option help = { "--help", NULL, "print this" };

void verb_each_option(const struct verb *v,
		      void (*each)(void *arg, const struct verb_option *,
				   const struct config_section *),
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

static int refuse_unknown(const struct verb *v, const char *given)
{
	const char *names[VERB_OPTIONS_MAX + 1] = { help.name }, *near;
	size_t n = 1;

	for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++)
		names[n++] = v->options[i].name;
	near = option_nearest(given, names, n);
	if (near)
		log_error("unknown option \"%.64s\"; did you mean \"%s\"?", given, near);
	else
		log_error("unknown option \"%.64s\"; see \"godwit %s --help\"", given, v->name);
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

/* The option at argv[0], its value behind = or in argv[1]; *used: arguments taken. */
static int take_option(const struct verb *v, struct verb_args *args, char **argv, int *used)
{
	size_t len = strcspn(argv[0], "="), i;
	const char *value = argv[0][len] ? argv[0] + len + 1 : NULL;

	for (i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++)
		if (strlen(v->options[i].name) == len && !memcmp(v->options[i].name, argv[0], len))
			break;
	if (i == VERB_OPTIONS_MAX || !v->options[i].name)
		return refuse_unknown(v, argv[0]);
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
	if (args->value[i]) {
		log_error("%s is given twice", v->options[i].name);
		return CLI_USAGE;
	}
	args->value[i] = value;
	return check_value(&v->options[i], value);
}

static int check_rest(const struct verb *v, const struct verb_args *args)
{
	const char *word;
	size_t len;

	for (int i = 0; i < args->nrest; i++) {
		if (verb_operand(v, i, &len))
			continue;
		log_error("there is no place for \"%.64s\"; see \"godwit %s --help\"",
			  args->rest[i], v->name);
		return CLI_USAGE;
	}
	word = verb_operand(v, args->nrest, &len);
	if (word && *word != '[' && !(args->nrest && repeats(word, len))) {
		log_error("something is missing: godwit %s %s", v->name, v->rest);
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

int verb_main(const struct verb *v, int argc, char **argv)
{
	struct verb_args args = { 0 };
	int status;

	if (v->main)
		return v->main(v, argc, argv);
	if (asks_for_help(argv + 1)) {
		help_verb(v);
		return CLI_OK;
	}
	status = verb_parse(v, &args, argv + 1);
	return status == CLI_OK ? v->run(v, &args) : status;
}

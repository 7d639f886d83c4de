/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "log.h"
#include "verb.h"

static const struct verb_option help = { "--help", NULL, "print this" };

static void print_option(const struct verb_option *o)
{
	printf("  %s %-*s %s\n", o->name, 24 - (int)strlen(o->name), o->form ? o->form : "",
	       o->help);
}

static void print_help(const struct verb *v)
{
	printf("Usage: godwit %s%s %s\n\n%c%s.\n\n", v->name,
	       v->options[0].name ? " [OPTION]..." : "", v->rest, toupper((unsigned char)*v->help),
	       v->help + 1);
	for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++)
		print_option(&v->options[i]);
	print_option(&help);
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
	if (!value) {
		log_error("%s needs a value: %s %s", argv[0], argv[0], v->options[i].form);
		return CLI_USAGE;
	}
	if (args->value[i]) {
		log_error("%s is given twice", v->options[i].name);
		return CLI_USAGE;
	}
	args->value[i] = value;
	return CLI_OK;
}

/* Options may stand before and behind the rest, which argv is compacted to. */
static int verb_parse(const struct verb *v, struct verb_args *args, char **argv)
{
	int used, status = CLI_OK;

	args->rest = argv;
	while (status == CLI_OK && *argv) {
		if (strncmp(*argv, "--", 2)) {
			args->rest[args->nrest++] = *argv++;
			continue;
		}
		status = take_option(v, args, argv, &used);
		argv += used;
	}
	if (status == CLI_OK && *v->rest && *v->rest != '[' && !args->nrest) {
		log_error("something is missing: godwit %s %s", v->name, v->rest);
		status = CLI_USAGE;
	}
	return status;
}

int verb_main(const struct verb *v, int argc, char **argv)
{
	struct verb_args args = { 0 };
	int status;

	if (v->main)
		return v->main(argc, argv);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], help.name)) {
			print_help(v);
			return CLI_OK;
		}
	}
	status = verb_parse(v, &args, argv + 1);
	return status == CLI_OK ? v->run(v, &args) : status;
}

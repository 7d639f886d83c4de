/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit probe": what this host has for guests, and what kind of them can run. */
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "cli.h"
#include "facts.h"
#include "log.h"
#include "option.h"
#include "probe.h"

static void print_help(void)
{
	printf("Usage: godwit probe [OPTION]...\n\n"
	       "Says what this host has for guests, and what kind of guests can run on it.\n\n"
	       "  --json   print a JSON object (docs/probe.md)\n"
	       "  --help   print this\n\n"
	       "Exit status: 0 guests can run, 1 none can, 2 usage.\n");
}

static void refuse_unknown(const char *given)
{
	static const char *const names[] = { "--json", "--help" };
	const char *near = *given == '-' ? option_nearest(given, names, ARRAY_SIZE(names)) : NULL;

	if (near)
		log_error("unknown option \"%.64s\"; did you mean \"%s\"?", given, near);
	else
		log_error("\"%.64s\" is not an option; see \"godwit probe --help\"", given);
}

/* All facts, the verdict last: a new reference. */
static json_t *collect(void)
{
	json_t *facts = facts_collect("");

	json_object_set_new(facts, "libvirt", probe_libvirt());
	json_object_set_new(facts, "verdict", facts_verdict(facts));
	return facts;
}

static int print(const json_t *facts, bool json)
{
	if (json)
		json_dumpf(facts, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	else
		probe_print(stdout, facts);
	if ((json && putchar('\n') < 0) || fflush(stdout) || ferror(stdout)) {
		log_error("the facts cannot be written to standard output: %m");
		return CLI_FAILED;
	}
	return CLI_OK;
}

int probe_main(int argc, char **argv)
{
	json_auto_t *facts = NULL;
	bool json = false;
	const char *guests;
	int status;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			print_help();
			return CLI_OK;
		}
		if (strcmp(argv[i], "--json")) {
			refuse_unknown(argv[i]);
			return CLI_USAGE;
		}
		json = true;
	}
	facts = collect();
	status = print(facts, json);
	guests = json_string_value(json_object_get(json_object_get(facts, "verdict"), "guests"));
	return guests && strcmp(guests, "none") ? status : CLI_FAILED;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit probe": what this host has for guests, and what kind of them can run; or what CPU
 * features several hosts have in common. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "facts.h"
#include "log.h"
#include "probe.h"

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

static int print_baseline(const char *first, const struct verb_args *args)
{
	json_auto_t *baseline = NULL;
	struct err e;

	if (probe_baseline(first, args->rest, args->nrest, &baseline, &e)) {
		log_error("%s", e.text);
		return CLI_FAILED;
	}
	return print(baseline, true);
}

static int print_facts(bool json)
{
	json_auto_t *facts = collect();
	int status = print(facts, json);
	const char *guests =
		json_string_value(json_object_get(json_object_get(facts, "verdict"), "guests"));

	return guests && strcmp(guests, "none") ? status : CLI_FAILED;
}

int probe_run(const struct verb *v, const struct verb_args *args)
{
	if (args->value[1])
		return print_baseline(args->value[1], args);
	if (args->nrest) {
		log_error("there is no place for \"%.64s\"; see \"godwit %s --help\"",
			  args->rest[0], v->name);
		return CLI_USAGE;
	}
	return print_facts(args->value[0]);
}

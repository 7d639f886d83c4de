/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs about the command itself. */
#include <stdio.h>

#include "cli.h"
#include "help.h"
#include "log.h"
#include "man.h"

static int write_pages(const char *folder)
{
	struct err e;

	if (!man_write(folder, &e))
		return CLI_OK;
	log_error("%s", e.text);
	return CLI_FAILED;
}

int help_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	if (args->value[0])
		return write_pages(args->value[0]);
	if (!args->nrest) {
		help_program(stdout);
		return CLI_OK;
	}
	v = verb_named(args->rest[0]);
	if (!v)
		return verb_refuse_unknown(args->rest[0]);
	help_verb(v);
	return CLI_OK;
}

int version_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	(void)args;
	printf("godwit %s\n", GODWIT_VERSION);
	return CLI_OK;
}

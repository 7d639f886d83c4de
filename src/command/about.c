/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs about a program itself. */
#include <stdio.h>

#include "command/help.h"
#include "command/verb.h"
#include "log.h"
#include "man.h"

static int write_pages(const struct program *p, const char *folder)
{
	struct err e;

	if (!man_write(p, folder, &e))
		return CLI_OK;
	log_error("%s", e.text);
	return CLI_FAILED;
}

int help_run(const struct verb *v, const struct verb_args *args)
{
	const struct program *p = args->program;

	if (args->value[0])
		return write_pages(p, args->value[0]);
	if (!args->nrest) {
		help_program(p, stdout);
		return CLI_OK;
	}
	v = verb_named(p, args->rest[0]);
	if (!v)
		return verb_refuse_unknown(p, args->rest[0]);
	help_verb(p, v);
	return CLI_OK;
}

int version_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	printf("%s %s\n", args->program->name, GODWIT_VERSION);
	return CLI_OK;
}

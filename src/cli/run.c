/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "cli.h"
#include "log.h"

static int print_config(const struct config *c)
{
	if (json_dumpf(c->json, stdout, JSON_INDENT(2)) || putchar('\n') < 0 || fflush(stdout)) {
		log_error("the configuration cannot be written to standard output: %m");
		return CLI_FAILED;
	}
	return CLI_OK;
}

int run_main(int argc, char **argv)
{
	struct run_options options;
	struct config config = { 0 };
	struct err e;
	int status, rc = run_options_parse(&options, argc, argv, &e);

	if (!rc && options.help) {
		run_options_help();
		run_options_free(&options);
		return CLI_OK;
	}
	if (!rc)
		rc = config_load(&config, options.json, &e);
	if (rc) {
		log_error("%s", e.text);
		run_options_free(&options);
		return rc == -EINVAL ? CLI_USAGE : CLI_FAILED;
	}
	status = options.dry_run ? print_config(&config) : lifecycle_run(&config);
	config_free(&config);
	run_options_free(&options);
	return status;
}

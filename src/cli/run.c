/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "command/help.h"
#include "log.h"

static int print_config(const json_t *options)
{
	struct config c;
	struct err e;
	int rc = config_load(&c, options, &e), status = CLI_OK;

	if (rc) {
		log_error("%s", e.text);
		return rc == -EINVAL ? CLI_USAGE : CLI_FAILED;
	}
	if (json_dumpf(c.json, stdout, JSON_INDENT(2)) || putchar('\n') < 0 || fflush(stdout)) {
		log_error("the configuration cannot be written to standard output: %m");
		status = CLI_FAILED;
	}
	config_free(&c);
	return status;
}

/* "godwit --api-socket PATH" has no verb, and a VM only if it names a kernel. */
static bool waits(const char *verb, const struct run_options *o)
{
	return strcmp(verb, "run") && place_is_given(&o->api_socket) &&
	       !json_object_get(o->json, "payload");
}

static enum lifecycle_begin begin_of(const char *verb, const struct run_options *o)
{
	if (o->incoming)
		return LIFECYCLE_RECEIVE;
	return waits(verb, o) ? LIFECYCLE_WAIT : LIFECYCLE_BOOT;
}

int run_main(const struct verb *v, int argc, char **argv)
{
	struct run_options options;
	struct err e;
	int status = CLI_OK, rc = run_options_parse(&options, argc, argv, &e);

	if (rc) {
		log_error("%s", e.text);
		status = rc == -EINVAL ? CLI_USAGE : CLI_FAILED;
	} else if (options.help) {
		help_verb(&godwit, v);
	} else {
		status = options.dry_run ? print_config(options.json)
					 : lifecycle_run(&options, begin_of(argv[0], &options));
	}
	run_options_free(&options);
	return status;
}

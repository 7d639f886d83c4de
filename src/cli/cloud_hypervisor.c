/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Started under the name of the monitor whose API this is: that program's command line, as far as
 * those give it who start it for themselves, which are libvirt and Kata Containers.  They look at
 * its version, want an empty monitor at a socket, and end it by SIGTERM.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "bits.h"
#include "cli.h"
#include "log.h"

static int take_api_socket(struct run_options *o, const char *text, struct err *e)
{
	return place_take(&o->api_socket, "--api-socket", text, e);
}

static int take_event_monitor(struct run_options *o, const char *text, struct err *e)
{
	return place_take(&o->event_monitor, "--event-monitor", text, e);
}

static int take_seccomp(struct run_options *o, const char *text, struct err *e)
{
	return sandbox_take(&o->sandbox, "--seccomp",
			    (const char *const[]){ "true", "log", "false" }, text, e);
}

static const struct {
	const char *name, *form;
	int (*take)(struct run_options *, const char *text, struct err *);
} options[] = {
	{ "--api-socket", "PATH|path=PATH|fd=N", take_api_socket },
	{ "--event-monitor", "path=PATH|fd=N", take_event_monitor },
	{ "--seccomp", "true|false|log", take_seccomp },
};

/* The option at argv[0], its value behind = or in argv[1]; *used: arguments taken. */
static int take_option(struct run_options *o, char **argv, int *used, struct err *e)
{
	size_t len = strcspn(argv[0], "=");
	const char *text = argv[0][len] ? argv[0] + len + 1 : argv[1];

	*used = argv[0][len] ? 1 : 2;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strlen(options[i].name) != len || memcmp(options[i].name, argv[0], len))
			continue;
		if (!text)
			return err_set(e, -EINVAL, "%s needs a value: %s %s", options[i].name,
				       options[i].name, options[i].form);
		return options[i].take(o, text, e);
	}
	return err_set(e, -EINVAL,
		       "unknown option \"%.64s\"; under the name cloud-hypervisor there are only "
		       "--version, --api-socket, --event-monitor, --seccomp and -v: create the VM "
		       "by the API, or start it with \"godwit run\"",
		       argv[0]);
}

/* -v, -vv, -vvv: each v one level more. */
static bool take_verbosity(struct run_options *o, const char *text)
{
	size_t n = strspn(text + 1, "v");

	if (*text != '-' || !n || text[1 + n])
		return false;
	o->log_level = MIN(o->log_level + n, LOG_DEBUG);
	return true;
}

static int parse(struct run_options *o, char **argv, struct err *e)
{
	int rc = 0, used;

	for (; !rc && *argv; argv += used) {
		used = 1;
		if (!take_verbosity(o, *argv))
			rc = take_option(o, argv, &used, e);
	}
	if (!rc && !place_is_given(&o->api_socket))
		rc = err_set(e, -EINVAL,
			     "no control socket is given; name one with --api-socket PATH");
	return rc;
}

/* Clients compare the number with those of releases, and cut the text at a slash. */
static int print_version(void)
{
	printf("cloud-hypervisor v" API_VERSION "\n");
	return CLI_OK;
}

int cloud_hypervisor_main(int argc, char **argv)
{
	struct run_options o = { .api_socket.fd = -1,
				 .event_monitor.fd = -1,
				 .log_level = LOG_WARN,
				 .signal_ends = true };
	struct err e;

	if (argc > 1 && !strcmp(argv[1], "--version"))
		return print_version();
	if (parse(&o, argv + 1, &e)) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	return lifecycle_run(&o, LIFECYCLE_WAIT);
}

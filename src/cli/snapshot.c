/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that put a VM into a directory and let it go on from there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "cli.h"
#include "client.h"
#include "command/help.h"
#include "log.h"

/* *running: it was, and is paused now. */
static int pause_if_running(struct client *c, bool *running, struct err *e)
{
	json_auto_t *info = NULL;
	const char *state;
	int r = client_get(c, "vm.info", &info, e);

	if (r)
		return r;
	state = json_string_value(json_object_get(info, "state"));
	*running = state && !strcmp(state, "Running");
	return *running ? client_put(c, "vm.pause", NULL, NULL, e) : 0;
}

static int take_snapshot(struct client *c, const char *dir, bool stop, struct err *e)
{
	CLEANUP(free) char *path = NULL;
	json_auto_t *body = NULL;
	bool running = false;
	struct err why;
	int r = client_path(dir, &path, e);

	/* What is not to go on is paused here; the rest goes on even if this process is gone. */
	if (!r && stop)
		r = pause_if_running(c, &running, e);
	if (r)
		return r;
	body = json_pack("{s:s+, s:b}", "destination_url", "file://", path, "pause", !stop);
	r = client_put(c, "vm.snapshot", body, NULL, e);
	if (!r && stop)
		return client_put(c, "vmm.shutdown", NULL, NULL, e);
	if (running)
		client_put(c, "vm.resume", NULL, NULL, &why);
	return r;
}

int snapshot_run(const struct verb *v, const struct verb_args *args)
{
	struct client c;
	struct err e;
	int r = client_open(&c, args->rest[0], &e);

	(void)v;
	if (!r)
		r = take_snapshot(&c, args->rest[1], args->value[0], &e);
	if (r)
		log_error("%s", e.text);
	client_close(&c);
	return r ? CLI_FAILED : CLI_OK;
}

/* The request that the options make. */
static int restore(struct run_options *o)
{
	json_t *local = o->json;

	o->json = json_pack("{s:s, s:b, s:o}", "source_url", o->dir, "resume", o->resume, "config",
			    local);
	if (o->json)
		return lifecycle_run(o, LIFECYCLE_RESTORE);
	log_error("the path %s is no text", o->dir);
	return CLI_USAGE;
}

int restore_main(const struct verb *v, int argc, char **argv)
{
	struct run_options options;
	struct err e;
	int status = CLI_OK;

	if (restore_options_parse(&options, argc, argv, &e)) {
		log_error("%s", e.text);
		status = CLI_USAGE;
	} else if (options.help) {
		help_verb(&godwit, v);
	} else {
		status = restore(&options);
	}
	run_options_free(&options);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that ask something of the running agent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "cleanup.h"
#include "command/show_events.h"
#include "log.h"
#include "verbs.h"

int apply_run(const struct verb *v, const struct verb_args *args)
{
	const char *path = args->rest[0];
	json_error_t wrong;
	json_t *spec = strcmp(path, "-") ? json_load_file(path, 0, &wrong)
					 : json_loadf(stdin, 0, &wrong);

	(void)v;
	if (!spec && wrong.line > 0)
		log_error("%.200s: line %d is no JSON: %s", path, wrong.line, wrong.text);
	else if (!spec)
		log_error("%.200s", wrong.text);
	else if (!json_is_object(spec))
		log_error("%.200s: a VM is described by a JSON object", path);
	else
		return ask_put("apply", spec);
	json_decref(spec);
	return CLI_FAILED;
}

/* delete, start, stop */
int name_run(const struct verb *v, const struct verb_args *args)
{
	return ask_put(v->name, json_pack("{s:s}", "name", args->rest[0]));
}

static int set_host(const char *id, const char *state)
{
	return ask_put("host", json_pack("{s:s, s:s}", "id", id, "state", state));
}

int drain_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return set_host(args->rest[0], "draining");
}

int maintenance_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return set_host(args->rest[0], strcmp(args->rest[1], "on") ? "up" : "maintenance");
}

int mode_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return ask_put("mode", json_pack("{s:s}", "mode", args->rest[0]));
}

int move_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return ask_put("move", json_pack("{s:s, s:s, s:b}", "vm", args->rest[0], "to",
					 args->rest[1], "wait", 1));
}

int events_run(const struct verb *v, const struct verb_args *args)
{
	struct client c;
	struct err e;
	int r = ask_open(&c, &e);

	(void)v;
	r = r ? r : show_events(&c, args->value[0], args->value[1], &e);
	client_close(&c);
	if (r)
		log_error("%s", e.text);
	return r ? CLI_FAILED : CLI_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that ask something of running VMs, by name. */
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "command/show_events.h"
#include "log.h"

int control_each(const struct verb_args *args,
		 int (*ask)(struct client *, const void *arg, struct err *), const void *arg)
{
	int status = CLI_OK;

	for (int i = 0; i < args->nrest; i++) {
		struct client c;
		struct err e;

		if (client_open(&c, args->rest[i], &e) || ask(&c, arg, &e)) {
			log_error("%s", e.text);
			status = CLI_FAILED;
		}
		client_close(&c);
	}
	return status;
}

static int put(struct client *c, const void *path, struct err *e)
{
	return client_put(c, path, NULL, NULL, e);
}

int control_run(const struct verb *v, const struct verb_args *args)
{
	static const struct {
		const char *verb, *path;
	} paths[] = { { "pause", "vm.pause" },
		      { "resume", "vm.resume" },
		      { "reset", "vm.reboot" },
		      { "nmi", "vm.nmi" } };
	size_t i = 0;

	while (strcmp(paths[i].verb, v->name))
		i++;
	return control_each(args, put, paths[i].path);
}

static int events(struct client *c, const void *arg, struct err *e)
{
	const struct verb_args *args = arg;

	return show_events(c, args->value[0], args->value[1], e);
}

int events_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return control_each(args, events, args);
}

static void print_added(const char *name, const json_t *answer, bool json)
{
	json_auto_t *shown = NULL;

	if (!json) {
		printf("%s at %s\n", json_string_value(json_object_get(answer, "id")),
		       json_string_value(json_object_get(answer, "bdf")));
		return;
	}
	shown = json_pack("{s:s}", "name", name);
	json_object_update(shown, (json_t *)answer);
	json_dumpf(shown, stdout, JSON_COMPACT);
	putchar('\n');
}

/* Ask one VM to take, change or give up a device; its answer, if there is one, is printed. */
static int change(const char *name, const char *path, const json_t *body, bool json)
{
	json_t *answer = NULL;
	struct client c;
	struct err e;
	int r = client_open(&c, name, &e);

	if (!r)
		r = client_put(&c, path, body, &answer, &e);
	if (r)
		log_error("%s", e.text);
	else if (answer)
		print_added(name, answer, json);
	json_decref(answer);
	client_close(&c);
	return r ? CLI_FAILED : CLI_OK;
}

int add_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *device = NULL;
	char path[32];
	struct err e;

	if (option_parse(v->keys(), v->name, args->rest[1], &device, &e)) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	snprintf(path, sizeof(path), "vm.%s", v->name);
	return change(args->rest[0], path, device, args->value[0]);
}

int remove_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *which = json_pack("{s:s}", "id", args->rest[1]);

	(void)v;
	return change(args->rest[0], "vm.remove-device", which, false);
}

int resize_disk_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *body = NULL;
	uint64_t bytes;

	if (option_size(args->rest[2], &bytes)) {
		log_error("%s: SIZE must be a number of bytes, or one with K, M, G or T, not "
			  "\"%.64s\"",
			  v->name, args->rest[2]);
		return CLI_USAGE;
	}
	body = json_pack("{s:s, s:I}", "id", args->rest[1], "desired_size", (json_int_t)bytes);
	return change(args->rest[0], "vm.resize-disk", body, false);
}

int limit_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *body = NULL;
	struct err e;

	if (!strcmp(args->rest[2], "off")) {
		body = json_object();
	} else if (option_parse(v->keys(), v->name, args->rest[2], &body, &e)) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	json_object_set_new(body, "id", json_string(args->rest[1]));
	return change(args->rest[0], "vm.set-rate-limit", body, false);
}

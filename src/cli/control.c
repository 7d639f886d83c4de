/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that ask something of running VMs, by name. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "log.h"
#include "rate_limit.h"

/* For each name in turn; what one VM refuses does not keep the others from being asked. */
static int for_each(const struct verb_args *args,
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
	return for_each(args, put, paths[i].path);
}

/* Reading the VM's lock and socket would race with its end; the connection's end is its end. */
static int wait_for_end(struct client *c, int limit_s, struct err *e)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	if (poll(&p, 1, limit_s * 1000))
		return 0;
	return err_set(e, -ETIMEDOUT,
		       "VM \"%s\" did not power off within %d s of its power button; "
		       "godwit shutdown --now %s ends it at once",
		       c->name, limit_s, c->name);
}

static int shut_down(struct client *c, const void *now, struct err *e)
{
	json_t *info = NULL;
	json_int_t limit_s;
	int r;

	if (now)
		return client_put(c, "vmm.shutdown", NULL, NULL, e);
	r = client_get(c, "vm.info", &info, e);
	limit_s = json_integer_value(
		json_object_get(json_object_get(info, "config"), "stop_timeout_s"));
	json_decref(info);
	if (!r)
		r = client_put(c, "vm.power-button", NULL, NULL, e);
	return r ? r : wait_for_end(c, (int)limit_s, e);
}

int shutdown_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return for_each(args, shut_down, args->value[0]);
}

/* Ask one VM to take, change or give up a device; its answer, if there is one, is printed. */
static int change(const char *name, const char *path, const json_t *body)
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
		printf("%s at %s\n", json_string_value(json_object_get(answer, "id")),
		       json_string_value(json_object_get(answer, "bdf")));
	json_decref(answer);
	client_close(&c);
	return r ? CLI_FAILED : CLI_OK;
}

static int refuse_words(const struct verb *v, const char *count)
{
	log_error("%s words are expected: godwit %s %s", count, v->name, v->rest);
	return CLI_USAGE;
}

int add_run(const struct verb *v, const struct verb_args *args)
{
	bool is_disk = !strcmp(v->name, "add-disk");
	const struct config_section *s = config_find_section(is_disk ? "disks" : "net");
	json_auto_t *device = NULL;
	struct err e;

	if (args->nrest != 2)
		return refuse_words(v, "two");
	if (option_parse(config_section_table(s), v->name, args->rest[1], &device, &e)) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	return change(args->rest[0], is_disk ? "vm.add-disk" : "vm.add-net", device);
}

int remove_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *which = NULL;

	if (args->nrest != 2)
		return refuse_words(v, "two");
	which = json_pack("{s:s}", "id", args->rest[1]);
	return change(args->rest[0], "vm.remove-device", which);
}

int resize_disk_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *body = NULL;
	uint64_t bytes;

	if (args->nrest != 3)
		return refuse_words(v, "three");
	if (option_size(args->rest[2], &bytes)) {
		log_error("%s: SIZE must be a number of bytes, or one with K, M, G or T, not "
			  "\"%.64s\"",
			  v->name, args->rest[2]);
		return CLI_USAGE;
	}
	body = json_pack("{s:s, s:I}", "id", args->rest[1], "desired_size", (json_int_t)bytes);
	return change(args->rest[0], "vm.resize-disk", body);
}

int limit_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *body = NULL;
	struct err e;

	if (args->nrest != 3)
		return refuse_words(v, "three");
	if (!strcmp(args->rest[2], "off")) {
		body = json_object();
	} else if (option_parse(&rate_limit_options, v->name, args->rest[2], &body, &e)) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	json_object_set_new(body, "id", json_string(args->rest[1]));
	return change(args->rest[0], "vm.set-rate-limit", body);
}

static int print_info(struct client *c, const void *unused, struct err *e)
{
	json_t *info = NULL;
	int r = client_get(c, "vm.info", &info, e);

	(void)unused;
	if (r)
		return r;
	json_dumpf(info, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(info);
	return 0;
}

int info_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return for_each(args, print_info, NULL);
}

static int print_events(struct client *c, const void *follow, struct err *e)
{
	unsigned long long seq = 0;
	int r;

	do {
		json_t *answer = NULL, *event;
		char path[64];
		size_t i;

		snprintf(path, sizeof(path), "events?since=%llu&wait=%d", seq, follow ? 30 : 0);
		r = client_get(c, path, &answer, e);
		json_array_foreach(json_object_get(answer, "events"), i, event)
		{
			json_dumpf(event, stdout, JSON_COMPACT);
			putchar('\n');
		}
		fflush(stdout);
		seq = (unsigned long long)json_integer_value(json_object_get(answer, "seq"));
		json_decref(answer);
	} while (!r && follow);
	/* Its last event was shown. */
	return follow && r == -EPIPE ? 0 : r;
}

int events_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return for_each(args, print_events, args->value[0]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that move a VM and show how that goes. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "cli.h"
#include "client.h"
#include "log.h"
#include "option.h"
#include "units.h"

enum { LOOK_MS = 250 };

/* As the verb's options in verbs.c. */
enum { MAX_BLACKOUT, DEADLINE, BANDWIDTH, STREAMS, TLS, LATE, NO_WAIT, JSON };

/* "50ms", "60s", "2m", "1h" in milliseconds. */
static int duration_ms(const char *option, const char *text, json_int_t *ms, struct err *e)
{
	static const struct {
		const char *suffix;
		double ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	char *end;
	double n = strtod(text, &end);

	for (size_t i = 0; end != text && i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].suffix) || !(n > 0) || n > 1e6)
			continue;
		*ms = (json_int_t)(n * units[i].ms + 0.5);
		return 0;
	}
	return err_set(e, -EINVAL, "%s takes a time such as 50ms, 60s or 2m, not \"%.40s\"", option,
		       text);
}

static int take_times(const struct verb_args *args, json_t *body, struct err *e)
{
	json_int_t ms;
	int r = 0;

	if (args->value[MAX_BLACKOUT]) {
		r = duration_ms("--max-blackout", args->value[MAX_BLACKOUT], &ms, e);
		if (!r)
			json_object_set_new(body, "downtime_ms", json_integer(ms));
	}
	if (!r && args->value[DEADLINE]) {
		r = duration_ms("--deadline", args->value[DEADLINE], &ms, e);
		if (!r)
			json_object_set_new(body, "timeout_s", json_integer(MAX(ms / 1000, 1)));
	}
	return r;
}

static int take_certificates(const struct verb_args *args, json_t *body, struct err *e)
{
	CLEANUP(free) char *dir = NULL;
	int r = args->value[TLS] ? client_path(args->value[TLS], &dir, e) : 0;

	if (dir)
		json_object_set_new(body, "tls_dir", json_string(dir));
	return r;
}

static int take_means(const struct verb_args *args, json_t *body, struct err *e)
{
	const char *streams = args->value[STREAMS];
	uint64_t bytes;

	if (args->value[BANDWIDTH]) {
		if (option_size(args->value[BANDWIDTH], &bytes))
			return err_set(e, -EINVAL,
				       "--bandwidth takes bytes a second such as 500M or 2G, not "
				       "\"%.40s\"",
				       args->value[BANDWIDTH]);
		json_object_set_new(body, "bandwidth_limit", json_integer((json_int_t)bytes));
	}
	if (streams && strcmp(streams, "auto")) {
		if (streams[strspn(streams, "0123456789")] || atoi(streams) < 1)
			return err_set(e, -EINVAL,
				       "--streams takes auto or a number, not \"%.40s\"", streams);
		json_object_set_new(body, "connections", json_integer(atoi(streams)));
	}
	if (args->value[LATE])
		json_object_set_new(body, "timeout_strategy", json_string("Ignore"));
	json_object_set_new(body, "wait", json_boolean(!args->value[NO_WAIT]));
	return 0;
}

static double number(const json_t *p, const char *key)
{
	return json_number_value(json_object_get(p, key));
}

static void show(FILE *to, const json_t *p)
{
	const json_t *memory = json_object_get(p, "memory_transmission_info");
	const json_t *ongoing = json_object_get(json_object_get(p, "state"), "Ongoing");
	double percent = number(ongoing, "vcpu_throttle_percent");
	char rate[UNITS_TEXT], written[UNITS_TEXT], blackout[UNITS_TEXT];

	units_bytes(rate, number(memory, "memory_transmission_bps"));
	units_bytes(written, number(memory, "memory_dirty_rate_pps") * 4096);
	units_seconds(blackout, number(p, "blackout_us") / 1e6, false);
	fprintf(to, "%s: round %.0f, %s/s, the guest writes %s/s, would stand still for %s",
		json_string_value(json_object_get(p, "phase")), number(memory, "memory_iteration"),
		rate, written, blackout);
	if (percent)
		fprintf(stderr, ", is slowed down by %.0f%%", percent);
}

/* Until the first connection has its answer. */
static void watch(const struct client *first, const char *name)
{
	struct pollfd p = { .fd = first->fd, .events = POLLIN };
	struct client c;
	struct err e;

	if (!isatty(STDERR_FILENO) || client_open(&c, name, &e))
		return;
	while (!poll(&p, 1, LOOK_MS)) {
		json_auto_t *progress = NULL;

		if (client_get(&c, "vm.migration-progress", &progress, &e))
			break;
		fputs("\r\033[K", stderr); /* in place of the last one */
		show(stderr, progress);
	}
	fputs("\r\033[K", stderr);
	client_close(&c);
}

static void print_moved(const char *name, const char *url, const json_t *p, bool json)
{
	char all[UNITS_TEXT], blackout[UNITS_TEXT], bytes[UNITS_TEXT];

	if (!p)
		return;
	if (json) {
		json_dumpf(p, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	units_seconds(all, number(p, "total_us") / 1e6, false);
	units_seconds(blackout, number(p, "blackout_us") / 1e6, false);
	units_bytes(bytes, number(json_object_get(p, "memory_transmission_info"),
				  "memory_bytes_transmitted"));
	printf("%s runs at %s now: %s in all, %s sent, stood still for %s\n", name, url, all, bytes,
	       blackout);
}

int migrate_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *body = json_pack("{s:s}", "destination_url", args->rest[1]);
	json_auto_t *answer = NULL;
	struct client c = { .fd = -1 };
	struct err e;
	int r = take_times(args, body, &e);

	(void)v;
	if (!r)
		r = take_means(args, body, &e);
	if (!r)
		r = take_certificates(args, body, &e);
	if (r) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	r = client_open(&c, args->rest[0], &e);
	if (!r)
		r = client_send_put(&c, "vm.send-migration", body, &e);
	if (!r && !args->value[NO_WAIT])
		watch(&c, args->rest[0]);
	if (!r)
		r = client_receive(&c, &answer, &e);
	client_close(&c);
	if (r)
		log_error("%s", e.text);
	else
		print_moved(args->rest[0], args->rest[1], answer, args->value[JSON]);
	return r ? CLI_FAILED : CLI_OK;
}

static int print_progress(struct client *c, const void *json, struct err *e)
{
	json_auto_t *p = NULL;
	int r = client_get(c, "vm.migration-progress", &p, e);

	if (r)
		return r;
	if (json) {
		json_dumpf(p, stdout, JSON_COMPACT);
		putchar('\n');
		return 0;
	}
	show(stdout, p);
	putchar('\n');
	return 0;
}

int migration_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return control_each(args, print_progress, args->value[0]);
}

static int cancel(struct client *c, const void *unused, struct err *e)
{
	(void)unused;
	return client_put(c, "vm.cancel-migration", NULL, NULL, e);
}

int cancel_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return control_each(args, cancel, NULL);
}

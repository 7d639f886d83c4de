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
#include "duration.h"
#include "log.h"
#include "option.h"
#include "command/units.h"

enum { LOOK_MS = 250 };

/* As the verb's options in verbs.c. */
enum { MAX_BLACKOUT, DEADLINE, BANDWIDTH, STREAMS, COMPRESS, TLS, LATE, NO_WAIT, JSON, CHECK };

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
	if (args->value[COMPRESS])
		json_object_set_new(body, "compress", json_string(args->value[COMPRESS]));
	if (args->value[LATE])
		json_object_set_new(body, "timeout_strategy", json_string("Ignore"));
	json_object_set_new(body, "wait", json_boolean(!args->value[NO_WAIT]));
	return 0;
}

static double number(const json_t *p, const char *key)
{
	return json_number_value(json_object_get(p, key));
}

static void show_time(FILE *to, const char *before, const json_t *p, const char *key)
{
	char text[UNITS_TEXT];

	if (!json_object_get(p, key))
		return;
	units_seconds(text, number(p, key) / 1e6, false);
	fprintf(to, "%s%s", before, text);
}

static void show_end(FILE *to, const json_t *p, const json_t *state)
{
	const json_t *failed = json_object_get(state, "Failed");
	const char *where = json_string_value(json_object_get(p, "url"));

	if (failed)
		fprintf(to, "failed: %s", json_string_value(json_object_get(failed, "error_msg")));
	else if (json_object_get(state, "Cancelled"))
		fputs("called off", to);
	else if (json_is_true(json_object_get(p, "incoming")))
		fprintf(to, "came from %s", json_string_value(json_object_get(p, "peer")));
	else
		fprintf(to, "runs at %s now", where);
	show_time(to, "; stood still for ", p, "blackout_us");
	show_time(to, ", first packet after ", p, "first_packet_us");
	show_time(to, ", first disk request after ", p, "first_disk_us");
}

static void show_progress(FILE *to, const json_t *p, const json_t *ongoing)
{
	const json_t *memory = json_object_get(p, "memory_transmission_info");
	double percent = number(ongoing, "vcpu_throttle_percent");
	char rate[UNITS_TEXT], written[UNITS_TEXT], blackout[UNITS_TEXT];

	units_bytes(rate, number(memory, "memory_transmission_bps"));
	units_bytes(written, number(memory, "memory_dirty_rate_pps") * 4096);
	units_seconds(blackout, number(p, "blackout_us") / 1e6, false);
	fprintf(to, "%s: round %.0f", json_string_value(json_object_get(p, "phase")),
		number(memory, "memory_iteration"));
	show_time(to, ", there in about ", p, "left_us");
	fprintf(to, ", %s/s", rate);
	/* Not known before the first pass is over. */
	if (number(p, "blackout_us"))
		fprintf(to, ", the guest writes %s/s, would stand still for %s", written, blackout);
	if (percent)
		fprintf(to, ", is slowed down by %.0f%%", percent);
}

static void show(FILE *to, const json_t *p)
{
	const json_t *state = json_object_get(p, "state");
	const json_t *ongoing = json_object_get(state, "Ongoing");

	if (ongoing)
		show_progress(to, p, ongoing);
	else
		show_end(to, p, state);
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
		/* In place of the last one; what is wider than the terminal is cut off. */
		fputs("\r\033[K\033[?7l", stderr);
		show(stderr, progress);
		fputs("\033[?7h", stderr);
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

/* Nothing, if it would not come to an end. */
static void print_duration(const json_t *p)
{
	double percent = number(p, "vcpu_throttle_percent");
	char all[UNITS_TEXT], blackout[UNITS_TEXT];

	if (!json_object_get(p, "total_us"))
		return;
	units_seconds(all, number(p, "total_us") / 1e6, false);
	units_seconds(blackout, number(p, "blackout_us") / 1e6, false);
	printf("  in about %s, standing still for about %s", all, blackout);
	if (percent)
		printf(", slowed down by up to %.0f%%", percent);
	putchar('\n');
}

static void print_would(const char *name, const char *url, const json_t *p)
{
	const json_t *blockers = json_object_get(p, "blockers"), *blocker;
	char memory[UNITS_TEXT], written[UNITS_TEXT], rate[UNITS_TEXT];
	size_t i;

	units_bytes(memory, number(p, "memory_bytes"));
	units_bytes(written, number(p, "memory_dirty_bps"));
	units_bytes(rate, number(p, "memory_transmission_bps"));
	printf("%s %s move to %s\n", name, json_array_size(blockers) ? "would not" : "would", url);
	json_array_foreach(blockers, i, blocker) printf("  %s\n", json_string_value(blocker));
	print_duration(p);
	printf("  about %s to send, the guest writes %s/s, the connection carries %s/s\n", memory,
	       written, rate);
}

/* Moves nothing. */
static int check(const struct verb_args *args, json_t *body)
{
	json_auto_t *answer = NULL;
	struct client c;
	struct err e;
	int r = client_open(&c, args->rest[0], &e);

	if (!r) {
		r = client_put(&c, "vm.check-migration", body, &answer, &e);
		client_close(&c);
	}
	if (r) {
		log_error("%s", e.text);
		return CLI_FAILED;
	}
	if (args->value[JSON]) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_would(args->rest[0], args->rest[1], answer);
	}
	return json_is_true(json_object_get(answer, "migratable")) ? CLI_OK : CLI_FAILED;
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
	if (args->value[CHECK])
		return check(args, body);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* More or fewer vCPUs, more or less memory for a running VM. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "config.h"
#include "duration.h"
#include "guest_mem.h"
#include "log.h"
#include "option.h"

enum { CPUS, CPU_LIMIT, MEMORY, DEADLINE }; /* as the verb's options in verbs.c */
enum { DEADLINE_MS = 30000, LOOK_MS = 100 };

static int take_key(const char *what, const char *key, const char *value, const char *field,
		    json_t *body, struct err *e)
{
	const struct option_table *keys = config_section_table(config_find_section("cpus"));
	json_t *number = NULL;
	int r = option_value(keys, what, key, value, &number, e);

	return r ? r : json_object_set_new(body, field, number);
}

/* 2.5: as many vCPUs as that takes, and a limit; 3: 3 vCPUs, and none. */
static int take_cpus(const char *value, const char *limit, json_t *body, struct err *e)
{
	bool fraction = value && strchr(value, '.');
	uint64_t thousandths;
	char count[32];
	int r = 0;

	if (fraction && limit)
		return err_set(e, -EINVAL,
			       "--cpus %.16s is a limit; leave the fraction or --cpu-limit out",
			       value);
	if (limit)
		r = take_key("--cpu-limit", "limit", strcmp(limit, "none") ? limit : "0",
			     "cpu_limit", body, e);
	else if (value)
		r = take_key("--cpus", "limit", fraction ? value : "0", "cpu_limit", body, e);
	if (r || !value)
		return r;
	if (fraction && !option_fraction(value, &thousandths))
		snprintf(count, sizeof(count), "%llu",
			 (unsigned long long)(thousandths + 999) / 1000);
	return take_key("--cpus", "boot_vcpus", fraction ? count : value, "desired_vcpus", body, e);
}

static int take_memory(const char *value, json_t *body, struct err *e)
{
	uint64_t bytes;

	if (!value)
		return 0;
	if (option_size(value, &bytes))
		return err_set(e, -EINVAL,
			       "--memory must be a number of bytes, or one with K, M, G or T, not "
			       "\"%.64s\"",
			       value);
	return json_object_set_new(body, "desired_ram",
				   json_integer((json_int_t)align_up(bytes, GUEST_PAGE_BYTES)));
}

static double mib_of(const json_t *memory, const char *key)
{
	return (double)json_integer_value(json_object_get(memory, key)) / MIB;
}

/* Until the guest has what it is to have, or for so long. */
static int wait_for_memory(struct client *c, json_int_t bytes, json_int_t ms, struct err *e)
{
	for (;; ms -= LOOK_MS) {
		json_auto_t *info = NULL;
		const json_t *memory;
		const char *why;
		int r = client_get(c, "vm.info", &info, e);

		if (r)
			return r;
		memory = json_object_get(info, "memory");
		why = json_string_value(json_object_get(memory, "why"));
		if (why && ms > 0) {
			usleep(LOOK_MS * 1000);
			continue;
		}
		printf("%s: %.0f MiB asked, %.0f MiB given, %.0f MiB on the host\n", c->name,
		       mib_of(memory, "asked"), mib_of(memory, "given"),
		       mib_of(memory, "resident"));
		if (json_integer_value(json_object_get(memory, "asked")) != bytes)
			return err_set(e, -ECANCELED,
				       "%s: its guest was short of memory on the way, and has that "
				       "again",
				       c->name);
		return why ? err_set(e, -ETIMEDOUT, "%s: %s; that goes on", c->name, why) : 0;
	}
}

/* A VM that has all vCPUs that it may have is only limited, or no more. */
static int fit_to(struct client *c, json_t *body, struct err *e)
{
	const json_t *count = json_object_get(body, "desired_vcpus"), *cpus;
	json_auto_t *info = NULL;
	json_int_t fixed;
	int r = count ? client_get(c, "vm.info", &info, e) : 0;

	if (r || !count)
		return r;
	cpus = json_object_get(json_object_get(info, "config"), "cpus");
	fixed = json_integer_value(json_object_get(cpus, "boot_vcpus"));
	if (!json_is_true(json_object_get(cpus, "hotplug")) &&
	    (json_integer_value(count) == fixed ||
	     (json_integer_value(count) < fixed &&
	      json_number_value(json_object_get(body, "cpu_limit")) > 0)))
		json_object_del(body, "desired_vcpus");
	return 0;
}

static int resize(const char *name, json_t *body, json_int_t ms, struct err *e)
{
	struct client c;
	const json_t *bytes = json_object_get(body, "desired_ram");
	int r = client_open(&c, name, e);

	if (!r)
		r = fit_to(&c, body, e);
	if (!r)
		r = client_put(&c, "vm.resize", body, NULL, e);
	if (!r && bytes)
		r = wait_for_memory(&c, json_integer_value(bytes), ms, e);
	client_close(&c);
	return r;
}

int resize_run(const struct verb *v, const struct verb_args *args)
{
	json_auto_t *body = json_object();
	json_int_t ms = DEADLINE_MS;
	struct err e = { "out of memory" };

	if (take_cpus(args->value[CPUS], args->value[CPU_LIMIT], body, &e) ||
	    take_memory(args->value[MEMORY], body, &e) ||
	    (args->value[DEADLINE] && duration_ms("--deadline", args->value[DEADLINE], &ms, &e))) {
		log_error("%s: %s", v->name, e.text);
		return CLI_USAGE;
	}
	if (!json_object_size(body)) {
		log_error("%s: to what size? give it --cpus N, --cpu-limit N or --memory SIZE",
			  v->name);
		return CLI_USAGE;
	}
	if (!resize(args->rest[0], body, ms, &e))
		return CLI_OK;
	log_error("%s", e.text);
	return CLI_FAILED;
}

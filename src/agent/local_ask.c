/* SPDX-License-Identifier: Apache-2.0 */
#include "local_ask.h"

#include <string.h>
#include <time.h>

#include "cleanup.h"

enum { ANSWER_MS = 2000, MS_PER_S = 1000, NS_PER_MS = 1000000 };
enum { FRESH_MS = 1000 * MEMORY_BEAT_S };

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(object, key));

	return v > 0 ? (uint64_t)v : 0;
}

static void read_info(struct local_reading *r, const json_t *info)
{
	const json_t *config = json_object_get(info, "config"),
		     *cpus = json_object_get(config, "cpus"),
		     *memory = json_object_get(config, "memory"),
		     *times = json_object_get(info, "cpus"), *now = json_object_get(info, "memory");
	const char *state = json_string_value(json_object_get(info, "state"));

	r->runs = state && !strcmp(state, "Running");
	r->limit = json_number_value(json_object_get(cpus, "limit"));
	r->affinity = json_incref(json_object_get(cpus, "affinity"));
	r->vcpus = number(cpus, "boot_vcpus");
	r->run_ns = number(times, "run_ns");
	r->wait_ns = number(times, "wait_ns");
	r->throttled_ns = number(times, "throttled_ns");
	r->resident = number(now, "resident");
	r->most = number(memory, "size") + number(memory, "hotplug_size");
	r->memory.asked = number(now, "asked");
	r->memory.given = number(now, "given");
}

/* What was said long ago says nothing, and no guest has more available than it has. */
static void read_guest(struct local_reading *r, const json_t *balloon)
{
	const json_t *stats = json_object_get(balloon, "stats"),
		     *times = json_object_get(balloon, "times_ms");
	struct timespec t;
	uint64_t now_ms;

	clock_gettime(CLOCK_REALTIME, &t);
	now_ms = (uint64_t)t.tv_sec * MS_PER_S + (uint64_t)t.tv_nsec / NS_PER_MS;
	r->memory.available = number(stats, "available_memory");
	r->memory.stalls = number(stats, "alloc_stalls") + number(stats, "oom_kills") +
			   number(stats, "swap_in");
	r->tells = number(times, "available_memory") + FRESH_MS > now_ms &&
		   r->memory.available <= r->memory.given;
}

bool local_ask(const char *name, bool guest, struct local_reading *r)
{
	json_auto_t *info = NULL, *balloon = NULL, *counters = NULL;
	const json_t *pressure;
	struct client c;
	struct err e;

	*r = (struct local_reading){ 0 };
	if (!client_open(&c, name, &e)) {
		client_set_limit(&c, ANSWER_MS);
		client_get(&c, "vm.info", &info, &e);
		if (info && guest) {
			client_get(&c, "vm.balloon-stats", &balloon, &e);
			client_get(&c, "vm.counters", &counters, &e);
		}
	}
	client_close(&c);
	if (!info)
		return false;
	read_info(r, info);
	if (balloon)
		read_guest(r, balloon);
	pressure = json_object_get(counters, "_pressure");
	r->memory.psi = (double)number(pressure, "memory_some_avg10") / 10000;
	return true;
}

int local_resize(const char *name, const json_t *body, struct err *e)
{
	struct client c;
	int r = client_open(&c, name, e);

	if (!r) {
		client_set_limit(&c, ANSWER_MS);
		r = client_put(&c, "vm.resize", body, NULL, e);
	}
	client_close(&c);
	return r;
}

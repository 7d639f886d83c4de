/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that press a guest's power button and wait for what it does. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "loop.h"

enum { WAIT_MAX_S = 30 };

static int stop_timeout(struct client *c, int *limit_s, struct err *e)
{
	json_t *info = NULL;
	int r = client_get(c, "vm.info", &info, e);

	*limit_s = (int)json_integer_value(
		json_object_get(json_object_get(info, "config"), "stop_timeout_s"));
	json_decref(info);
	return r;
}

static int too_late(const struct client *c, int limit_s, const char *hard, struct err *e)
{
	return err_set(e, -ETIMEDOUT,
		       "VM \"%s\" did not power off within %d s of its power button; "
		       "godwit %s %s does not ask it",
		       c->name, limit_s, hard, c->name);
}

/* Reading the VM's lock and socket would race with its end; the connection's end is its end. */
static int wait_for_end(struct client *c, int limit_s, struct err *e)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	return poll(&p, 1, limit_s * 1000) ? 0 : too_late(c, limit_s, "shutdown --now", e);
}

static int shut_down(struct client *c, const void *now, struct err *e)
{
	int limit_s, r;

	if (now)
		return client_put(c, "vmm.shutdown", NULL, NULL, e);
	r = stop_timeout(c, &limit_s, e);
	if (!r)
		r = client_put(c, "vm.power-button", NULL, NULL, e);
	return r ? r : wait_for_end(c, limit_s, e);
}

int shutdown_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return control_each(args, shut_down, args->value[0]);
}

/* Events after *seq, which becomes the last one's, after at most wait_s seconds without one.
 * *rebooted: that is among them. */
static int look_at_events(struct client *c, json_int_t *seq, int wait_s, bool *rebooted,
			  struct err *e)
{
	json_t *answer = NULL, *event;
	char path[64];
	size_t i;
	int r;

	snprintf(path, sizeof(path), "events?since=%lld&wait=%d", *seq, wait_s);
	r = client_get(c, path, &answer, e);
	json_array_foreach(json_object_get(answer, "events"), i, event)
	{
		const char *name = json_string_value(json_object_get(event, "event"));

		*rebooted = *rebooted || (name && !strcmp(name, "rebooted"));
	}
	*seq = json_integer_value(json_object_get(answer, "seq"));
	json_decref(answer);
	return r;
}

static int wait_for_boot(struct client *c, json_int_t seq, int limit_s, struct err *e)
{
	const uint64_t second = 1000000000, end = loop_now_ns() + (uint64_t)limit_s * second;
	bool rebooted = false;
	int r = 0;

	while (!r && !rebooted) {
		uint64_t now = loop_now_ns();

		if (now >= end)
			return too_late(c, limit_s, "reset", e);
		r = look_at_events(c, &seq, (int)MIN((end - now) / second + 1, WAIT_MAX_S),
				   &rebooted, e);
	}
	return r;
}

static int reboot(struct client *c, const void *unused, struct err *e)
{
	json_int_t seq = 0;
	bool before = false;
	int limit_s, r = stop_timeout(c, &limit_s, e);

	(void)unused;
	if (!r)
		r = look_at_events(c, &seq, 0, &before, e);
	if (!r)
		r = client_put(c, "vm.soft-reboot", NULL, NULL, e);
	return r ? r : wait_for_boot(c, seq, limit_s, e);
}

int reboot_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return control_each(args, reboot, NULL);
}

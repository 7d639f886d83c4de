/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM whose disk comes and goes: hotplug-host CONFIG.json IMAGE
 *
 * Adds the disk, asks the guest for it at once, resizes it, and again when it has gone, until the
 * guest powers off.  The first round is before there is a guest; later the VM is reset at one and
 * paused at two of three.  From then on events tell that the guest found the disk.  Exits with 0
 * after a guest that was content, else with 1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "config.h"
#include "events.h"
#include "machine.h"

struct host {
	struct loop *loop;
	struct machine *machine;
	struct work round;
	const char *image;
	struct events *events;
	uint64_t seq; /* of the last one looked at */
	unsigned rounds, resized;
	int status;
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "hotplug-host: %s: %s\n", what, why);
	exit(1);
}

static void ended(void *arg, int status, const char *why)
{
	struct host *h = arg;

	if (status)
		fprintf(stderr, "hotplug-host: %s\n", why);
	h->status = status;
	loop_quit(h->loop);
}

static void paused(void *arg)
{
	machine_resume(((struct host *)arg)->machine);
}

static void resized(void *arg, int result, const char *why)
{
	struct host *h = arg;

	if (result)
		fail("resize", why);
	h->resized++;
}

static bool was_found(struct host *h)
{
	char line[EVENT_BYTES_MAX];
	unsigned n = 0;

	while (events_next(h->events, &h->seq, line))
		n += strstr(line, "\"found\"") != NULL;
	return n == 1;
}

static void removed(void *arg, int result, const char *why)
{
	struct host *h = arg;

	if (result == -ECANCELED)
		return;
	if (result)
		fail("remove", why);
	if (h->resized != h->rounds)
		fail("resize", "not done when the disk has gone");
	if (!was_found(h) && h->rounds > 2)
		fail("add", "the guest gave it up and was not said to have found it");
	/* Every third disk comes while the VM is on its way to a pause. */
	if (h->rounds % 3 == 1)
		machine_pause(h->machine, paused, h);
	loop_post(h->loop, &h->round);
}

static void next_round(void *arg)
{
	struct host *h = arg;
	json_auto_t *disk = json_pack("{s:s, s:s}", "id", "guest", "path", h->image);
	struct device *dev;
	struct err e;

	if (machine_add_device(h->machine, "disks", disk, &dev, &e))
		fail("add", e.text);
	if (machine_remove_device(h->machine, dev->id, removed, h, &e))
		fail("ask", e.text);
	if (machine_resize_device(h->machine, dev->id, (32 + h->rounds) * MIB, resized, h, &e))
		fail("ask for a size", e.text);
	if (h->rounds == 1)
		machine_reset(h->machine);
	else if (h->rounds % 3 == 2) /* and every third leaves at a pause */
		machine_pause(h->machine, paused, h);
	h->rounds++;
}

int main(int argc, char **argv)
{
	struct host h = { .round = { .run = next_round, .arg = &h } };
	struct machine_hooks hooks = { .ended = ended, .arg = &h };
	struct config config;
	struct err e;
	json_t *json;

	if (argc != 3)
		return 2;
	h.image = argv[2];
	json = json_load_file(argv[1], 0, NULL);
	if (!json || config_load(&config, json, &e))
		fail(argv[1], e.text);
	if (loop_new(&h.loop, &e) || events_new(&h.events, &e))
		fail("build", e.text);
	hooks.events = h.events;
	if (machine_new(&h.machine, &config, h.loop, &hooks, &e))
		fail("build", e.text);
	loop_post(h.loop, &h.round);
	machine_start(h.machine);
	loop_run(h.loop);
	machine_free(h.machine);
	events_free(h.events);
	loop_free(h.loop);
	config_free(&config);
	json_decref(json);
	return h.status;
}

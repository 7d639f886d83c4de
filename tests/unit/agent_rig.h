/* SPDX-License-Identifier: Apache-2.0 */
/* An agent "a" that knows one of "b", without threads and sockets. */
#ifndef AGENT_RIG_H
#define AGENT_RIG_H

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "peers_internal.h"

struct agent_rig {
	struct agent agent;
	struct agent_options options;
	char dir[64];
};

static inline void agent_rig_new(struct agent_rig *rig)
{
	struct agent *a = &rig->agent;
	struct err e;

	*rig = (struct agent_rig){ .options = { .id = "a" }, .dir = "/tmp/godwit-agent.XXXXXX" };
	*a = (struct agent){ .lock = PTHREAD_MUTEX_INITIALIZER, .options = &rig->options };
	list_init(&a->vms);
	if (!mkdtemp(rig->dir))
		abort();
	a->store = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->store < 0 || settings_new(&a->settings, a->store, &e) ||
	    events_new(&a->events, &e) || peers_new(a, &e))
		abort();
	if (!peer_know(a, "b", "127.0.0.1:7"))
		abort();
}

static inline void agent_rig_free(struct agent_rig *rig)
{
	struct agent *a = &rig->agent;

	peers_free(a);
	events_free(a->events);
	settings_free(&a->settings);
	unlinkat(a->store, "peers.json", 0);
	unlinkat(a->store, "settings.json", 0);
	close(a->store);
	rmdir(rig->dir);
}

#endif

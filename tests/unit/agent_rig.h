/* SPDX-License-Identifier: Apache-2.0 */
/* An agent "a" that knows one of "b", without threads and sockets. */
#ifndef AGENT_RIG_H
#define AGENT_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "peers_internal.h"

struct agent_rig {
	struct agent agent;
	struct agent_options options;
	char dir[64];
};

static inline void agent_rig_new(struct agent_rig *rig)
{
	struct err e;

	*rig = (struct agent_rig){ .options = { .id = "a", .monitor = "/nonexistent" },
				   .dir = "/tmp/godwit-agent.XXXXXX" };
	if (!mkdtemp(rig->dir) || setenv("GODWIT_STATE_DIR", rig->dir, 1) ||
	    agent_open(&rig->agent, &rig->options, &e) || peers_new(&rig->agent, &e) ||
	    !peer_know(&rig->agent, "b", "127.0.0.1:7"))
		abort();
}

static inline void agent_rig_free(struct agent_rig *rig)
{
	char command[80];

	agent_close(&rig->agent);
	snprintf(command, sizeof(command), "rm -r %s", rig->dir);
	if (system(command))
		abort();
}

#endif

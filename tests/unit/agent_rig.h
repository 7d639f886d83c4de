/* SPDX-License-Identifier: Apache-2.0 */
/* An agent "a" that knows one of "b", without threads and sockets. */
#ifndef AGENT_RIG_H
#define AGENT_RIG_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "peers_internal.h"

struct agent_rig {
	struct agent agent;
	struct agent_options options;
	char dir[256];
};

static inline void agent_rig_new(struct agent_rig *rig)
{
	const char *tmp = getenv("TMPDIR");
	struct err e;

	*rig = (struct agent_rig){ .options = { .id = "a", .monitor = "/nonexistent" } };
	snprintf(rig->dir, sizeof(rig->dir), "%s/godwit-agent.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(rig->dir) || setenv("GODWIT_STATE_DIR", rig->dir, 1) ||
	    agent_open(&rig->agent, &rig->options, &e) || peers_new(&rig->agent, &e) ||
	    !peer_know(&rig->agent, "b", "127.0.0.1:7"))
		abort();
}

static inline int agent_rig_remove(const char *path, const struct stat *st, int kind,
				   struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

static inline void agent_rig_free(struct agent_rig *rig)
{
	agent_close(&rig->agent);
	if (nftw(rig->dir, agent_rig_remove, 8, FTW_DEPTH | FTW_PHYS))
		abort();
}

#endif

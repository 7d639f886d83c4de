/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's API: HTTP and JSON on the Unix socket ".agent.sock" in the run directory, mode 0600.
 * All of it is on main, with the lock.  A refusal is a JSON array of sentences, as the monitor's.
 */
#ifndef ROUTES_H
#define ROUTES_H

#include "agent.h"
#include "server.h"

#define AGENT_SOCKET ".agent.sock"

void routes_begin(struct agent *);
void routes_end(struct agent *); /* whoever waits is answered */

/* Of the server (server.h); arg: the agent. */
void routes_handle(void *arg, struct request *);
void routes_gone(void *arg, struct request *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of the monitor that this agent starts.  They outlive it: each has a session of its own,
 * nothing of the agent's but its environment, and writes to files in the store: its words to
 * NAME.log (the one before is NAME.log.1) and its events to NAME.events, which tells an agent
 * that comes later how it ended.  Under the agent's lock.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include "agent.h"
#include "restart.h"

struct processes;

int processes_new(struct processes **, struct agent *, struct err *);
void processes_free(struct processes *); /* they go on; NULL is fine */

/*
 * "godwit WORDS...", words ending with NULL: "run" and its options, to which --event-monitor is
 * added.  One at a time for each name.  supervise_ended() is called when it is over.
 */
int process_start(struct agent *, const char *name, const char *const words[], pid_t *,
		  struct err *);
/* A file in the store that it may be told to read; -errno. */
int process_file(struct agent *, const char *name, const json_t *, char path[AGENT_PATH_MAX],
		 struct err *);

/* Of one that this agent started: whether it is over, and how, as wait(2) has it. */
bool process_is_over(struct agent *, pid_t, int *status);
/* Which process of that name an agent started last since this host booted; 0: none. */
pid_t process_last(struct agent *, const char *name);
/* What that one left: its last line, "" if it wrote none, and the last event of its VM. */
void process_words(struct agent *, const char *name, char *line, size_t size);
enum last_event process_event(struct agent *, const char *name, char *reason, size_t size);

/* Files that have become too long begin anew. */
void process_trim(struct agent *, const char *name);
/* Removes its files: its VM is none of this host's any more. */
void process_forget(struct agent *, const char *name);

#endif

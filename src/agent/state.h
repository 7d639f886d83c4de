/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent says of its host, to other agents and to whoever asks:
 *
 *	{"id", "at", "host": RECORD, "vms": [{"record": RECORD, "state", "uuid", ...}],
 *	 "flights": [...], "reservations": [...]}
 *
 * To others it adds "hears", "knows" and "settings" (peers_state.h).  RECORDs are those of the
 * planner's snapshots (include/planner/snapshot.h), which reads them with all due distrust; so what
 * another agent says is only passed on here.  Under the agent's lock.
 */
#ifndef STATE_H
#define STATE_H

#include <stdio.h>

#include "agent.h"
#include "planner/model.h"

/* Of this host: a new reference, or NULL: out of memory. */
json_t *state_own(const struct agent *);

/* Of all hosts: the snapshot that is planned, as text, and what status shows. */
void state_snapshot(const struct agent *, FILE *);
json_t *state_status(const struct agent *);
/* That snapshot, read.  Without the lock; to be freed in any case. */
int state_read(struct agent *, struct snapshot *, struct err *);

/* The host that says it runs that VM; good as long as the lock is held; NULL: none. */
const char *state_host_of(const struct agent *, const char *vm);

#endif

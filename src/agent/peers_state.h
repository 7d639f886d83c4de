/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agents tell each other of their hosts: that of state.h, and beside it
 *
 *	{"hears": [ID, ...], "knows": {ID: "HOST:PORT", ...}, "settings": {...}}
 *
 * whom it heard within three intervals, where agents are that it knows, and settings.h's entries.
 */
#ifndef PEERS_STATE_H
#define PEERS_STATE_H

#include "agent.h"

struct peer;

/* {"state": {...}} of this host; under the lock.  NULL: out of memory. */
json_t *peers_state_message(const struct agent *);

/* A question_handler: parts that make no sense are left out, and said. */
int peers_take_state(struct agent *, const char *from, const json_t *body, json_t **answer,
		     struct err *);

/* Seconds from one state to the next; under the lock. */
double peers_interval_s(const struct agent *);

/* Under the lock: whether it told its state within the last three intervals. */
bool peer_is_heard(const struct agent *, const struct peer *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all agents agree on: the mode, values of the policy, and what a person said of hosts.
 * Each setting has the time at which it was made and the agent that was told it; of two the newer
 * counts (of the same time that of the greater id), so that agents that hear from each other have
 * the same in the end, in whatever order.  Keys: "mode", "policy.KEY", "host.ID" (up, draining or
 * maintenance).  Under the agent's lock.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "pace.h"
#include "planner/model.h"

enum { AGENT_KEY_MAX = 80 };

struct settings {
	json_t *entries; /* {KEY: {"value", "at", "by"}} */
	struct policy policy; /* with what they say of it */
	struct pace pace; /* of lines about what others say */
};

int settings_new(struct settings *, int store, struct err *); /* as they were kept */
void settings_free(struct settings *);

/* -EINVAL: there is no such setting, or it cannot have that value.  Kept in the store. */
int settings_set(struct settings *, int store, const char *key, const json_t *value, const char *by,
		 struct err *);
/*
 * What another agent has: newer entries are taken, and those that make no sense, or come from the
 * future, are not.  Returns whether anything changed.
 */
bool settings_merge(struct settings *, int store, const json_t *entries, uint64_t now);

/* "recommend" if nobody said anything. */
const char *settings_mode(const struct settings *);
json_t *settings_policy_json(const struct settings *); /* what is not as it is by itself */
const char *settings_host(const struct settings *, const char *id); /* "up" if nobody did */

#endif

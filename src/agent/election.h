/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which agent plans for all of them.  There is no vote: each agent reckons it from who hears whom,
 * and with the same reports each comes to the same.  It is the lowest id among those that hear all
 * others and that all others hear.  Hosts in maintenance do not count, so that a person can take
 * out one that is dead; as long as anyone else is not heard, nobody plans, for it may run on where
 * it is and plan there.  Pure.
 */
#ifndef ELECTION_H
#define ELECTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* An agent as it is known here. */
struct election_host {
	const char *id;
	bool maintenance;
	bool fresh; /* it was heard here not long ago */
	const json_t *hears; /* ids, as it said then; of the own host not looked at */
};

struct election {
	const char *planner; /* one of the ids; NULL: nobody, or nobody that this host could tell */
	char why[512]; /* there is none, a sentence; else "" */
};

/* host[0] is the own one.  unmet: an address where an agent should be and never was met; NULL. */
void election_hold(struct election *, const struct election_host *host, size_t n,
		   const char *unmet);

#endif

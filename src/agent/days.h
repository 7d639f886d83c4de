/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the days of the VMs of this host go (daily.h).  It goes with a VM to its next host.  Kept in
 * the store; under the agent's lock.
 */
#ifndef DAYS_H
#define DAYS_H

#include "agent.h"

struct daily;
struct days;

int days_new(struct days **, int store, struct err *);
void days_free(struct days *); /* NULL is fine */

/* So many cores for the seconds before now. */
void days_add(struct days *, const char *vm, uint64_t now, double cores, double seconds);
/* Borrowed; NULL: nothing is known. */
const struct daily *days_of(const struct days *, const char *vm);
/* What came with it, instead of what was known; NULL, or it has gone to another host: nothing. */
void days_set(struct days *, const char *vm, const struct daily *);
/* Writes what whole hours have been added, and forgets VMs of which nothing has been heard. */
void days_keep(struct days *, uint64_t now);

#endif

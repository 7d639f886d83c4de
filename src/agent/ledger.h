/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room that this host keeps for VMs to come.  Whoever sends one asks first; the answer depends on
 * what is here at that time and on all other reservations, not on what a planner believed.  A
 * reservation counts from then on until its VM is here, or it is given back, or it expires.
 *
 * Pure but for the random token; under the agent's lock.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "list.h"

enum { LEDGER_EXPIRES_S = 30 };

struct reservation_request {
	const char *vm, *from; /* its name, and the host that it is on */
	uint64_t memory, resident; /* bytes: it may have, and has */
	uint64_t vcpus;
};

/* What is here at this time. */
struct ledger_view {
	const char *state; /* of this host, as a person said: "up", or it takes none */
	bool known; /* all VMs have been asked how much they have */
	uint64_t memory, reserve, available; /* bytes of the host */
	uint64_t committed; /* bytes that VMs of this host may have */
	bool has_vm; /* a VM of that name is here */
	double in_max; /* that may come at once */
};

struct reservation_entry {
	struct list node;
	char token[37], vm[65], from[65];
	uint64_t memory, resident, vcpus;
	uint64_t until; /* seconds since 1970; it does not expire while its VM arrives */
	bool arrives;
};

struct ledger {
	struct list entries;
};

void ledger_init(struct ledger *);
void ledger_free(struct ledger *);

/* -EBUSY with why not; -ENOMEM. */
int ledger_reserve(struct ledger *, const struct ledger_view *, const struct reservation_request *,
		   uint64_t now, const struct reservation_entry **, struct err *);
struct reservation_entry *ledger_find(struct ledger *, const char *token);
/* NULL is fine. */
void ledger_release(struct reservation_entry *);
/* Its time is over, and nothing has begun to come. */
bool ledger_has_expired(const struct reservation_entry *, uint64_t now);

#endif

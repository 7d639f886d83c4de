/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hand-over touches on a real host (handover_ops): the writable disks of the VM with their
 * locks and owner records, the journal of one role, and the lease, if the VM has one.
 */
#ifndef HANDOVER_DISKS_H
#define HANDOVER_DISKS_H

#include "handover.h"

struct vm;

/* The caller's, and what it points to is too. */
struct handover_disks {
	struct vm *vm; /* its list of disks stays as it is meanwhile */
	const char *uuid; /* of the VM */
	struct journal *journal;
	/* As in handover_ops; NULL: there is no lease. */
	int (*lease_take)(void *arg, const struct handover_id *, struct err *);
	int (*lease_who)(void *arg, const struct handover_id *, struct err *);
	void *lease_arg;
};

extern const struct handover_ops handover_disks_ops; /* ctx: struct handover_disks */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hand-over touches on a real host (handover_ops): the writable disks of the VM with their
 * locks and owner records, the journal of one role, and the lease, if the VM has one.  The file by
 * which processes of one host exclude each other from a lease is taken and let go with the locks.
 */
#ifndef HANDOVER_DISKS_H
#define HANDOVER_DISKS_H

#include "handover.h"

struct vm;

/* The caller's, and what it points to is too. */
struct handover_disks {
	/* Its list of disks and its lease stay as they are meanwhile.  NULL: what needs them fails,
	 * the journal can be asked. */
	struct vm *vm;
	const char *uuid; /* of the VM */
	struct journal *journal;
};

extern const struct handover_ops handover_disks_ops; /* ctx: struct handover_disks */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a VM may begin to run here, and the owner records and the lease that say that it does.
 * Called on main with the disks locked, before the first vCPU runs of a machine that was built cold
 * or from a snapshot, and before one goes on after a snapshot of it; one whose guest comes from
 * elsewhere has its hand-over instead (docs/handover.md).
 */
#ifndef OWNERSHIP_H
#define OWNERSHIP_H

#include "err.h"

struct vm;

/* -EBUSY: the VM or one of its disks was offered or given to another host, or another has the
 * lease. */
int ownership_begin(struct vm *, const char *uuid, struct err *);
/* The same of a disk that was added since; nothing if the device is no disk. */
int ownership_add(struct vm *, const char *uuid, const char *id, struct err *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lease of a VM: the arbiter that a cluster brings, for VMs whose disks have no lock that is
 * proven.  A server behind a Unix socket knows of each VM a generation and who holds it; what it is
 * asked and answers is in docs/handover.md.  Nobody runs on an answer that is not known.
 *
 * A lease is held by one process, or was; only this host may start anew what it held.  Processes
 * of one host exclude each other by a file that they lock for as long as their VM runs.
 *
 * Asking blocks, for LEASE_TIMEOUT_MS at most: on a migration's thread, and on main before a VM
 * runs.  One thread at a time.
 */
#ifndef LEASE_H
#define LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum { LEASE_TIMEOUT_MS = 2000, LEASE_HOLDER_MAX = 160 };

struct lease;

struct lease_holder {
	uint64_t generation; /* 0: nobody ever had it */
	char name[LEASE_HOLDER_MAX]; /* HOST/PLACE/PROCESS; "-": it was freed */
};

int lease_check_url(const char *url, struct err *); /* -EINVAL: it is not unix:PATH */
/* Asks nothing yet.  uuid: of the VM. */
int lease_new(struct lease **, const char *url, const char *uuid, struct err *);
void lease_free(struct lease *); /* lets go of this host's file; NULL is fine */

/* For a process that may still lose the VM to another one: as whom it takes the lease.  Else it is
 * somebody whom nobody can be taken for. */
void lease_name(struct lease *, const char *session);

/* The file by which processes of this host exclude each other; nothing if it is held.
 * -EAGAIN: another has it. */
int lease_lock(struct lease *, struct err *);
void lease_let_go(struct lease *);

/* Before a VM runs that does not come from elsewhere: the next generation, and the file; nothing if
 * the file is held.  -EBUSY: another host has the lease, or another process here. */
int lease_begin(struct lease *, struct err *);
/* The holder makes the generation at least this one; *generation: what it is.  -ESTALE: another
 * holds the lease. */
int lease_raise(struct lease *, uint64_t *generation, struct err *);

/* 1: the lease is this process's; 0: it is another's; -errno: unknown, and it may be this one's. */
int lease_take(struct lease *, uint64_t generation, struct err *);
int lease_who(struct lease *, struct lease_holder *, struct err *);
/* Whether that is a process of this host which was named so. */
bool lease_is(const struct lease *, const struct lease_holder *, const char *session);

#endif

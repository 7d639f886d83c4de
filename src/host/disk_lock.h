/* SPDX-License-Identifier: Apache-2.0 */
/* The lock that keeps two VMs from one disk, and who holds it when it is taken. */
#ifndef DISK_LOCK_H
#define DISK_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* At once; -EAGAIN: somebody else has them; -errno: no lock can be had there. */
int disk_try_lock(int fd, uint64_t size_bytes, bool readonly);
int disk_cannot_lock(int code, const char *path, struct err *); /* the sentence for the latter */
/* Lock bytes [0, size) of fd, shared if readonly; -EAGAIN: somebody else has them. */
int disk_lock(int fd, const char *path, uint64_t size_bytes, bool readonly, struct err *);
void disk_unlock(int fd); /* also if it is not locked */
bool disk_is_locked(const char *path); /* by a process that this user can see */
/* -EBUSY: the sentence for a block device that the host itself, or a VM, uses. */
int disk_busy(const char *path, struct err *);

#endif

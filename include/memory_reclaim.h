/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel take memory from a process, for it to have back when it touches it: from the
 * cgroup of version 2 in which it is alone, by memory.reclaim, which this process may write.
 *
 * Any thread.
 */
#ifndef MEMORY_RECLAIM_H
#define MEMORY_RECLAIM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* root: "" or where a test has a tree of its own.  False: it has no such cgroup. */
bool memory_reclaim_find(const char *root, pid_t, char folder[PATH_MAX]);
/* Waits for the swap.  *took: what the cgroup has less, also if the kernel could not take all. */
int memory_reclaim(const char *folder, uint64_t bytes, uint64_t *took);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the processes of this one's own control group (cgroup v2) were held up for want of a
 * processor, memory or a disk: Linux, Documentation/accounting/psi.rst.  Of a group that is the
 * whole host's, or shared by all of a container, nothing is said.
 *
 * One thread at a time.
 */
#ifndef PRESSURE_H
#define PRESSURE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum pressure_kind {
	PRESSURE_CPU_SOME, /* some of its threads waited */
	PRESSURE_MEMORY_SOME,
	PRESSURE_MEMORY_FULL, /* all that had anything to do */
	PRESSURE_IO_FULL,
	PRESSURE_KINDS,
};

struct pressure {
	uint64_t stalled_ns[PRESSURE_KINDS]; /* since the group was made */
	uint32_t avg10[PRESSURE_KINDS]; /* of the last ten seconds, in hundredths of a percent */
};

struct pressure_group {
	const char *root; /* "" or where a test has a tree of its own */
	char path[PATH_MAX]; /* as /proc/self/cgroup has it; "": it was not looked for yet */
	char folder[PATH_MAX]; /* where it is mounted; "": nowhere, or it is not its own */
};

/* False: there is no such group, or its host does not say.  What cannot be read of it is 0. */
bool pressure_read(struct pressure_group *, struct pressure *);

#endif

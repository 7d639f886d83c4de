/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_reclaim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bits.h"
#include "cgroup.h"

bool memory_reclaim_find(const char *root, pid_t pid, char folder[PATH_MAX])
{
	char path[PATH_MAX + 32];

	if (!cgroup_of_own(root, pid, NULL, folder))
		return false;
	snprintf(path, sizeof(path), "%s/memory.reclaim", folder);
	return !access(path, W_OK);
}

static uint64_t held(const char *folder)
{
	char text[CGROUP_TEXT_BYTES];
	uint64_t bytes;

	return cgroup_read(folder, "memory.current", text) && sscanf(text, "%" SCNu64, &bytes) == 1
		       ? bytes
		       : 0;
}

int memory_reclaim(const char *folder, uint64_t bytes, uint64_t *took)
{
	uint64_t before = held(folder);
	char text[CGROUP_TEXT_BYTES];
	int r;

	snprintf(text, sizeof(text), "%" PRIu64, bytes);
	r = cgroup_write(folder, "memory.reclaim", text);
	*took = before - MIN(held(folder), before);
	return r == -EAGAIN ? 0 : r;
}

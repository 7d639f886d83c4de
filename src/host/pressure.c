/* SPDX-License-Identifier: Apache-2.0 */
#include "pressure.h"

#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "cleanup.h"

enum { NS_PER_US = 1000 };

static const struct {
	const char *file, *word;
} kinds[] = {
	[PRESSURE_CPU_SOME] = { "cpu.pressure", "some" },
	[PRESSURE_MEMORY_SOME] = { "memory.pressure", "some" },
	[PRESSURE_MEMORY_FULL] = { "memory.pressure", "full" },
	[PRESSURE_IO_FULL] = { "io.pressure", "full" },
};

static void find_folder(struct pressure_group *g)
{
	/* The root is that of the host, or of a container. */
	if (!cgroup_folder(g->root, NULL, g->path, g->folder) ||
	    (!strcmp(g->path, "/") && !cgroup_is_alone(g->folder, 0)))
		g->folder[0] = '\0';
}

/* "some avg10=0.12 avg60=0.34 avg300=0.56 total=789" */
static bool take_line(struct pressure *p, enum pressure_kind kind, const char *line)
{
	unsigned percent, hundredths;
	unsigned long long total_us;
	size_t n = strlen(kinds[kind].word);

	if (strncmp(line, kinds[kind].word, n) ||
	    sscanf(line + n, " avg10=%u.%2u avg60=%*s avg300=%*s total=%llu", &percent, &hundredths,
		   &total_us) != 3)
		return false;
	p->avg10[kind] = percent * 100 + hundredths;
	p->stalled_ns[kind] = total_us * NS_PER_US;
	return true;
}

static bool read_kind(const struct pressure_group *g, struct pressure *p, enum pressure_kind kind)
{
	CLEANUP(file) FILE *f = cgroup_open(g->folder, kinds[kind].file);
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (take_line(p, kind, line))
			return true;
	return false;
}

/* It may be moved to another group at any time; mounts stay. */
bool pressure_read(struct pressure_group *g, struct pressure *out)
{
	char path[PATH_MAX];
	bool any = false;

	*out = (struct pressure){ 0 };
	if (!cgroup_path(g->root, 0, NULL, path))
		return false;
	if (strcmp(path, g->path)) {
		strcpy(g->path, path);
		find_folder(g);
	}
	for (enum pressure_kind k = 0; g->folder[0] && k < PRESSURE_KINDS; k++)
		any |= read_kind(g, out, k);
	return any;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pressure.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"

enum { LINE_MAX_BYTES = 2 * PATH_MAX, NS_PER_US = 1000 };

static const struct {
	const char *file, *word;
} kinds[] = {
	[PRESSURE_CPU_SOME] = { "cpu.pressure", "some" },
	[PRESSURE_MEMORY_SOME] = { "memory.pressure", "some" },
	[PRESSURE_MEMORY_FULL] = { "memory.pressure", "full" },
	[PRESSURE_IO_FULL] = { "io.pressure", "full" },
};

static FILE *open_in(const char *folder, const char *file)
{
	char path[LINE_MAX_BYTES];

	return (size_t)snprintf(path, sizeof(path), "%s/%s", folder, file) < sizeof(path)
		       ? fopen(path, "re")
		       : NULL;
}

/* Of cgroup v2: the line "0::PATH". */
static bool find_path(const struct pressure_group *g, char path[PATH_MAX])
{
	CLEANUP(file) FILE *f = open_in(g->root, "proc/self/cgroup");
	char line[LINE_MAX_BYTES];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = '\0';
		return (size_t)snprintf(path, PATH_MAX, "%s", line + 3) < PATH_MAX;
	}
	return false;
}

/* "36 35 0:31 ROOT MOUNTPOINT rw,noatime - cgroup2 cgroup2 rw": what below ROOT is the group, if it
 * is there at all.  A mount of a part of the tree shows that part only. */
static bool take_mount(struct pressure_group *g, const char *line)
{
	const char *type = strstr(line, " - cgroup2 "), *rest = g->path;
	char root[PATH_MAX], at[PATH_MAX];
	size_t n;

	if (!type || sscanf(line, "%*s %*s %*s %4095s %4095s", root, at) != 2)
		return false;
	n = strcmp(root, "/") ? strlen(root) : 0;
	if (strncmp(rest, root, n) || (rest[n] && rest[n] != '/'))
		return false;
	return (size_t)snprintf(g->folder, sizeof(g->folder), "%s%s%s", g->root, at, rest + n) <
	       sizeof(g->folder);
}

static bool is_alone(const char *folder)
{
	CLEANUP(file) FILE *f = open_in(folder, "cgroup.procs");
	int pid, other;

	return f && fscanf(f, "%d %d", &pid, &other) == 1 && pid == (int)getpid();
}

static void find_folder(struct pressure_group *g)
{
	CLEANUP(file) FILE *f = open_in(g->root, "proc/self/mountinfo");
	char line[LINE_MAX_BYTES];
	bool found = false;

	while (!found && f && fgets(line, sizeof(line), f))
		found = take_mount(g, line);
	/* The root is that of the host, or of a container. */
	if (!found || (!strcmp(g->path, "/") && !is_alone(g->folder)))
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
	CLEANUP(file) FILE *f = open_in(g->folder, kinds[kind].file);
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
	if (!find_path(g, path))
		return false;
	if (strcmp(path, g->path)) {
		strcpy(g->path, path);
		find_folder(g);
	}
	for (enum pressure_kind k = 0; g->folder[0] && k < PRESSURE_KINDS; k++)
		any |= read_kind(g, out, k);
	return any;
}

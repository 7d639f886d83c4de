/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu_weight.h"

#include <errno.h>
#include <stdio.h>

#include "bits.h"
#include "cgroup.h"

/* Linux, Documentation/admin-guide/cgroup-v2.rst and kernel/sched/sched.h */
static const struct {
	const char *controller, *file;
	double one, min, max;
} kinds[] = {
	{ NULL, "cpu.weight", 100, 1, 10000 },
	{ "cpu", "cpu.shares", 1024, 2, 1 << 18 },
};

const char *cpu_weight_file(const struct cpu_weight *w)
{
	return kinds[w->v1].file;
}

static bool read_value(const struct cpu_weight *w, unsigned *value)
{
	char text[CGROUP_TEXT_BYTES];

	return cgroup_read(w->dir, cpu_weight_file(w), text) && sscanf(text, "%u", value) == 1;
}

static int write_value(const struct cpu_weight *w, unsigned value)
{
	char text[CGROUP_TEXT_BYTES];

	snprintf(text, sizeof(text), "%u", value);
	return cgroup_write(w->dir, cpu_weight_file(w), text);
}

static bool hold(struct cpu_weight *w, pid_t pid)
{
	const char *root = w->root ? w->root : "";

	for (unsigned v1 = 0; v1 < 2 && !w->held; v1++) {
		w->v1 = v1;
		w->held = cgroup_of_own(root, pid, kinds[v1].controller, w->dir) &&
			  read_value(w, &w->was);
	}
	return w->held;
}

int cpu_weight_set(struct cpu_weight *w, pid_t pid, double weight)
{
	double value;
	int r;

	if (!hold(w, pid))
		return -ENOENT;
	value = kinds[w->v1].one * weight + 0.5;
	w->set = (unsigned)MIN(MAX(value, kinds[w->v1].min), kinds[w->v1].max);
	r = w->set == w->was ? -EALREADY : write_value(w, w->set);
	w->held = !r;
	return r;
}

void cpu_weight_put_back(struct cpu_weight *w)
{
	unsigned now;

	if (w->held && read_value(w, &now) && now == w->set)
		write_value(w, w->was);
	w->held = false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What part of the processors the kernel gives a process when others want them, too, where it is
 * alone in a cgroup which this process may write: cpu.weight of version 2, cpu.shares of version 1.
 *
 * One thread at a time.  Zeroed: nothing is set.
 */
#ifndef CPU_WEIGHT_H
#define CPU_WEIGHT_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct cpu_weight {
	const char *root; /* NULL: /.  Tests have a tree of their own. */
	bool held; /* all below is of the cgroup at dir */
	bool v1;
	char dir[PATH_MAX];
	unsigned was, set;
};

const char *cpu_weight_file(const struct cpu_weight *); /* of the cgroup that is held */
/* Of one that holds nothing.  1 is what each has of whom nothing is said.  -ENOENT: the process has
 * no such cgroup; -EALREADY: it is so, and nothing is held; or another -errno. */
int cpu_weight_set(struct cpu_weight *, pid_t, double weight);
/* As it was, unless somebody else has set it since. */
void cpu_weight_put_back(struct cpu_weight *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "pins.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

/* What is done with each thread that is pinned; false: it is not as it should be. */
typedef bool (*each_fn)(void *arg, pid_t tid, const cpu_set_t *own);

static void add(const json_t *entry, cpu_set_t *own)
{
	const json_t *cpu;
	size_t i;

	json_array_foreach(json_object_get(entry, "host_cpus"), i, cpu)
	{
		json_int_t n = json_integer_value(cpu);

		if (n >= 0 && n < CPU_SETSIZE)
			CPU_SET((size_t)n, own);
	}
}

void pins_add(const json_t *affinity, cpu_set_t *own)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(affinity, i, entry) add(entry, own);
}

/* The entry of the thread, which is that of a vCPU. */
static const json_t *find_entry(pid_t pid, pid_t tid, const json_t *affinity)
{
	char path[64], name[16] = "";
	CLEANUP(file) FILE *f = NULL;
	const json_t *entry;
	unsigned vcpu;
	size_t i;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (!f || !fgets(name, sizeof(name), f) || sscanf(name, "vcpu%u", &vcpu) != 1)
		return NULL;
	json_array_foreach(affinity, i, entry)
	{
		if (json_integer_value(json_object_get(entry, "vcpu")) == (json_int_t)vcpu)
			return entry;
	}
	return NULL;
}

static bool each_thread(pid_t pid, const json_t *affinity, each_fn each, void *arg)
{
	const struct dirent *d;
	size_t found = 0;
	char task[32];
	DIR *dir;

	snprintf(task, sizeof(task), "/proc/%d/task", (int)pid);
	dir = opendir(task);
	while (dir && (d = readdir(dir))) {
		pid_t tid = (pid_t)atoi(d->d_name);
		const json_t *entry = find_entry(pid, tid, affinity);
		cpu_set_t own;

		if (!entry)
			continue;
		CPU_ZERO(&own);
		add(entry, &own);
		found += each(arg, tid, &own);
	}
	if (dir)
		closedir(dir);
	return found && found == json_array_size(affinity);
}

/* One that could not be pinned when it came to this host is left alone. */
static bool read_one(void *arg, pid_t tid, const cpu_set_t *own)
{
	struct pins *pins = arg;
	cpu_set_t now, both, more;

	CPU_ZERO(&now);
	if (sched_getaffinity(tid, sizeof(now), &now))
		return false;
	CPU_AND(&both, &now, own);
	CPU_XOR(&more, &now, &both);
	CPU_OR(&pins->lent, &pins->lent, &more);
	pins->vcpus++;
	return CPU_EQUAL(&both, own);
}

bool pins_read(pid_t pid, const json_t *affinity, struct pins *pins)
{
	*pins = (struct pins){ .vcpus = 0 };
	return each_thread(pid, affinity, read_one, pins);
}

static bool lend_one(void *arg, pid_t tid, const cpu_set_t *own)
{
	cpu_set_t all;

	CPU_OR(&all, own, (const cpu_set_t *)arg);
	return !sched_setaffinity(tid, sizeof(all), &all);
}

bool pins_lend(pid_t pid, const json_t *affinity, const cpu_set_t *lent)
{
	cpu_set_t wanted = *lent;
	struct pins now;

	return each_thread(pid, affinity, lend_one, &wanted) && pins_read(pid, affinity, &now) &&
	       CPU_EQUAL(&now.lent, lent);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "host_view.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"

#define NS_PER_S 1e9

static FILE *open_below(const char *root, const char *path)
{
	char whole[512];

	if (snprintf(whole, sizeof(whole), "%s%s", root, path) >= (int)sizeof(whole))
		return NULL;
	return fopen(whole, "re");
}

/* user nice system idle iowait irq softirq steal; guest time is part of user (proc(5)). */
static bool read_ticks(const char *numbers, struct cpu_ticks *out)
{
	unsigned long long t[8];

	if (sscanf(numbers, "%llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
		   &t[4], &t[5], &t[6], &t[7]) != 8)
		return false;
	*out = (struct cpu_ticks){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		out->all += t[i];
	out->busy = out->all - t[3] - t[4];
	return true;
}

/* The first line is that of all. */
static void read_all_ticks(struct host_reading *r, const char *root)
{
	CLEANUP(file) FILE *f = open_below(root, "/proc/stat");
	struct cpu_ticks t;
	char line[256];

	if (!f || !fgets(line, sizeof(line), f) || strncmp(line, "cpu ", 4) ||
	    !read_ticks(line + 4, &t))
		return;
	r->busy_ticks = t.busy;
	r->all_ticks = t.all;
}

void host_read_cpus(struct cpu_ticks *cpus, unsigned n, const char *root)
{
	CLEANUP(file) FILE *f = open_below(root, "/proc/stat");
	char line[256];
	unsigned cpu;
	int at;

	memset(cpus, 0, n * sizeof(*cpus));
	while (f && fgets(line, sizeof(line), f) && !strncmp(line, "cpu", 3))
		if (sscanf(line, "cpu%u %n", &cpu, &at) == 1 && cpu < n)
			read_ticks(line + at, &cpus[cpu]);
}

unsigned host_node_of(unsigned cpu, const char *root)
{
	const struct dirent *d;
	unsigned node = 0;
	char path[512];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/cpu%u", root, cpu);
	dir = opendir(path);
	while (dir && (d = readdir(dir)) && sscanf(d->d_name, "node%u", &node) != 1)
		;
	if (dir)
		closedir(dir);
	return node;
}

static void read_memory(struct host_reading *r, const char *root)
{
	CLEANUP(file) FILE *f = open_below(root, "/proc/meminfo");
	unsigned long long kib;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu", &kib) == 1)
			r->memory = kib * KIB;
		else if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			r->available = kib * KIB;
		else if (sscanf(line, "SwapFree: %llu", &kib) == 1)
			r->swap = kib * KIB;
	}
}

/* The average over ten seconds on the line of that kind. */
static double read_pressure(const char *root, const char *path, const char *kind)
{
	CLEANUP(file) FILE *f = open_below(root, path);
	char line[128], word[8];
	double percent;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%7s avg10=%lf", word, &percent) == 2 && !strcmp(word, kind))
			return percent / 100;
	return 0;
}

void host_read(struct host_reading *r, const char *root)
{
	*r = (struct host_reading){ .now_ns = loop_now_ns(),
				    .cores = (double)sysconf(_SC_NPROCESSORS_ONLN) };
	read_all_ticks(r, root);
	read_memory(r, root);
	r->psi_cpu = read_pressure(root, "/proc/pressure/cpu", "some");
	r->psi_mem = read_pressure(root, "/proc/pressure/memory", "some");
	r->psi_io = read_pressure(root, "/proc/pressure/io", "full");
}

/* Cores that VMs were busy on since the last look, and bytes that they have. */
static void of_vms(struct agent *a, double *cores, uint64_t *resident)
{
	struct agent_vm *vm;

	*cores = 0;
	*resident = 0;
	list_for_each (vm, &a->vms, node) {
		*cores += vm->signals.run_now * (double)vm->vcpus;
		*resident += vm->resident;
	}
}

static double busy_share(const struct agent *a, const struct host_reading *r, double vm_cores)
{
	const struct agent_host *h = &a->host;
	double share = 0;

	if (a->options->cores > 0)
		share = vm_cores / a->options->cores;
	else if (h->last.all_ticks && r->all_ticks > h->last.all_ticks)
		share = (double)(r->busy_ticks - h->last.busy_ticks) /
			(double)(r->all_ticks - h->last.all_ticks);
	return share > 1 ? 1 : share < 0 ? 0 : share;
}

void host_view_add(struct agent *a, const struct host_reading *r, double window_s)
{
	const struct agent_options *o = a->options;
	struct agent_host *h = &a->host;
	double cores, elapsed = h->last.now_ns ? (double)(r->now_ns - h->last.now_ns) : 0;
	uint64_t resident;

	of_vms(a, &cores, &resident);
	h->at = agent_now();
	h->cores = o->cores > 0 ? o->cores : r->cores;
	h->memory = o->memory ? o->memory : r->memory;
	h->available = r->available;
	if (o->memory)
		h->available = resident < o->memory ? o->memory - resident : 0;
	if (h->available > r->available)
		h->available = r->available; /* whatever was promised, it is not there */
	h->psi_cpu = r->psi_cpu;
	h->psi_mem = r->psi_mem;
	h->psi_io = r->psi_io;
	if (!h->last.now_ns)
		h->window_ns = r->now_ns;
	else
		h->use_now = busy_share(a, r, cores);
	h->use_ns += h->use_now * elapsed;
	h->last = *r;
	elapsed = (double)(r->now_ns - h->window_ns);
	if (elapsed >= 0.95 * window_s * NS_PER_S) {
		windows_push(&h->use, h->use_ns / elapsed);
		h->use_ns = 0;
		h->window_ns = r->now_ns;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "host_view.h"

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
static void read_ticks(struct host_reading *r, const char *root)
{
	CLEANUP(file) FILE *f = open_below(root, "/proc/stat");
	unsigned long long t[8];

	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2],
			 &t[3], &t[4], &t[5], &t[6], &t[7]) != 8)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		r->all_ticks += t[i];
	r->busy_ticks = r->all_ticks - t[3] - t[4];
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
	read_ticks(r, root);
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

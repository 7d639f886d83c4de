/* SPDX-License-Identifier: Apache-2.0 */
#include "inventory.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "days.h"
#include "past.h"
#include "rundir.h"
#include "supervise.h"

static void remove_vm(struct agent_vm *vm)
{
	if (vm->died.fd >= 0) {
		loop_unwatch(vm->agent->loop, &vm->died);
		close(vm->died.fd);
	}
	list_remove(&vm->node);
	json_decref(vm->config);
	free(vm);
}

static void gone(struct agent_vm *vm)
{
	struct agent *a = vm->agent;
	const pid_t pid = vm->pid;
	char name[sizeof(vm->name)];

	memcpy(name, vm->name, sizeof(name));
	agent_say(a, "vm-gone", name, "its process %d is gone", (int)pid);
	remove_vm(vm);
	supervise_ended(a, name, pid);
}

static void on_death(void *arg, uint32_t events)
{
	(void)events;
	gone(arg);
}

void inventory_remove(struct agent *a, const char *name, pid_t pid)
{
	struct agent_vm *vm = agent_vm(a, name);

	if (vm && vm->pid == pid)
		remove_vm(vm);
}

static struct agent_vm *add_vm(struct agent *a, const char *name, pid_t pid)
{
	struct agent_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->agent = a;
	vm->pid = pid;
	vm->found_at = agent_now();
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	vm->died = (struct watch){ .fd = (int)syscall(SYS_pidfd_open, pid, 0),
				   .ready = on_death,
				   .arg = vm };
	if (vm->died.fd < 0 && errno == ESRCH) {
		free(vm); /* gone since it answered */
		return NULL;
	}
	if (vm->died.fd >= 0)
		loop_watch(a->loop, &vm->died, EPOLLIN);
	list_append(&a->vms, &vm->node);
	agent_say(a, "vm-found", name, "process %d runs it", (int)pid);
	return vm;
}

void inventory_begin(struct agent *a)
{
	struct agent_vm *vm;

	list_for_each (vm, &a->vms, node)
		vm->seen = false;
}

void inventory_end(struct agent *a)
{
	struct list *node = a->vms.next;

	while (node != &a->vms) {
		struct agent_vm *vm = list_item(node, struct agent_vm, node);

		node = node->next;
		if (!vm->seen)
			gone(vm);
	}
	days_keep(a->days, agent_now());
}

void inventory_free(struct agent *a)
{
	while (!list_empty(&a->vms))
		remove_vm(list_item(a->vms.next, struct agent_vm, node));
}

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(object, key));

	return v > 0 ? (uint64_t)v : 0;
}

static void add_info(struct agent_vm *vm, const json_t *info)
{
	json_t *config = json_object_get(info, "config");
	const json_t *memory = json_object_get(info, "memory"), *m, *cpus;
	const char *uuid;

	uuid = json_string_value(json_object_get(json_object_get(config, "platform"), "uuid"));
	snprintf(vm->uuid, sizeof(vm->uuid), "%s", uuid ? uuid : "");
	snprintf(vm->state, sizeof(vm->state), "%s",
		 json_string_value(json_object_get(info, "state")));
	m = json_object_get(config, "memory");
	cpus = json_object_get(config, "cpus");
	vm->vcpus = number(cpus, "boot_vcpus");
	vm->most = number(m, "size") + number(m, "hotplug_size");
	vm->memory = number(memory, "given");
	vm->resident = number(memory, "resident");
	json_decref(vm->config);
	vm->config = json_incref(config);
}

/* vCPUs are "_vcpuN", and what is counted of each only grows; docs/signals.md has the others. */
static void add_counters(struct agent_vm *vm, const json_t *counters, uint64_t now_ns)
{
	const json_t *move = json_object_get(counters, "_move"),
		     *pressure = json_object_get(counters, "_pressure");
	struct signal_counts c = { .mem = number(pressure, "memory_some_ns"),
				   .io = number(pressure, "io_full_ns") };
	const char *key;
	json_t *of;

	json_object_foreach((json_t *)counters, key, of)
	{
		if (strncmp(key, "_vcpu", strlen("_vcpu")))
			continue;
		c.run += number(of, "run_ns");
		c.delay += number(of, "wait_ns");
		c.throttled += number(of, "throttled_ns");
	}
	vm->dirty_rate = (double)number(move, "dirty_rate");
	vm->write_set = number(move, "write_set");
	vm->to_send = number(move, "memory");
	signals_add(&vm->signals, now_ns, &c, vm->vcpus, vm->agent->settings.policy.window_s);
	days_add(vm->agent->days, vm->name, agent_now(), vm->signals.run_now * (double)vm->vcpus,
		 vm->signals.now_s);
}

/* That was found may have died since, and another have its name by now. */
static bool is_still(const char *name, pid_t pid)
{
	char has[sizeof(((struct agent_vm *)NULL)->name)];

	return rundir_name(geteuid(), pid, has, sizeof(has)) && !strcmp(has, name);
}

void inventory_add(struct agent *a, const char *name, pid_t pid, const json_t *info,
		   const json_t *counters, uint64_t now_ns)
{
	struct agent_vm *vm = agent_vm(a, name);

	if (vm && vm->pid != pid) {
		if (!is_still(name, pid))
			return;
		gone(vm); /* and another has its name */
		vm = NULL;
	}
	if (!vm && info)
		vm = add_vm(a, name, pid);
	if (!vm)
		return;
	vm->seen = true;
	if (!info || !counters)
		return;
	add_info(vm, info);
	add_counters(vm, counters, now_ns);
	vm->at = agent_now();
}

/* Before the first window is over, what was seen between the last two looks. */
static json_t *windows_json(const struct windows *w, double now)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < w->n; i++)
		json_array_append_new(list, json_real(w->value[i]));
	if (!w->n)
		json_array_append_new(list, json_real(now));
	return list;
}

json_t *inventory_vm_record(const struct agent *a, const struct agent_vm *vm)
{
	const struct daily *days = days_of(a->days, vm->name);
	const struct signals *s = &vm->signals;
	double yesterday, weight;
	json_t *record;

	if (!vm->at || !vm->vcpus || !vm->memory)
		return NULL;
	record = json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:f, s:f, "
		"s:f, s:I, s:I}",
		"id", vm->name, "host", a->options->id, "at", (json_int_t)vm->at, "vcpus",
		(json_int_t)vm->vcpus, "memory", (json_int_t)vm->memory, "resident",
		(json_int_t)vm->resident, "age_s", (double)(vm->at - vm->found_at), "run",
		windows_json(&s->run, s->run_now), "delay", windows_json(&s->delay, s->delay_now),
		"throttled", windows_json(&s->throttled, 0), "mem", windows_json(&s->mem, 0), "io",
		windows_json(&s->io, 0), "cpu_mean",
		signals_cores(s, vm->vcpus, a->settings.policy.hold_windows, days, vm->at),
		"cpu_deviation", sqrt(s->cpu_variance), "dirty_rate", vm->dirty_rate, "write_set",
		(json_int_t)vm->write_set, "to_send", (json_int_t)vm->to_send);
	if (record && days && daily_expects(days, vm->at, &yesterday, &weight))
		json_object_set_new(record, "cpu_yesterday", json_real(yesterday));
	if (record && past_of(a, vm->name))
		json_object_set(record, "moves", (json_t *)past_of(a, vm->name));
	specs_add_to_record(a, vm->name, record);
	return record;
}

json_t *inventory_host_record(const struct agent *a)
{
	const struct agent_host *h = &a->host;
	const struct agent_options *o = a->options;

	if (!h->at)
		return NULL;
	return json_pack(
		"{s:s, s:I, s:s, s:f, s:I, s:I, s:I, s:f, s:o, s:f, s:f, s:f}", "id", o->id, "at",
		(json_int_t)h->at, "state", settings_host(&a->settings, o->id), "cores", h->cores,
		"memory", (json_int_t)h->memory, "reserve", (json_int_t)o->reserve, "available",
		(json_int_t)h->available, "link", o->link, "use", windows_json(&h->use, h->use_now),
		"psi_cpu", h->psi_cpu, "psi_mem", h->psi_mem, "psi_io", h->psi_io);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "top_rates.h"

static const char vcpu_prefix[] = "_vcpu", exits_prefix[] = "exits_";

/* What a device counts goes into a sum; beside: only of a device that counts this, too. */
static const struct total {
	const char *key, *beside;
	size_t offset;
} totals[] = {
	{ "read_bytes", "read_ops", offsetof(struct vm_rates, read_bytes) },
	{ "write_bytes", "write_ops", offsetof(struct vm_rates, write_bytes) },
	{ "read_ops", "read_bytes", offsetof(struct vm_rates, read_ops) },
	{ "write_ops", "write_bytes", offsetof(struct vm_rates, write_ops) },
	{ "rx_bytes", "rx_frames", offsetof(struct vm_rates, rx_bytes) },
	{ "tx_bytes", "tx_frames", offsetof(struct vm_rates, tx_bytes) },
	{ "rx_frames", "rx_bytes", offsetof(struct vm_rates, rx_frames) },
	{ "tx_frames", "tx_bytes", offsetof(struct vm_rates, tx_frames) },
};

void reading_free(struct reading *r)
{
	json_decref(r->info);
	json_decref(r->counters);
	*r = (struct reading){ 0 };
}

/* What came over a socket must not reach the terminal as it is. */
static void copy_word(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
	for (; *to; to++)
		if (!isgraph((unsigned char)*to))
			*to = '?';
}

static const json_t *counter(const struct reading *r, const char *device, const char *key)
{
	return json_object_get(json_object_get(r->counters, device), key);
}

static double rate(const struct reading *before, const struct reading *now, const char *device,
		   const char *key)
{
	const json_t *first = counter(before, device, key), *last = counter(now, device, key);
	double a = (double)json_integer_value(first), b = (double)json_integer_value(last);

	if (!before->counters || now->at_ns <= before->at_ns)
		return NAN;
	if (!first || !last)
		return 0;
	return (b < a ? b : b - a) * 1e9 / (double)(now->at_ns - before->at_ns);
}

static double gauge(const json_t *value)
{
	return json_is_integer(value) ? (double)json_integer_value(value) : NAN;
}

/* vCPUs */

static int compare_kinds(const void *a, const void *b)
{
	const struct exit_rate *x = a, *y = b;

	return (x->rate < y->rate) - (x->rate > y->rate);
}

static void take_exits(struct vcpu_rates *v, const struct reading *before,
		       const struct reading *now, const char *device)
{
	const char *key;
	json_t *value;

	json_object_foreach(json_object_get(now->counters, device), key, value)
	{
		struct exit_rate *kind = &v->kind[v->nkinds];

		if (strncmp(key, exits_prefix, strlen(exits_prefix)) || v->nkinds == TOP_KINDS_MAX)
			continue;
		copy_word(kind->kind, sizeof(kind->kind), key + strlen(exits_prefix));
		kind->rate = rate(before, now, device, key);
		v->exits += kind->rate;
		v->nkinds++;
	}
	qsort(v->kind, v->nkinds, sizeof(v->kind[0]), compare_kinds);
}

static void take_vcpu(struct vm_rates *vm, const struct reading *before, const struct reading *now,
		      const char *device)
{
	struct vcpu_rates *v = reallocarray(vm->vcpu, vm->nvcpus + 1, sizeof(*v));

	if (!v)
		return;
	vm->vcpu = v;
	v += vm->nvcpus++;
	*v = (struct vcpu_rates){ .cpu = rate(before, now, device, "run_ns") / 1e9,
				  .steal = rate(before, now, device, "wait_ns") / 1e9,
				  .throttled = rate(before, now, device, "throttled_ns") / 1e9 };
	copy_word(v->id, sizeof(v->id), device + 1);
	take_exits(v, before, now, device);
	vm->cpu += v->cpu;
	vm->steal += v->steal;
	vm->throttled += v->throttled;
	vm->exits += v->exits;
}

/* VMs */

static double *sum_of(struct vm_rates *vm, const struct total *t)
{
	return (double *)((char *)vm + t->offset);
}

static void set_rates(struct vm_rates *vm, double value)
{
	vm->cpu = vm->steal = vm->throttled = vm->exits = value;
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		*sum_of(vm, &totals[i]) = value;
	vm->nvcpus = 0;
}

static void take_history(struct vm_rates *vm, double cpu)
{
	memmove(vm->history, vm->history + 1, sizeof(vm->history) - sizeof(vm->history[0]));
	vm->history[TOP_HISTORY - 1] = cpu;
}

void top_rates_init(struct vm_rates *vm, const char *name)
{
	*vm = (struct vm_rates){ .answers = true,
				 .given = NAN,
				 .resident = NAN,
				 .swapped = NAN,
				 .dirty_rate = NAN,
				 .write_set = NAN };
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	set_rates(vm, NAN);
	for (unsigned i = 0; i < TOP_HISTORY; i++)
		vm->history[i] = NAN;
}

void top_rates_free(struct vm_rates *vm)
{
	free(vm->vcpu);
}

static void take_device(struct vm_rates *vm, const struct reading *before,
			const struct reading *now, const char *device)
{
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		if (counter(now, device, totals[i].key) && counter(now, device, totals[i].beside))
			*sum_of(vm, &totals[i]) += rate(before, now, device, totals[i].key);
}

void top_rates_update(struct vm_rates *vm, const struct reading *before, const struct reading *now)
{
	const char *device;
	json_t *unused;

	vm->answers = true;
	copy_word(vm->state, sizeof(vm->state),
		  json_string_value(json_object_get(now->info, "state")));
	vm->given = gauge(json_object_get(now->info, "memory_actual_size"));
	vm->resident = gauge(counter(now, "_memory", "rss"));
	vm->swapped = gauge(counter(now, "_memory", "swapped"));
	vm->dirty_rate = gauge(counter(now, "_move", "dirty_rate"));
	vm->write_set = gauge(counter(now, "_move", "write_set"));
	set_rates(vm, before->counters ? 0 : NAN);
	json_object_foreach(now->counters, device, unused)
	{
		if (!strncmp(device, vcpu_prefix, strlen(vcpu_prefix)))
			take_vcpu(vm, before, now, device);
		else if (!strcmp(device, "_cpus")) /* by the kernel, nobody knows which */
			vm->throttled += rate(before, now, device, "throttled_ns") / 1e9;
		else
			take_device(vm, before, now, device);
	}
	take_history(vm, vm->nvcpus ? vm->cpu / vm->nvcpus : NAN);
}

void top_rates_silence(struct vm_rates *vm)
{
	vm->answers = false;
	set_rates(vm, NAN);
	take_history(vm, NAN);
}

/* Order */

static double weight(const struct vm_rates *vm, enum top_order order)
{
	const double weights[] = { [TOP_BY_CPU] = vm->cpu,
				   [TOP_BY_MEMORY] = vm->resident,
				   [TOP_BY_DISK] = vm->read_bytes + vm->write_bytes,
				   [TOP_BY_NET] = vm->rx_bytes + vm->tx_bytes };

	return isnan(weights[order]) ? -1 : weights[order];
}

static int compare_vms(const void *a, const void *b, void *order)
{
	const struct vm_rates *x = *(struct vm_rates *const *)a;
	const struct vm_rates *y = *(struct vm_rates *const *)b;
	double more = weight(x, *(enum top_order *)order) - weight(y, *(enum top_order *)order);

	return more ? (more < 0) - (more > 0) : strcmp(x->name, y->name);
}

void top_rates_sort(struct vm_rates **vms, size_t n, enum top_order order)
{
	if (n)
		qsort_r(vms, n, sizeof(struct vm_rates *), compare_vms, &order);
}

/* JSON */

static json_t *number(double n)
{
	return isnan(n) ? json_null() : json_real(n);
}

static json_t *whole_number(double n)
{
	return isnan(n) ? json_null() : json_integer((json_int_t)n);
}

static json_t *vcpu_json(const struct vcpu_rates *v)
{
	json_t *kinds = json_object();

	for (unsigned i = 0; i < v->nkinds; i++)
		json_object_set_new(kinds, v->kind[i].kind, number(v->kind[i].rate));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "id", v->id, "cpu", number(v->cpu),
			 "steal", number(v->steal), "throttled", number(v->throttled), "exits",
			 number(v->exits), "exits_by_kind", kinds);
}

json_t *top_rates_json(const struct vm_rates *vm)
{
	json_t *vcpus = json_array();

	for (unsigned i = 0; i < vm->nvcpus; i++)
		json_array_append_new(vcpus, vcpu_json(&vm->vcpu[i]));
	return json_pack(
		"{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o, s:o},"
		" s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:o}",
		"name", vm->name, "state", vm->state, "answers", vm->answers, "cpu",
		number(vm->cpu), "steal", number(vm->steal), "throttled", number(vm->throttled),
		"exits", number(vm->exits), "memory", "given", whole_number(vm->given), "resident",
		whole_number(vm->resident), "swapped", whole_number(vm->swapped), "dirty_rate",
		whole_number(vm->dirty_rate), "write_set", whole_number(vm->write_set), "disk",
		"read_bytes", number(vm->read_bytes), "write_bytes", number(vm->write_bytes),
		"read_ops", number(vm->read_ops), "write_ops", number(vm->write_ops), "net",
		"rx_bytes", number(vm->rx_bytes), "tx_bytes", number(vm->tx_bytes), "rx_frames",
		number(vm->rx_frames), "tx_frames", number(vm->tx_frames), "vcpus", vcpus);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "counters.h"
#include "memory_use.h"
#include "vcpu.h"
#include "vm.h"

enum { CACHE_LINE_BYTES = 64, NAME_BYTES = 64, NS_PER_US = 1000 };

const struct latency_bound latency_bounds[LATENCY_BOUNDS] = {
	{ 50000, "5e-05" },    { 100000, "0.0001" },    { 200000, "0.0002" },
	{ 500000, "0.0005" },  { 1000000, "0.001" },    { 2000000, "0.002" },
	{ 5000000, "0.005" },  { 10000000, "0.01" },    { 20000000, "0.02" },
	{ 50000000, "0.05" },  { 100000000, "0.1" },    { 200000000, "0.2" },
	{ 500000000, "0.5" },  { 1000000000, "1.0" },   { 2000000000, "2.0" },
	{ 5000000000, "5.0" }, { 10000000000, "10.0" },
};

/* Writers */

static void take_extremes(struct latency *l, uint64_t least_ns, uint64_t most_ns)
{
	uint64_t least = counter_get(&l->least_ns);

	if (!least || least_ns < least)
		counter_set(&l->least_ns, least_ns);
	if (most_ns > counter_get(&l->most_ns))
		counter_set(&l->most_ns, most_ns);
}

void latency_add(struct latency *l, uint64_t ns)
{
	unsigned i = 0;

	/* Most are in the first few. */
	while (i < LATENCY_BOUNDS && ns > latency_bounds[i].ns)
		i++;
	counter_add(&l->bucket[i], 1);
	counter_add(&l->total_ns, ns);
	take_extremes(l, MAX(ns, 1), ns);
}

static size_t block_stride(const struct counter_table *t)
{
	return align_up(t->block_bytes, CACHE_LINE_BYTES);
}

int device_claim_counters(struct device *dev, unsigned n, struct err *e)
{
	size_t bytes = n * block_stride(dev->class->counters) + CACHE_LINE_BYTES;
	void *p;
	int r = device_claim_memory(dev, bytes, &p, e);

	if (r)
		return r;
	dev->counters = (void *)align_up((uintptr_t)p, CACHE_LINE_BYTES);
	dev->ncounters = n;
	return 0;
}

void *device_counters(struct device *dev, unsigned block)
{
	return (char *)dev->counters + block * block_stride(dev->class->counters);
}

/* Readers */

uint64_t latency_ops(const struct latency *l)
{
	uint64_t ops = 0;

	for (unsigned i = 0; i <= LATENCY_BOUNDS; i++)
		ops += counter_get(&l->bucket[i]);
	return ops;
}

static void add_latency(struct latency *sum, const struct latency *l)
{
	for (unsigned i = 0; i <= LATENCY_BOUNDS; i++)
		counter_add(&sum->bucket[i], counter_get(&l->bucket[i]));
	counter_add(&sum->total_ns, counter_get(&l->total_ns));
	if (counter_get(&l->least_ns))
		take_extremes(sum, counter_get(&l->least_ns), counter_get(&l->most_ns));
}

static void add_block(const struct counter_table *t, char *sum, char *block)
{
	for (size_t i = 0; i < t->n; i++) {
		uint32_t at = t->counter[i].offset;

		if (t->counter[i].kind == COUNTER_LATENCY)
			add_latency((void *)(sum + at), (void *)(block + at));
		else
			counter_add((void *)(sum + at), counter_get((void *)(block + at)));
	}
}

/* The sum is zero; NULL: the host is out of memory. */
static void *append(struct counter_readings *all, const struct counter_table *t, const char *id)
{
	struct counter_reading *r = reallocarray(all->reading, all->n + 1, sizeof(*r));

	if (!r)
		return NULL;
	all->reading = r;
	r += all->n;
	r->sum = calloc(1, t->block_bytes);
	if (!r->sum)
		return NULL;
	r->table = t;
	snprintf(r->id, sizeof(r->id), "%s%s", t->is_machine ? "_" : "", id);
	all->n++;
	return r->sum;
}

static int read_device(struct device *dev, struct counter_readings *all)
{
	const struct counter_table *t = dev->class->counters;
	void *sum;

	if (!t || (t->fetch && !t->fetch(dev)))
		return 0;
	sum = append(all, t, dev->id);
	if (!sum)
		return -ENOMEM;
	for (unsigned i = 0; i < dev->ncounters; i++)
		add_block(t, sum, device_counters(dev, i));
	return 0;
}

int counters_add(struct counter_readings *all, const struct counter_table *t, const char *id,
		 const void *block)
{
	void *sum = append(all, t, id);

	if (!sum)
		return -ENOMEM;
	memcpy(sum, block, t->block_bytes);
	return 0;
}

static int read_memory(struct vm *vm, struct counter_readings *all)
{
	struct memory_use now = { 0 };

	return memory_use_read(vm, &now) ? counters_add(all, &memory_use_table, "memory", &now) : 0;
}

int counters_read(struct vm *vm, struct counter_readings *out)
{
	struct counter_readings all = { 0 };
	struct device *dev;
	int r = 0;

	list_for_each (dev, &vm->devices, node)
		if (!r)
			r = read_device(dev, &all);
	if (!r)
		r = vcpu_limit_read(vm, &all);
	if (!r)
		r = read_memory(vm, &all);
	if (r)
		counters_free(&all);
	else
		*out = all;
	return r;
}

int counters_copy(const struct counter_readings *from, struct counter_readings *to)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct counter_reading *r = &from->reading[i];

		/* Its "_" comes anew. */
		if (counters_add(to, r->table, r->id + r->table->is_machine, r->sum))
			return -ENOMEM;
	}
	return 0;
}

void counters_free(struct counter_readings *all)
{
	for (size_t i = 0; i < all->n; i++)
		free(all->reading[i].sum);
	free(all->reading);
	*all = (struct counter_readings){ 0 };
}

uint64_t counter_value(const struct counter_reading *r, const struct counter *c)
{
	return counter_get((void *)((char *)r->sum + c->offset));
}

const struct latency *counter_latency(const struct counter_reading *r, const struct counter *c)
{
	return (void *)((char *)r->sum + c->offset);
}

static void visit_latency(const struct latency *l, const char *name,
			  void (*visit)(void *arg, const char *name, uint64_t value), void *arg)
{
	uint64_t ops = latency_ops(l), total_ns = counter_get(&l->total_ns);
	const struct {
		const char *what;
		uint64_t ns;
	} part[] = { { "min", counter_get(&l->least_ns) },
		     { "max", counter_get(&l->most_ns) },
		     { "avg", ops ? total_ns / ops : 0 } };
	char text[NAME_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
		snprintf(text, sizeof(text), "%s_%s", name, part[i].what);
		visit(arg, text, part[i].ns / NS_PER_US);
	}
}

void counters_visit(const struct counter_reading *r,
		    void (*visit)(void *arg, const char *name, uint64_t value), void *arg)
{
	for (size_t i = 0; i < r->table->n; i++) {
		const struct counter *c = &r->table->counter[i];

		if (c->kind == COUNTER_LATENCY)
			visit_latency(counter_latency(r, c), c->name, visit, arg);
		else
			visit(arg, c->name, counter_value(r, c));
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device counts, as data: members of a struct, each with a name for the API and one for
 * Prometheus.  The class has the table; attach claims blocks of that struct, one for each thread
 * that counts (a queue's, a vCPU's), each on cache lines of its own.
 *
 * A member of a block has one writer at a time, so counting is a plain load and store.  Main reads
 * at any time, stops nobody, and adds the blocks up; what it gets is a copy for any thread.
 *
 * Counters begin at 0 when the device is made, survive the guest's resets and are not saved: who
 * looks at one sees a VM that moved begin anew on its new host.
 */
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct device;
struct vm;

enum counter_kind {
	COUNTER_TOTAL, /* only grows */
	COUNTER_GAUGE,
	COUNTER_LATENCY, /* struct latency */
};

enum counter_unit {
	COUNTER_UNITS,
	COUNTER_BYTES,
	COUNTER_NANOSECONDS,
	COUNTER_TEN_THOUSANDTHS, /* 1 is 0.01 %; in text a ratio */
	COUNTER_SIGNED_NANOSECONDS, /* of a GAUGE that may be below 0: an int64_t */
};

struct counter {
	const char *name; /* in vm.counters: for ever */
	/* Family in Prometheus, without _total; bytes end in _bytes, time in _seconds,
	 * parts in _ratio. */
	const char *metric;
	const char *help;
	const char *label, *label_value; /* of one among several in its family, or NULL */
	enum counter_kind kind;
	enum counter_unit unit;
	uint32_t offset;
};

/* A family of metrics is in one table only. */
struct counter_table {
	const struct counter *counter;
	size_t n;
	size_t block_bytes;
	bool is_machine; /* of the machine itself, not of a device that a user gave it: "_id" */
	/* Main, before a reading: bring what the kernel counts up to date.  False: nothing of the
	 * device is known now.  NULL: it counts all by itself. */
	bool (*fetch)(struct device *);
};

#define COUNTER_ROW(T, m, type, ...)                                                               \
	{                                                                                          \
		.name = #m,                                                                        \
		.offset = offsetof(T, m) + 0 * sizeof(char[_Generic(&((T *)0)->m, type * : 1)]),   \
		__VA_ARGS__                                                                        \
	}
#define COUNTER(T, m, ...) COUNTER_ROW(T, m, _Atomic uint64_t, .kind = COUNTER_TOTAL, __VA_ARGS__)
#define COUNTER_GAUGE_OF(T, m, ...)                                                                \
	COUNTER_ROW(T, m, _Atomic uint64_t, .kind = COUNTER_GAUGE, __VA_ARGS__)
#define COUNTER_LATENCY_OF(T, m, ...)                                                              \
	COUNTER_ROW(T, m, struct latency, .kind = COUNTER_LATENCY, .unit = COUNTER_NANOSECONDS,    \
		    __VA_ARGS__)
#define COUNTER_TABLE(T, counters, ...)                                                            \
	{                                                                                          \
		.counter = (counters), .n = sizeof(counters) / sizeof((counters)[0]),              \
		.block_bytes = sizeof(T), __VA_ARGS__                                              \
	}

/* How long operations took: buckets between fixed bounds, the last for what is above all. */
enum { LATENCY_BOUNDS = 17 };

struct latency_bound {
	uint64_t ns; /* the bucket holds what took so long or less */
	const char *seconds;
};
extern const struct latency_bound latency_bounds[LATENCY_BOUNDS];

struct latency {
	_Atomic uint64_t bucket[LATENCY_BOUNDS + 1];
	_Atomic uint64_t total_ns, least_ns, most_ns; /* least_ns 0: there was none */
};

/* Writers: the one thread whose block it is. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

static inline void counter_set(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value, memory_order_relaxed);
}

void latency_add(struct latency *, uint64_t ns);

/* Any thread. */
static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* In attach: n blocks of the class's table, all zeroes. */
int device_claim_counters(struct device *, unsigned n, struct err *);
void *device_counters(struct device *, unsigned block);

/* Readers. */
struct counter_reading {
	char id[40]; /* the device's, or "_" and the name of a part of the machine */
	const struct counter_table *table;
	void *sum; /* of all blocks: a block */
};

struct counter_readings {
	struct counter_reading *reading;
	size_t n;
};

/* Main.  All devices that count, in order of creation, then "_cpus" and "_memory".  -ENOMEM. */
int counters_read(struct vm *, struct counter_readings *);
/* One more, with a copy of this block.  -ENOMEM. */
int counters_add(struct counter_readings *, const struct counter_table *, const char *id,
		 const void *block);
/* Any thread; appended, and on failure some of them.  -ENOMEM. */
int counters_copy(const struct counter_readings *from, struct counter_readings *to);
void counters_free(struct counter_readings *); /* any thread */

/* Of a TOTAL or GAUGE; of a LATENCY. */
uint64_t counter_value(const struct counter_reading *, const struct counter *);
const struct latency *counter_latency(const struct counter_reading *, const struct counter *);
uint64_t latency_ops(const struct latency *);

/* One number a name, as vm.counters has them: a LATENCY is NAME_min, NAME_max and NAME_avg in whole
 * microseconds, 0 before the first. */
void counters_visit(const struct counter_reading *,
		    void (*visit)(void *arg, const char *name, uint64_t value), void *arg);

#endif

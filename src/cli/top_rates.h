/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VMs do in a second, from two readings of their counters; whatever is shown of them comes
 * from here.  Nothing is asked and nothing printed.
 *
 * A number that is not known is NaN: rates before the second reading and of a VM that does not
 * answer.  A counter that fell began anew, as when the VM was booted again.
 */
#ifndef TOP_RATES_H
#define TOP_RATES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOP_KINDS_MAX = 16, TOP_HISTORY = 10 };

struct reading {
	uint64_t at_ns;
	json_t *info, *counters; /* answers of vm.info and vm.counters; NULL: none */
};

void reading_free(struct reading *);

struct exit_rate {
	char kind[16]; /* "hlt" */
	double rate;
};

struct vcpu_rates {
	char id[16]; /* "vcpu0" */
	double cpu, steal, throttled; /* of one processor */
	double exits;
	struct exit_rate kind[TOP_KINDS_MAX]; /* most first */
	unsigned nkinds;
};

/* Sums over its vCPUs, disks and network cards. */
struct vm_rates {
	char name[65], state[16];
	bool answers;
	double cpu, steal, throttled; /* of one processor */
	double exits;
	double given, resident, swapped; /* bytes of memory */
	double dirty_rate, write_set; /* bytes a second that it writes; lately, to how many */
	double read_bytes, write_bytes, read_ops, write_ops;
	double rx_bytes, tx_bytes, rx_frames, tx_frames;
	double history[TOP_HISTORY]; /* of cpu, as a part of all vCPUs; the last is now */
	struct vcpu_rates *vcpu;
	unsigned nvcpus;
};

void top_rates_init(struct vm_rates *, const char *name);
void top_rates_free(struct vm_rates *);

/* The VM answered; before has no counters: this is its first reading. */
void top_rates_update(struct vm_rates *, const struct reading *before, const struct reading *now);
/* It did not. */
void top_rates_silence(struct vm_rates *);

enum top_order { TOP_BY_CPU, TOP_BY_MEMORY, TOP_BY_DISK, TOP_BY_NET };

/* Most first. */
void top_rates_sort(struct vm_rates **, size_t n, enum top_order);

/* For scripts: in bytes, seconds and per second; what is not known is null. */
json_t *top_rates_json(const struct vm_rates *);

#endif

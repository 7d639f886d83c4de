/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far VMs get what they ask for.  A VM's happiness is the share of the time it wanted to
 * run in which it ran, times what it did not lose waiting for memory and for I/O.  What a limit
 * of its own took from it is policy, not contention, and does not count.
 *
 * What it would be on another host is read off a curve: the share of time that a vCPU waits,
 * as a function of the expected use of the host's cores, (mean + k * deviation) / cores.
 */
#ifndef HAPPINESS_H
#define HAPPINESS_H

#include "model.h"

double happiness_cpu(const struct vm *, uint32_t window);
/* What is left behind waiting for memory and I/O. */
double happiness_rest(const struct vm *, uint32_t window);
double happiness(const struct vm *, uint32_t window);

struct happiness_summary {
	double mean; /* each VM counts as many times as it has vCPUs */
	double percentile_1; /* 1 of 100 VMs is below it */
	uint32_t low; /* VMs below policy.happy_low */
	uint32_t vms; /* that were looked at: neither stale nor without a host */
	double load_cv; /* coefficient of variation of the use of hosts that are up */
};

/* -ENOMEM */
int happiness_summarise(const struct snapshot *, struct happiness_summary *);

/* The measured one that stands in for what was not learned yet. */
extern const struct curve curve_default;

/* Of a class, that of NAME_NONE, or the default. */
const struct curve *curve_of(const struct snapshot *, uint32_t class);
double curve_delay(const struct curve *, double use);
/* Draws the curve towards a delay that was seen, near the use at which it was; it keeps rising. */
void curve_learn(struct curve *, double use, double delay);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a VM has been doing, from counters that only grow: shares of its vCPUs' time in windows of
 * equal length, the newest first, and the mean and deviation of the cores it used.  Pure; under
 * the agent's lock.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "daily.h"
#include "planner/model.h"

/* Sums since the VM began, in nanoseconds of all vCPUs; PSI in nanoseconds of the group. */
struct signal_counts {
	uint64_t run, delay, throttled;
	uint64_t mem, io; /* PSI totals: some of memory, full of I/O */
};

struct signals {
	bool begun;
	uint64_t last_ns,
		window_ns; /* CLOCK_MONOTONIC of the last counts, and of the window's begin */
	struct signal_counts last, begin;
	struct windows run, delay, throttled, mem, io; /* shares */
	double run_now, delay_now; /* between the last two counts */
	double now_s; /* seconds between them; 0: they begin anew */
	double cpu_mean, cpu_variance; /* cores; exponentially weighted over two hours */
	double learned_s; /* seconds that they are of */
	uint64_t unhappy_since; /* ns; 0: it has what it wants */
};

/*
 * vcpus: that the counts are of.  A window is over when window_s have passed; counts that went
 * back (another process has the VM now) begin anew, and windows stay.
 */
void signals_add(struct signals *, uint64_t now_ns, const struct signal_counts *, uint64_t vcpus,
		 double window_s);

/* What it uses, to plan with: what it does by and by, or of late, if that is more.  Days (NULL:
 * nothing is known) tell more of the hour from now (since 1970) on than the last two, if alike. */
double signals_cores(const struct signals *, uint64_t vcpus, double hold_windows,
		     const struct daily *days, uint64_t now);

/* What it got of what it asked for in the last window, 0 to 1; below 0: there is none yet. */
double signals_happiness(const struct signals *);

/* The newest value goes to the front. */
void windows_push(struct windows *, double value);

#endif

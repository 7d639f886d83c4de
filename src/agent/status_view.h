/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says of its hosts and VMs (GET status) as plain data, for whoever shows it.
 * Strings are those of the answer, which must stay.  Shares are 0 to 1, a number that is not known
 * is NaN, text that is not known "".
 */
#ifndef STATUS_VIEW_H
#define STATUS_VIEW_H

#include <jansson.h>
#include <stdbool.h>

struct host_view {
	const char *id, *state;
	bool here; /* the agent that was asked is that host's */
	double cores, memory, reserve, available;
	double use, happiness, psi_cpu, psi_mem, psi_io;
	/* Sums over its VMs, each counting as 0 what is not known of it. */
	unsigned nvms;
	double vcpus, given, resident; /* given: memory that they may use */
	double run, delay; /* cores that they have, and those that they wait for */
};

struct vm_view {
	const char *name, *host, *state, *why;
	double vcpus, memory, resident;
	double happiness, run, delay, throttled; /* shares of its vCPUs' time */
	double dirty_rate; /* bytes per second */
	double restarts;
	bool spec; /* the agents have its description, and start it again */
};

struct flight_view {
	const char *vm, *from, *to, *phase;
	double since, left_s;
};

struct status_view {
	const char *id, *mode;
	const char *planner; /* the agent that plans; "": none does */
	const char *why; /* none does */
	struct host_view *host;
	struct vm_view *vm; /* by host, then by name */
	struct flight_view *flight;
	const char **alert;
	size_t nhosts, nvms, nflights, nalerts;
	double happiness; /* of all VMs, weighted by vCPUs */
};

/* -ENOMEM.  To be freed in any case. */
int status_view_read(struct status_view *, const json_t *status);
void status_view_free(struct status_view *);

/* Its VMs are these and those behind it, h->nvms in all. */
const struct vm_view *status_view_vms(const struct status_view *, const struct host_view *h);

#endif

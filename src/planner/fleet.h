/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts and VMs while a plan is made: where each VM would be, and sums for each host, so that
 * what one more move changes is told in constant time.
 *
 * The loss of a host is what its VMs want and do not get, in vCPUs: the sum of weight * vcpus *
 * (1 - happiness), with the delay that its curve gives for (mean + k * deviation) / cores.
 * A VM in flight loads its destination and takes memory at both ends.
 */
#ifndef FLEET_H
#define FLEET_H

#include "err.h"
#include "planner/happiness.h"
#include "planner/model.h"

struct fleet_vm {
	double mean, variance; /* of the cores that it wants */
	double weight; /* times its vCPUs */
	double asks; /* what is left of weight behind memory and I/O */
	uint32_t host, next; /* next on the host that it was on first */
	bool moved; /* by the plan, or in flight */
};

struct fleet_host {
	double mean, variance, weight, asks; /* sums of its VMs' */
	double use, loss;
	uint64_t committed; /* memory of its VMs, of those to come and of those not gone yet */
	uint64_t at_first; /* the same before the plan's moves */
	uint64_t leaving, arriving; /* resident memory in flight; arriving: by the plan, too */
	uint32_t first; /* VM */
	uint32_t in, out; /* flights */
	uint32_t place; /* in cool, or NOWHERE */
	bool blind; /* something on it is not known */
	const struct curve *curve;
};

/* Members of groups on each host; an open hash table. */
struct fleet_groups {
	uint64_t *key;
	uint32_t *count;
	uint32_t n;
};

struct fleet {
	const struct snapshot *snapshot;
	struct fleet_host *host;
	struct fleet_vm *vm;
	uint32_t *cool; /* hosts that may be destinations, the least used first */
	uint32_t *able; /* the same in the order of hosts */
	uint32_t nable;
	struct fleet_groups groups;
	uint32_t *group_size; /* of each name */
};

int fleet_new(struct fleet *, const struct snapshot *, struct err *);
void fleet_free(struct fleet *);

/* Free beside the reserve; below 0 where too much is promised. */
double fleet_room(const struct fleet *, uint32_t host);
/* Of what is free now, what is left when all have come. */
double fleet_available(const struct fleet *, uint32_t host);
/* Expected use of a host with the VM that is not on it, or without one that is. */
double fleet_use_with(const struct fleet *, uint32_t host, uint32_t vm);
double fleet_use_without(const struct fleet *, uint32_t host, uint32_t vm);
/* The same with half as many deviations again. */
double fleet_use_surely(const struct fleet *, uint32_t host, uint32_t vm);
/* The share of what it wants that the VM would get at this use. */
double fleet_happiness(const struct fleet *, uint32_t host, uint32_t vm, double use);
/* vCPUs won back by the move, affinity included; below 0: lost. */
double fleet_gain(const struct fleet *, uint32_t vm, uint32_t to);
/* What the VM itself loses where it is. */
double fleet_own_loss(const struct fleet *, uint32_t vm);
/* Members of its groups on a host, without itself. */
uint32_t fleet_members(const struct fleet *, const struct groups *, uint32_t vm, uint32_t host);
/* The VM is at to from now on. */
void fleet_move(struct fleet *, uint32_t vm, uint32_t to);
/* The last move of it did not happen. */
void fleet_move_back(struct fleet *, uint32_t vm, uint32_t from);
/* Of all hosts. */
double fleet_loss(const struct fleet *);

#endif

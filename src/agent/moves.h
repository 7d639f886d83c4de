/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs that leave this host.  A move is a job: it asks the destination for room, has the monitor
 * move the VM (whose hand-over never lets it run twice, whatever becomes of the agents), and tells
 * the destination how it ended.  Nothing has changed for the VM until it runs there.
 *
 * Between agents:
 *	{"prepare": {"vm", "uuid", "memory", "resident", "vcpus", "spec"?, "moves"?}}
 *		-> {"token", "expires_s", "url"}: room is kept and a process waits there
 *	{"settled": {"token", "vm", "move": {...}}}  it has moved: the move, as past.h has it
 *	{"cancel": {"token", "why"}}                 it has not
 *	{"move": ORDER}                              from who plans to the VM's host, and back:
 *	{"outcome": OUTCOME}                         to whoever ordered it, and who plans:
 *		{"vm", "moved", "why"?, "time_s", "sending_s", "blackout_s", "bytes"}, and what was
 *		expected: "rate" of the links and "last_bytes", to be sent in the blackout
 *	{"gain": {"vm", "gain"}}                     what it won, to the VM's new host, later
 */
#ifndef MOVES_H
#define MOVES_H

#include "agent.h"
#include "planner/move_cost.h"

struct flight_entry {
	struct list node;
	char vm[65], to[AGENT_ID_MAX + 1], by[AGENT_ID_MAX + 1];
	uint64_t since; /* seconds since 1970 */
	char phase[16]; /* "asks", or as vm.migration-progress has it */
	double left_s; /* below 0: not known */
	struct agent *agent;
	json_t *predicted;
	struct move_load load; /* rate 0: not known */
	struct move_cost cost;
};

/*
 * Begin to move a VM of this host, with the lock.  order: {"vm", "to", "why"?, "predicted"?}, the
 * last what whoever plans expects ({"time_s", "blackout_s", "bytes", "gain"}); of a move without
 * it the agent reckons it itself.  by: the agent that is told how it ended.  -ENOENT, -EBUSY,
 * -EINVAL.
 */
int moves_begin(struct agent *, const json_t *order, const char *by, struct err *);
/* Such an order of another agent, if that is who plans, or with "asked", if a person asked it
 * (questions.h). */
int moves_ordered(struct agent *, const char *from, const json_t *order, json_t **answer,
		  struct err *);
/* Of a move that was ordered here, or that who plans learns from. */
int moves_outcome(struct agent *, const char *from, const json_t *outcome, json_t **answer,
		  struct err *);

/* Of the planner's flights, with "phase" and "left_s": a new reference. */
json_t *moves_flights(const struct agent *);

#endif

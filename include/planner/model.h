/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a planner looks at: a snapshot of hosts and VMs at one time, what may be done about them
 * (policy), and what was learned so far.  Plain data: snapshot_read() fills it, plan_make() reads
 * it, nothing else changes it but what_if_apply().
 *
 * Hosts, VMs, moves, reservations and curves are in the order of their names' text.  Shares are
 * 0 to 1; times are seconds since 1970, durations seconds, sizes bytes, CPU use is in cores.
 * Windows are those of policy.window_s, the newest first.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "names.h"

enum { WINDOWS_MAX = 5, GROUPS_MAX = 4, PAST_MOVES_MAX = 16, CURVE_POINTS = 17 };
enum { SNAPSHOT_VERSION = 1 };

static const uint32_t NOWHERE = UINT32_MAX; /* in place of an index of a host or VM */

enum mode { MODE_RECOMMEND, MODE_AUTO, MODE_EMERGENCY };
enum host_state { HOST_UP, HOST_DRAINING, HOST_MAINTENANCE, HOST_DEAD };

struct windows {
	uint32_t n;
	double value[WINDOWS_MAX];
};

struct groups {
	uint32_t n;
	uint32_t name[GROUPS_MAX];
};

/* A move that is over, with what was predicted for it. */
struct past_move {
	uint64_t at; /* its end */
	uint32_t from; /* name of the host it left */
	double took_s, predicted_s;
	double blackout_s, predicted_blackout_s;
	double gain, predicted_gain; /* vCPUs won back */
};

struct past {
	uint32_t n;
	struct past_move *move; /* the newest first */
};

struct host {
	uint32_t name;
	uint64_t at; /* of what is said here */
	unsigned state; /* enum host_state */
	double cores;
	uint64_t memory, reserve;
	uint64_t available; /* memory that is free now, of which reserve should stay */
	double link; /* bytes per second */
	double link_used; /* share of it */
	uint32_t class; /* of hosts with one delay curve; NAME_NONE: of all that have none */
	uint64_t maintenance_at; /* 0: none is planned */
	struct windows use; /* share of cores that was busy */
	double psi_cpu, psi_mem, psi_io; /* information only */
};

struct vm {
	uint32_t name;
	uint32_t host_name, host; /* host: index, or NOWHERE */
	uint64_t at;
	uint64_t vcpus, memory, resident, working_set;
	double weight;
	double age_s; /* 0: not known */
	double contended_s; /* for how long it has not got what it wants; 0: as its windows say */
	struct groups together, apart; /* affinity, anti-affinity */
	bool pinned;
	struct windows run, delay, throttled; /* shares of its vCPUs' time */
	struct windows mem, io; /* PSI: some of memory, full of I/O */
	double cpu_mean, cpu_deviation;
	double cpu_yesterday; /* from this hour on, part of the mean; below 0: days are not alike */
	double dirty_rate; /* bytes per second */
	uint64_t write_set; /* bytes it writes again and again */
	uint64_t to_send; /* bytes that a move sends at first; 0: as many as are resident */
	struct past past;
};

/* A move under way. */
struct flight {
	uint32_t vm, from, to; /* names */
	uint64_t since;
};

/* Room that a host keeps for a VM to come. */
struct reservation {
	uint32_t host, vm; /* names */
	uint64_t memory, vcpus, until;
};

/* Share of time that a vCPU waits on a host of a class, at use 0, 0.1, ... of its cores. */
struct curve {
	uint32_t class;
	double delay[CURVE_POINTS];
};

/* What outcomes of moves taught, in place of first guesses. */
struct corrections {
	double rate; /* bytes per second got, of those reckoned with */
	double setup_s; /* of each move, beside sending and blackout */
	double fixed_s; /* of each blackout, beside its bytes */
	double slowdown; /* share that a VM loses while it moves */
};

struct policy {
	double interval_s, window_s, stale_intervals;
	double hold_windows, happy_low, use_high, use_fill, deviations;
	double near, random;
	double margin, gain_min, knee_min, knee_hosts, knee_share;
	double cooldown_s, cooldown_moves, cooldown_growth, cooldown_max_s, history_s;
	double return_cooldowns;
	double out_max, in_max, cluster_min, cluster_share, link_share, freeze_windows;
	double budget_day, audit_moves, audit_share;
	double waves_max, hosts_in_reserve, energy;
	double blackout_s, rounds_max, send_cores, gib_price, together_price;
	double explain_max;
};

/* A host or VM that is left out of the plan, or of which something is. */
struct refused {
	bool absurd; /* else stale */
	char *sentence;
	char *line; /* as it was read, of one that is not in the snapshot; else NULL */
	uint32_t host; /* name of the host that it is about or that it says the VM is on */
};

struct snapshot {
	uint64_t time;
	unsigned mode; /* enum mode */
	struct corrections corrections;
	struct policy policy;
	struct names names;
	struct host *host;
	struct vm *vm;
	struct flight *flight;
	struct reservation *reservation;
	struct curve *curve;
	struct refused *refused;
	uint32_t nhost, nvm, nflight, nreservation, ncurve, nrefused;
	uint32_t host_room, vm_room, flight_room, reservation_room, curve_room, refused_room;
	uint32_t *host_of, *vm_of; /* index for each name, see snapshot_host() */
	uint32_t known; /* names that these two cover */
};

#endif

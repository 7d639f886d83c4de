/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of local.h share. */
#ifndef LOCAL_INTERNAL_H
#define LOCAL_INTERNAL_H

#include "cpu_policy.h"
#include "cpu_weight.h"
#include "host_view.h"
#include "local.h"
#include "local_ask.h"
#include "pin_policy.h"
#include "reclaim_policy.h"

/* What a VM has that is not its own. */
enum local_why { LOCAL_CPU, LOCAL_MEMORY, LOCAL_PIN, LOCAL_WEIGHT, LOCAL_WHYS };
enum { LOCAL_WHY_BYTES = 128 };

/* A VM of this host.  It is the thread's own but for the sentences, which are under the lock. */
struct local_vm {
	struct list node;
	char name[65];
	pid_t pid;
	bool seen;
	bool stays; /* it does not move */
	double borrows; /* as its spec has it; 0: none may be lent */
	bool roams; /* the same: idle CPUs may be lent to it */
	uint64_t memory_min; /* the same; 0: none may be taken */
	double weight; /* the same; 0: nothing is said of it */
	double own; /* limit that it had before it was lent any */
	bool answers;
	struct local_reading now;
	struct cpu_guest cpu;
	struct pin_guest pin;
	struct memory_guest memory;
	struct reclaim_guest reclaim;
	struct cpu_weight group;
	double weighed; /* the weight that its group has been given */
	char why[LOCAL_WHYS][LOCAL_WHY_BYTES]; /* "": it has its own */
};

/* Of the host; all 0: the beat before did not look at them. */
struct local_cpus {
	bool looked;
	struct cpu_ticks last[CPU_SETSIZE];
	struct pin_cpu cpu[CPU_SETSIZE];
};

struct local {
	struct list vms; /* nodes are added and removed with the lock */
	struct cpu_loans loans;
	struct cpu_weights weights;
	struct local_cpus cpus;
	struct host_reading last; /* of the host; now_ns 0: none yet */
};

/* Of one beat. */
struct beat {
	struct agent *agent;
	struct local *local;
	struct list gone; /* VMs whose processes have ended */
	double cores; /* that VMs may have */
	uint64_t promised, reserve; /* promised: bytes that VMs may have; 0: all */
	struct host_reading host;
	double seconds; /* since the beat before; 0: there was none */
};

/* All of it without the lock. */

/* A memory_min is in its spec, and nothing keeps it from being asked for some now. */
bool local_may_take(const struct local_vm *);

/* local_reclaim.c: what the host's swap can take, when the host lacks that much after all else.
 * guests: room for all. */
void local_reclaim(struct beat *, uint64_t lack, struct reclaim_guest **guests);

/* local_pin.c: idle CPUs for VMs that are pinned to busy ones.  guests: room for all. */
void local_pins(struct beat *, struct pin_guest **guests);
void local_pin_back(struct agent *, struct local_vm *, const char *why);

/* local_weight.c: weights of groups while VMs wait. */
void local_weights(struct beat *, const struct cpu_host *);
void local_weight_back(struct agent *, struct local_vm *, const char *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs a VM that is pinned to some may use beside these: such as nobody uses, while others
 * keep its own busy, for as long as that is so.  Pure.
 */
#ifndef PIN_POLICY_H
#define PIN_POLICY_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

struct pin_cpu {
	double busy; /* share of the time since the beat before */
	double idle_s; /* for so long it did little */
	unsigned node; /* of the host's memory */
};

struct pin_host {
	double seconds; /* since the beat before */
	bool wait; /* VMs that may run anywhere wait for a CPU */
	cpu_set_t may; /* be lent */
	struct pin_cpu *cpu; /* CPU_SETSIZE of them */
};

enum pin_why { PIN_STAYS, PIN_LENT, PIN_WAIT, PIN_FREE };

/* Seconds are 0 at first. */
struct pin_guest {
	cpu_set_t own, lent;
	unsigned vcpus; /* that are pinned */
	double run; /* cores, since the beat before */
	bool waits; /* for more */
	double wait_s, free_s; /* for so long it waited, or would find room on its own */
	cpu_set_t target; /* to be lent to it */
	enum pin_why why;
};

void pin_policy(const struct pin_host *, struct pin_guest *const guests[], size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the threads of a VM's vCPUs get no more than so many cores together: each charges the time
 * that a processor ran it to a budget that all share (limiter.h), a slice at a time, and sleeps
 * until what it is in debt is repaid.  The time comes back evenly, all of a budget within
 * VCPU_LIMIT_PERIOD_MS, so that a guest that was idle may use at most so much of it at once.  A
 * timer that runs only while its thread does interrupts KVM_RUN: a guest that halts is left alone.
 */
#ifndef VCPU_LIMIT_H
#define VCPU_LIMIT_H

#include <time.h>

#include "limiter.h"

enum { VCPU_LIMIT_PERIOD_MS = 20 };

struct vcpu_limit { /* one thread's */
	bool active, has_timer;
	timer_t timer;
	unsigned changes; /* of the budget, when this was last set up */
	uint64_t slice_ns, looked_ns; /* CLOCK_MONOTONIC */
	uint64_t charged_ns; /* of the thread's own time */
	struct limiter_taker taker;
};

/* Of a limit in thousandths of a core; 0: none. */
struct limiter_config vcpu_limit_budget(uint32_t thousandths);
/* How long a thread runs before it is charged. */
uint64_t vcpu_limit_slice_ns(const struct limiter *budget);

/*
 * On the vCPU's thread, without the machine lock, before each KVM_RUN: charge it, and sleep if the
 * budget is in debt, unless or until *stop is set and the signal comes.  percent: of its time it is
 * held back beside that, so that its time costs more.  The nanoseconds that it slept.
 */
uint64_t vcpu_limit_rest(struct vcpu_limit *, struct limiter *budget, unsigned percent, int signal,
			 const atomic_bool *stop);
static inline bool vcpu_limit_is_on(const struct vcpu_limit *l, const struct limiter *budget)
{
	return l->active || limiter_is_on(budget);
}
void vcpu_limit_end(struct vcpu_limit *); /* when the thread ends */

#endif

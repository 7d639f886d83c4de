/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a vCPU's thread takes only a part of its time: it runs the guest for a slice, counted in time
 * that a processor really ran it, and then sleeps for as long as makes the part right.  A timer
 * interrupts KVM_RUN at the end of the slice.  A sleep is short, so that the guest is never silent
 * for long, and a request to stop ends it.
 */
#ifndef VCPU_THROTTLE_H
#define VCPU_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct vcpu_throttle {
	_Atomic unsigned percent; /* to sleep; written by main, read by the thread */
	/* The thread's */
	bool has_timer, active;
	timer_t timer;
	uint64_t slice_began_ns; /* of the thread's own time */
};

/*
 * On the vCPU's thread, without the machine lock, before each KVM_RUN: arms the timer, which sends
 * the signal, and sleeps if it is time, unless or until *stop is set and the signal comes.  The
 * nanoseconds that it slept.
 */
uint64_t vcpu_throttle_rest(struct vcpu_throttle *, int signal, const atomic_bool *stop);
static inline bool vcpu_throttle_is_on(const struct vcpu_throttle *t)
{
	return t->active || atomic_load(&t->percent);
}
void vcpu_throttle_end(struct vcpu_throttle *); /* when the thread ends */

#endif

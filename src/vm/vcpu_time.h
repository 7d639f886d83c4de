/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds a vCPU back, whatever for, does so with this: the time that a processor ran its
 * thread, a timer that makes it leave the guest, and a sleep.  Each on that thread.
 */
#ifndef VCPU_TIME_H
#define VCPU_TIME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

uint64_t vcpu_time_ns(void); /* a processor ran this thread */

/* Sends the signal to this thread.  -errno. */
int vcpu_timer_new(timer_t *, clockid_t, int signal);
/* After so long, and again and again; 0, 0: off. */
void vcpu_timer_set(timer_t, uint64_t first_ns, uint64_t again_ns);

/* Sleep, until *stop is set or *watched is another than seen, and the signal comes.  The
 * nanoseconds that it slept. */
uint64_t vcpu_doze(uint64_t ns, int signal, const atomic_bool *stop, const atomic_uint *watched,
		   unsigned seen);

#endif

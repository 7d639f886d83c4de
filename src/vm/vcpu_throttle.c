/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu_throttle.h"

#include <string.h>

#include "bits.h"
#include "log.h"
#include "vcpu_time.h"

/* With what wakes late a guest's heartbeat stays below 5 ms. */
#define SLEEP_MAX_NS UINT64_C(3000000)
#define SLICE_MAX_NS UINT64_C(2000000)
/* A signal that comes just before KVM_RUN is lost: the next one is not far. */
#define AGAIN_NS UINT64_C(1000000)

static void begin(struct vcpu_throttle *t, int signal)
{
	int r = t->has_timer ? 0 : vcpu_timer_new(&t->timer, CLOCK_MONOTONIC, signal);

	/* It sleeps then only when the guest leaves by itself. */
	if (r && !t->active)
		log_warn("no timer to slow a vCPU down: %s", strerror(-r));
	t->has_timer = !r;
	t->active = true;
	t->slice_began_ns = vcpu_time_ns();
}

uint64_t vcpu_throttle_rest(struct vcpu_throttle *t, int signal, const atomic_bool *stop)
{
	unsigned percent = atomic_load(&t->percent);
	uint64_t slice_ns, ran_ns, slept_ns = 0;

	if (!percent) {
		if (t->has_timer)
			vcpu_timer_set(t->timer, 0, 0);
		t->active = false;
		return 0;
	}
	if (!t->active)
		begin(t, signal);
	slice_ns = MIN(SLICE_MAX_NS, SLEEP_MAX_NS * (100 - percent) / percent);
	ran_ns = vcpu_time_ns() - t->slice_began_ns;
	if (ran_ns >= slice_ns) {
		slept_ns = vcpu_doze(MIN(SLEEP_MAX_NS, ran_ns * percent / (100 - percent)), signal,
				     stop, &t->percent, percent);
		t->slice_began_ns = vcpu_time_ns();
		ran_ns = 0;
	}
	if (t->has_timer)
		vcpu_timer_set(t->timer, slice_ns - ran_ns, AGAIN_NS);
	return slept_ns;
}

void vcpu_throttle_end(struct vcpu_throttle *t)
{
	if (t->has_timer)
		timer_delete(t->timer);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu_limit.h"

#include <string.h>

#include "bits.h"
#include "log.h"
#include "loop.h"
#include "vcpu.h"
#include "vcpu_time.h"
#include "vm.h"

#define NS_PER_MS UINT64_C(1000000)

struct limit_counters {
	_Atomic uint64_t limit_ns, throttled_ns;
};

static const struct counter counters[] = {
	COUNTER_GAUGE_OF(struct limit_counters, limit_ns, .metric = "godwit_cpus_limit_seconds",
			 .unit = COUNTER_NANOSECONDS,
			 .help = "Processor time that all vCPUs have in a second; 0: no limit."),
	COUNTER(struct limit_counters, throttled_ns, .metric = "godwit_cpus_throttled_seconds",
		.unit = COUNTER_NANOSECONDS,
		.help = "Time that the kernel held threads of the VM back for its limit."),
};
static const struct counter_table table = COUNTER_TABLE(struct limit_counters, counters,
							.is_machine = true);

/* Less is not worth the exits, more is felt by the guest; a tick of the host may make it more. */
#define SLICE_MIN_NS UINT64_C(200000)
#define SLICE_MAX_NS UINT64_C(2000000)

struct limiter_config vcpu_limit_budget(uint32_t thousandths)
{
	return (struct limiter_config){
		.bandwidth = { .size = thousandths * (VCPU_LIMIT_PERIOD_MS * NS_PER_MS / 1000),
			       .refill_time = VCPU_LIMIT_PERIOD_MS },
	};
}

uint64_t vcpu_limit_slice_ns(const struct limiter *budget)
{
	return MIN(MAX(atomic_load(&budget->bandwidth.size) / 2, SLICE_MIN_NS), SLICE_MAX_NS);
}

static void begin(struct vcpu_limit *l, const struct limiter *budget, unsigned changes, int signal)
{
	int r = l->has_timer ? 0 : vcpu_timer_new(&l->timer, CLOCK_THREAD_CPUTIME_ID, signal);

	/* It sleeps then only when the guest leaves by itself. */
	if (r && !l->active)
		log_warn("no timer to limit a vCPU: %s", strerror(-r));
	l->has_timer = !r;
	l->slice_ns = vcpu_limit_slice_ns(budget);
	if (!l->active) {
		l->charged_ns = vcpu_time_ns();
		l->looked_ns = loop_now_ns();
	}
	l->active = true;
	l->changes = changes;
	/* A signal that comes just before KVM_RUN is lost: the next slice has another. */
	if (l->has_timer)
		vcpu_timer_set(l->timer, l->slice_ns, l->slice_ns);
}

uint64_t vcpu_limit_rest(struct vcpu_limit *l, struct limiter *budget, unsigned percent, int signal,
			 const atomic_bool *stop)
{
	unsigned changes = atomic_load(&budget->changes);
	uint64_t now_ns = loop_now_ns(), ran_ns, wait_ns;

	if (!limiter_is_on(budget)) {
		if (l->has_timer)
			vcpu_timer_set(l->timer, 0, 0);
		l->active = false;
		return 0;
	}
	if (!l->active || l->changes != changes)
		begin(l, budget, changes, signal);
	/* A look at the thread's time costs a system call, and it cannot have run for longer. */
	if (now_ns - l->looked_ns < l->slice_ns)
		return 0;
	l->looked_ns = now_ns;
	ran_ns = vcpu_time_ns() - l->charged_ns;
	if (ran_ns < l->slice_ns)
		return 0;
	l->charged_ns += ran_ns;
	wait_ns = limiter_charge(budget, &l->taker, ran_ns * 100 / (100 - percent), now_ns);
	return wait_ns ? vcpu_doze(wait_ns, signal, stop, &budget->changes, changes) : 0;
}

void vcpu_limit_end(struct vcpu_limit *l)
{
	if (l->has_timer)
		timer_delete(l->timer);
}

int vcpu_limit_read(const struct vm *vm, struct counter_readings *all)
{
	struct limit_counters now = { .limit_ns = vm->cpu_limit * NS_PER_MS,
				      .throttled_ns = cpu_quota_throttled_ns(&vm->cpu_quota) };

	return counters_add(all, &table, "cpus", &now);
}

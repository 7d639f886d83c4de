/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a vCPU: it enters the guest and deals with what makes it leave. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "emulation.h"
#include "vcpu_internal.h"

#define EXIT_COUNTER(kind) offsetof(struct vcpu_counters, exits_##kind)

static const uint8_t exit_counters[] = {
	[KVM_EXIT_IO] = EXIT_COUNTER(io),
	[KVM_EXIT_MMIO] = EXIT_COUNTER(mmio),
	[KVM_EXIT_HLT] = EXIT_COUNTER(hlt),
	[KVM_EXIT_INTR] = EXIT_COUNTER(intr),
	[KVM_EXIT_SHUTDOWN] = EXIT_COUNTER(shutdown),
	[KVM_EXIT_DEBUG] = EXIT_COUNTER(debug),
	[KVM_EXIT_SYSTEM_EVENT] = EXIT_COUNTER(system_event),
};

static void vcpu_count_exit(struct vcpu *v, uint32_t reason)
{
	size_t at = reason < ARRAY_SIZE(exit_counters) ? exit_counters[reason] : 0;

	counter_add((void *)((char *)v->counters + at), 1);
}

static void vcpu_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct bus *pio = &v->dev.vm->pio;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(pio, run->io.port, run->io.size, get_le(data, run->io.size));
		else
			put_le(data, run->io.size, bus_read(pio, run->io.port, run->io.size));
	}
}

static void vcpu_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct bus *mmio = &v->dev.vm->mmio;
	unsigned len = run->mmio.len;

	if (run->mmio.is_write)
		bus_write(mmio, run->mmio.phys_addr, len, get_le(run->mmio.data, len));
	else
		put_le(run->mmio.data, len, bus_read(mmio, run->mmio.phys_addr, len));
}

static void vcpu_internal_error(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct kvm_regs regs = { 0 };
	char text[256];

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		vm_fail(v->dev.vm, "%s: KVM failed inside (suberror %u); see the host's kernel log",
			v->dev.id, run->internal.suberror);
		return;
	}
	ioctl(v->fd, KVM_GET_REGS, &regs);
	emulation_explain(run, regs.rip, text, sizeof(text));
	v->dev.vm->emulation_failed = true;
	vm_fail(v->dev.vm, "%s: %s", v->dev.id, text);
}

static void vcpu_system_event(struct vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_raise(v->dev.vm, VM_POWEROFF);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_raise(v->dev.vm, VM_RESET);
		break;
	default:
		vm_raise(v->dev.vm, VM_PANIC);
	}
}

/* Returns whether the vCPU may run on.  Under the machine lock. */
static bool vcpu_exit(struct vcpu *v)
{
	vcpu_count_exit(v, v->run->exit_reason);
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		vcpu_io(v);
		return true;
	case KVM_EXIT_MMIO:
		vcpu_mmio(v);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN: /* triple fault */
		vm_raise(v->dev.vm, VM_RESET);
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		vcpu_system_event(v);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		vcpu_internal_error(v);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		vm_fail(v->dev.vm, "%s: the processor refuses the guest's state (reason %#llx)",
			v->dev.id,
			(unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
		return false;
	default:
		vm_fail(v->dev.vm, "%s: KVM stopped for a reason this version does not know (%u)",
			v->dev.id, v->run->exit_reason);
		return false;
	}
}

/* Of a failed KVM_RUN. */
static const char *vcpu_why(struct vm *vm, int code)
{
	return code == EFAULT && guest_mem_pluggable(vm->mem)
		       ? "; it may have written to memory that it has not plugged"
		       : "";
}

/* Enter the guest once and deal with the exit.  Returns whether the vCPU may run on. */
static bool vcpu_enter(struct vcpu *v)
{
	struct vm *vm = v->dev.vm;
	bool go_on;

	if (ioctl(v->fd, KVM_RUN, 0) < 0) {
		if (errno == EINTR || errno == EAGAIN) {
			vcpu_count_exit(v, KVM_EXIT_INTR);
			return true;
		}
		pthread_mutex_lock(&vm->lock);
		vm_fail(vm, "%s: KVM cannot run the guest: %s%s", v->dev.id, strerror(errno),
			vcpu_why(vm, errno));
		pthread_mutex_unlock(&vm->lock);
		return false;
	}
	pthread_mutex_lock(&vm->lock);
	go_on = vcpu_exit(v);
	pthread_mutex_unlock(&vm->lock);
	return go_on;
}

/*
 * KVM finishes an access that left to user space at the next KVM_RUN, and only then are the
 * registers whole: with immediate_exit it does just that.  A string instruction may leave
 * again for its next part.
 */
static void vcpu_finish_access(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
	while (ioctl(v->fd, KVM_RUN, 0) == 0) {
		pthread_mutex_lock(&v->dev.vm->lock);
		bool go_on = vcpu_exit(v);

		pthread_mutex_unlock(&v->dev.vm->lock);
		if (!go_on)
			break;
	}
}

/* For a migration, and as its VM has a limit. */
static void vcpu_hold_back(struct vcpu *v)
{
	struct limiter *budget = &v->dev.vm->cpu_budget;
	uint64_t ns;

	if (vcpu_throttle_is_on(&v->throttle)) {
		ns = vcpu_throttle_rest(&v->throttle, VCPU_SIGNAL, &v->stop_asked);
		counter_add(&v->slowed_ns, ns);
		counter_add(&v->counters->throttled_ns, ns);
	}
	if (vcpu_limit_is_on(&v->limit, budget)) {
		ns = vcpu_limit_rest(&v->limit, budget, atomic_load(&v->throttle.percent),
				     VCPU_SIGNAL, &v->stop_asked);
		counter_add(&v->counters->throttled_ns, ns);
	}
}

/* Until it is asked to stop: true; or cannot run on. */
static bool vcpu_run(struct vcpu *v)
{
	bool go_on = true;

	for (; go_on; go_on = vcpu_enter(v)) {
		/* Whatever was asked for with it is looked at after this. */
		if (__atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED))
			__atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		vcpu_hold_back(v);
		if (atomic_load(&v->stop_asked))
			break;
	}
	return go_on;
}

void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct vm *vm = v->dev.vm;

	atomic_store(&v->tid, gettid());
	pthread_mutex_lock(&vm->lock);
	for (;;) {
		while (!v->running && !v->quit)
			pthread_cond_wait(&v->go, &vm->lock);
		if (v->quit)
			break;
		pthread_mutex_unlock(&vm->lock);
		if (vcpu_run(v))
			vcpu_finish_access(v);
		pthread_mutex_lock(&vm->lock);
		/* A vCPU that cannot run on waits here until main stops the VM. */
		while (!atomic_load(&v->stop_asked))
			pthread_cond_wait(&v->go, &vm->lock);
		v->running = false;
		loop_post(vm->loop, &v->parked);
	}
	pthread_mutex_unlock(&vm->lock);
	vcpu_throttle_end(&v->throttle);
	vcpu_limit_end(&v->limit);
	return NULL;
}

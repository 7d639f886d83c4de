/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "bits.h"
#include "cleanup.h"
#include "emulation.h"
#include "kvm.h"
#include "kvm_ring0.h"
#include "thread.h"
#include "vcpu.h"
#include "vcpu_state.h"
#include "vcpu_throttle.h"
#include "vcpu_tsc.h"
#include "vm.h"

/* Interrupts KVM_RUN; its handler does nothing. */
#define VCPU_SIGNAL SIGUSR1

struct vcpu_counters {
	_Atomic uint64_t exits_other; /* first: what has no place in exit_counters */
	_Atomic uint64_t exits_io, exits_mmio, exits_hlt, exits_intr, exits_shutdown, exits_debug;
	_Atomic uint64_t exits_system_event;
	_Atomic uint64_t run_ns, wait_ns; /* main's: the kernel counts them */
	_Atomic uint64_t throttled_ns;
};

struct vcpu {
	struct device dev;
	uint32_t index, apic_id; /* options */
	int fd;
	struct kvm_run *run; /* the thread's while RUNNING; immediate_exit: any thread */
	size_t run_bytes;
	pthread_t thread;
	_Atomic pid_t tid; /* written by the thread, read by main; 0: it has not begun */
	struct vcpu_counters *counters;
	pthread_cond_t go; /* with the machine lock: running or quit changed */
	bool running, quit; /* written by main under the machine lock */
	atomic_bool stop_asked; /* written by main, read by the thread without the lock */
	struct vcpu_throttle throttle;
	struct work parked; /* the thread tells main that it is parked */
	bool msr_warned; /* one vCPU's warning is enough */
	bool was_paused; /* the guest has lost time since it last ran */
	uint32_t tsc_khz; /* 0: KVM does not say */
	struct vcpu_state s, fresh;
};

static const struct option vcpu_options[] = {
	OPTION(struct vcpu, index, .fallback = "0"),
	OPTION(struct vcpu, apic_id, .fallback = "0"),
};
static const struct option_table vcpu_table = OPTION_TABLE(vcpu_options);

#define EXITS(kind, what)                                                                          \
	COUNTER(struct vcpu_counters, exits_##kind, .metric = "godwit_vcpu_exits",                 \
		.label = "reason", .label_value = (what),                                          \
		.help = "Times the guest left to the monitor.")

static const struct counter vcpu_counters[] = {
	EXITS(other, "other"),
	EXITS(io, "io"),
	EXITS(mmio, "mmio"),
	EXITS(hlt, "hlt"),
	EXITS(intr, "intr"),
	EXITS(shutdown, "shutdown"),
	EXITS(debug, "debug"),
	EXITS(system_event, "system_event"),
	COUNTER(struct vcpu_counters, run_ns, .metric = "godwit_vcpu_run_seconds",
		.unit = COUNTER_NANOSECONDS, .help = "Time that a processor ran the vCPU."),
	COUNTER(struct vcpu_counters, wait_ns, .metric = "godwit_vcpu_wait_seconds",
		.unit = COUNTER_NANOSECONDS,
		.help = "Time the vCPU waited for a processor: stolen, as the guest sees it."),
	COUNTER(struct vcpu_counters, throttled_ns, .metric = "godwit_vcpu_throttled_seconds",
		.unit = COUNTER_NANOSECONDS,
		.help = "Time the vCPU was held back so that a migration comes to an end."),
};

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

/* Linux, Documentation/scheduler/sched-stats.rst; a kernel may be without it. */
static bool vcpu_fetch_counters(struct device *dev)
{
	struct vcpu *v = (struct vcpu *)dev;
	unsigned long long run_ns, wait_ns;
	CLEANUP(file) FILE *f = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", (int)atomic_load(&v->tid));
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu %llu", &run_ns, &wait_ns) == 2) {
		counter_set(&v->counters->run_ns, run_ns);
		counter_set(&v->counters->wait_ns, wait_ns);
	}
	return true;
}

static const struct counter_table vcpu_counter_table = COUNTER_TABLE(
	struct vcpu_counters, vcpu_counters, .is_machine = true, .fetch = vcpu_fetch_counters);

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

/* Otherwise KVM emulates single accesses to devices, and another host would not do better. */
static bool vcpu_is_emulated(struct vcpu *v)
{
	enum kvm_ring0 ring0;
	struct err unused;

	return !kvm_ring0(v->dev.vm->kvm_fd, &ring0, &unused) && ring0 == KVM_RING0_EMULATOR;
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
	vm_fail(v->dev.vm, "%s: %s%s", v->dev.id, text,
		vcpu_is_emulated(v) ? "; " KVM_RING0_EMULATOR_MEANS " (see: godwit probe)" : "");
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
		vm_fail(vm, "%s: KVM cannot run the guest: %s", v->dev.id, strerror(errno));
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

/* Until it is asked to stop: true; or cannot run on. */
static bool vcpu_run(struct vcpu *v)
{
	bool go_on = true;

	for (; go_on; go_on = vcpu_enter(v)) {
		/* Whatever was asked for with it is looked at after this. */
		if (__atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED))
			__atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		if (vcpu_throttle_is_on(&v->throttle))
			counter_add(&v->counters->throttled_ns,
				    vcpu_throttle_rest(&v->throttle, VCPU_SIGNAL, &v->stop_asked));
		if (atomic_load(&v->stop_asked))
			break;
	}
	return go_on;
}

static void *vcpu_main(void *arg)
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
	return NULL;
}

static void vcpu_start(struct device *dev)
{
	struct vcpu *v = (struct vcpu *)dev;

	/* Tells the guest that lost time is not a hang; refused if it has no kvmclock. */
	if (v->was_paused)
		ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);
	atomic_store(&v->stop_asked, false);
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELAXED);
	v->running = true;
	pthread_cond_signal(&v->go);
}

static void vcpu_interrupt(struct vcpu *v)
{
	/* For the window between the thread's look at what is asked and KVM_RUN. */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELEASE);
	pthread_kill(v->thread, VCPU_SIGNAL);
}

static void vcpu_stop(struct device *dev)
{
	struct vcpu *v = (struct vcpu *)dev;

	v->was_paused = true;
	atomic_store(&v->stop_asked, true);
	vcpu_interrupt(v);
	pthread_cond_signal(&v->go);
}

static void vcpu_parked(void *arg)
{
	device_stopped(arg);
}

static void vcpu_end_thread(void *arg)
{
	struct vcpu *v = arg;

	pthread_mutex_lock(&v->dev.vm->lock);
	v->quit = true;
	pthread_cond_signal(&v->go);
	pthread_mutex_unlock(&v->dev.vm->lock);
	pthread_join(v->thread, NULL);
	pthread_cond_destroy(&v->go);
}

static void vcpu_unmap(void *arg)
{
	struct vcpu *v = arg;

	munmap(v->run, v->run_bytes);
}

static int vcpu_new_fd(struct vcpu *v, struct err *e)
{
	struct vm *vm = v->dev.vm;
	int size, fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)v->apic_id);
	int r;

	if (fd < 0)
		return err_set(e, -errno, "KVM cannot make vCPU %u: %s", v->index, strerror(errno));
	r = device_claim_fd(&v->dev, fd, e);
	if (r) {
		close(fd);
		return r;
	}
	v->fd = fd;
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*v->run))
		return err_set(e, -ENOTSUP, "KVM's vCPU area is too small");
	v->run_bytes = (size_t)size;
	v->run = mmap(NULL, v->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (v->run == MAP_FAILED)
		return err_set(e, -errno, "cannot map vCPU %u: %s", v->index, strerror(errno));
	r = device_claim(&v->dev, vcpu_unmap, v, e);
	if (r)
		vcpu_unmap(v);
	return r;
}

static void vcpu_signalled(int sig)
{
	(void)sig;
}

static int vcpu_new_thread(struct vcpu *v, struct err *e)
{
	struct sigaction ignore = { .sa_handler = vcpu_signalled };
	char name[16];
	int r;

	sigaction(VCPU_SIGNAL, &ignore, NULL);
	snprintf(name, sizeof(name), "vcpu%u", v->index);
	pthread_cond_init(&v->go, NULL);
	r = thread_new(&v->thread, name, VCPU_SIGNAL, vcpu_main, v);
	if (r)
		return err_set(e, r, "cannot start the thread of vCPU %u: %s", v->index,
			       strerror(-r));
	r = device_claim(&v->dev, vcpu_end_thread, v, e);
	if (r)
		vcpu_end_thread(v);
	return r;
}

static int vcpu_set_cpuid(struct vcpu *v, struct err *e)
{
	struct vm *vm = v->dev.vm;

	if (vm->cpuid && ioctl(v->fd, KVM_SET_CPUID2, vm->cpuid(vm->cpuid_arg, v->index)) < 0)
		return err_set(e, -errno, "KVM refuses the CPUID of vCPU %u: %s", v->index,
			       strerror(errno));
	return 0;
}

/* That of the host where the guest began, if it comes from elsewhere: before its TSC is loaded. */
static int vcpu_set_tsc_khz(struct vcpu *v, struct err *e)
{
	uint32_t khz = v->dev.vm->tsc_khz;

	if (khz && ioctl(v->fd, KVM_SET_TSC_KHZ, khz) < 0)
		return err_set(e, -errno,
			       "KVM cannot run the TSC of vCPU %u at %u kHz, as on the host where "
			       "the guest comes from: %s",
			       v->index, khz, strerror(errno));
	v->tsc_khz = kvm_tsc_khz(v->fd);
	return 0;
}

static int vcpu_attach(struct device *dev, struct err *e)
{
	struct vcpu *v = (struct vcpu *)dev;
	int r = device_claim_counters(dev, 1, e);

	if (!r)
		r = vcpu_new_fd(v, e);
	if (!r)
		v->counters = device_counters(dev, 0);
	v->parked = (struct work){ .run = vcpu_parked, .arg = dev };
	v->msr_warned = v->index > 0;
	if (!r)
		r = vcpu_set_cpuid(v, e);
	if (!r)
		r = vcpu_set_tsc_khz(v, e);
	/* Power-on values are KVM's own: kept for every later reset. */
	if (!r)
		r = vcpu_state_get(&v->fresh, dev->vm->kvm_fd, dev->vm->fd, v->fd, &v->msr_warned,
				   e);
	if (r)
		return r;
	v->s = v->fresh;
	return vcpu_new_thread(v, e);
}

static struct vcpu *vcpu_first(struct vcpu *v)
{
	struct device *dev;

	list_for_each (dev, &v->dev.vm->devices, node)
		if (dev->class == v->dev.class)
			return (struct vcpu *)dev;
	return v;
}

static int vcpu_restore(struct vcpu *v, struct err *e)
{
	uint64_t away_ns = vm_away_ns(v->dev.vm, v->s.read_ns);
	int r = vcpu_tsc_restore(&v->s, v->fd, vcpu_first(v)->fd, away_ns, e);

	return r ? r : vcpu_state_set(&v->s, v->fd, &v->msr_warned, e);
}

static int vcpu_loaded(struct device *dev, struct err *e)
{
	struct vcpu *v = (struct vcpu *)dev;

	v->was_paused = true;
	return vcpu_restore(v, e);
}

static void vcpu_reset(struct device *dev)
{
	struct vcpu *v = (struct vcpu *)dev;
	struct err e;

	v->s = v->fresh;
	/* Just made: KVM holds these values already. */
	if (dev->phase != DEVICE_NEW && vcpu_restore(v, &e))
		vm_fail(dev->vm, "%s: %s", dev->id, e.text);
}

static int vcpu_fetch(struct device *dev, struct err *e)
{
	struct vcpu *v = (struct vcpu *)dev;
	int r = vcpu_state_get(&v->s, dev->vm->kvm_fd, dev->vm->fd, v->fd, &v->msr_warned, e);

	/* After the TSC was read: what is added to it must not be too much. */
	v->s.read_ns = vm_wall_clock_ns(dev->vm);
	return r;
}

uint32_t vcpu_tsc_khz(const struct device *dev)
{
	return ((const struct vcpu *)dev)->tsc_khz;
}

uint32_t vcpu_xsave_bytes(const struct device *dev)
{
	return ((const struct vcpu *)dev)->fresh.xsave_bytes;
}

size_t vcpu_msrs(const struct device *dev, uint32_t *index, size_t max)
{
	const struct vcpu_state *fresh = &((const struct vcpu *)dev)->fresh;
	size_t n = MIN(max, fresh->nmsrs);

	for (size_t i = 0; i < n; i++)
		index[i] = fresh->msr[i].index;
	return n;
}

int vcpu_get_registers(struct device *dev, struct kvm_regs *regs, struct kvm_sregs *sregs,
		       struct err *e)
{
	struct vcpu *v = (struct vcpu *)dev;

	assert(dev->phase == DEVICE_STOPPED);
	if (ioctl(v->fd, KVM_GET_REGS, regs) < 0 || ioctl(v->fd, KVM_GET_SREGS, sregs) < 0)
		return err_set(e, -errno, "%s: cannot read registers: %s", dev->id,
			       strerror(errno));
	return 0;
}

int vcpu_set_registers(struct device *dev, const struct kvm_regs *regs,
		       const struct kvm_sregs *sregs, struct err *e)
{
	struct vcpu *v = (struct vcpu *)dev;

	assert(dev->phase == DEVICE_STOPPED);
	if (ioctl(v->fd, KVM_SET_SREGS, sregs) < 0 || ioctl(v->fd, KVM_SET_REGS, regs) < 0)
		return err_set(e, -errno, "%s: cannot set registers: %s", dev->id, strerror(errno));
	return 0;
}

const struct device_class vcpu_class = {
	.kind = "vcpu",
	.size = sizeof(struct vcpu),
	.options = &vcpu_table,
	.state = &vcpu_state_desc,
	.state_offset = offsetof(struct vcpu, s),
	.counters = &vcpu_counter_table,
	.attach = vcpu_attach,
	.reset = vcpu_reset,
	.start = vcpu_start,
	.stop = vcpu_stop,
	.loaded = vcpu_loaded,
	.fetch = vcpu_fetch,
};

void vcpu_throttle(struct vm *vm, unsigned percent)
{
	struct device *dev;

	assert(percent < 100);
	list_for_each (dev, &vm->devices, node) {
		struct vcpu *v = (struct vcpu *)dev;

		if (dev->class != &vcpu_class)
			continue;
		atomic_store(&v->throttle.percent, percent);
		if (dev->phase == DEVICE_RUNNING)
			vcpu_interrupt(v);
	}
}

unsigned vcpu_throttled_ns(struct vm *vm, uint64_t *ns, unsigned max)
{
	struct device *dev;
	unsigned n = 0;

	list_for_each (dev, &vm->devices, node)
		if (dev->class == &vcpu_class && n < max)
			ns[n++] = counter_get(&((struct vcpu *)dev)->counters->throttled_ns);
	return n;
}

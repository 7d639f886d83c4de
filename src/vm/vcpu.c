/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "bits.h"
#include "file.h"
#include "kvm.h"
#include "thread.h"
#include "vcpu_internal.h"
#include "vcpu_tsc.h"

static const struct option vcpu_options[] = {
	OPTION(struct vcpu, index, .fallback = "0"),
	OPTION(struct vcpu, apic_id, .fallback = "0"),
	OPTION(struct vcpu, absent, .fallback = "off"),
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
		.help = "Time the vCPU was held back, by a limit or for a migration."),
};

/* Linux, Documentation/scheduler/sched-stats.rst; a kernel may be without it. */
static void fetch_schedstat(struct vcpu *v)
{
	unsigned long long run_ns, wait_ns;
	char path[64], text[128];

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", (int)atomic_load(&v->tid));
	file_read_again(&v->schedstat_fd, path, text, sizeof(text));
	if (sscanf(text, "%llu %llu", &run_ns, &wait_ns) == 2) {
		counter_set(&v->counters->run_ns, run_ns);
		counter_set(&v->counters->wait_ns, wait_ns);
	}
}

static bool vcpu_fetch_counters(struct device *dev)
{
	struct vcpu *v = (struct vcpu *)dev;

	if (!v->absent)
		fetch_schedstat(v);
	return !v->absent;
}

static const struct counter_table vcpu_counter_table = COUNTER_TABLE(
	struct vcpu_counters, vcpu_counters, .is_machine = true, .fetch = vcpu_fetch_counters);

static void vcpu_start(struct device *dev)
{
	struct vcpu *v = (struct vcpu *)dev;

	if (v->absent)
		return;
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

	if (v->absent) {
		device_stopped(dev);
		return;
	}
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
	if (v->schedstat_fd >= 0)
		close(v->schedstat_fd);
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
	r = thread_new(&v->thread, name, SANDBOX_VCPU, VCPU_SIGNAL, vcpu_main, v);
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
	v->schedstat_fd = -1;
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

/* Others may run meanwhile, and their fds are their threads'.  A state that is being loaded
 * stays. */
static int vcpu_power_on(struct vcpu *v, struct err *e)
{
	int r = vcpu_tsc_reset(v->fd, e);

	v->was_paused = false;
	return r ? r : vcpu_state_set(&v->fresh, v->fd, &v->msr_warned, e);
}

bool vcpu_is_present(const struct device *dev)
{
	return !((const struct vcpu *)dev)->absent;
}

void vcpu_set_present(struct device *dev, bool present)
{
	struct vcpu *v = (struct vcpu *)dev;
	struct err e;

	assert(dev->phase == DEVICE_STOPPED || (dev->phase == DEVICE_RUNNING && v->absent));
	if (present != v->absent)
		return;
	if (vcpu_power_on(v, &e))
		vm_fail(dev->vm, "%s: %s", dev->id, e.text);
	v->absent = !present;
	if (dev->phase == DEVICE_RUNNING)
		vcpu_start(dev);
}

int vcpu_pin(struct device *dev, const cpu_set_t *cpus)
{
	return -pthread_setaffinity_np(((struct vcpu *)dev)->thread, sizeof(*cpus), cpus);
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

/* Each looks at what holds it back. */
static void vcpu_interrupt_all(struct vm *vm)
{
	struct device *dev;

	list_for_each (dev, &vm->devices, node)
		if (dev->class == &vcpu_class && dev->phase == DEVICE_RUNNING &&
		    vcpu_is_present(dev))
			vcpu_interrupt((struct vcpu *)dev);
}

void vcpu_throttle(struct vm *vm, unsigned percent)
{
	struct device *dev;

	assert(percent < 100);
	list_for_each (dev, &vm->devices, node)
		if (dev->class == &vcpu_class)
			atomic_store(&((struct vcpu *)dev)->throttle.percent, percent);
	vcpu_interrupt_all(vm);
}

void vcpu_limit(struct vm *vm, uint32_t thousandths, bool all_threads)
{
	bool by_kernel = !cpu_quota_set(&vm->cpu_quota, all_threads ? thousandths : 0) &&
			 all_threads;
	struct limiter_config budget = vcpu_limit_budget(by_kernel ? 0 : thousandths);

	vm->cpu_limit = thousandths;
	limiter_set(&vm->cpu_budget, &budget, loop_now_ns());
	vcpu_interrupt_all(vm);
}

unsigned vcpu_throttled_ns(struct vm *vm, uint64_t *ns, unsigned max)
{
	struct device *dev;
	unsigned n = 0;

	list_for_each (dev, &vm->devices, node)
		if (dev->class == &vcpu_class && vcpu_is_present(dev) && n < max)
			ns[n++] = counter_get(&((struct vcpu *)dev)->slowed_ns);
	return n;
}

struct vcpu_times vcpu_times(struct vm *vm)
{
	struct vcpu_times sum = { 0 };
	struct device *dev;

	list_for_each (dev, &vm->devices, node) {
		const struct vcpu *v = (struct vcpu *)dev;

		if (dev->class != &vcpu_class || !vcpu_fetch_counters(dev))
			continue;
		sum.run_ns += counter_get(&v->counters->run_ns);
		sum.wait_ns += counter_get(&v->counters->wait_ns);
		sum.throttled_ns += counter_get(&v->counters->throttled_ns);
	}
	return sum;
}

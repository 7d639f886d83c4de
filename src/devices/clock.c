/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's clock inside KVM (kvmclock).  It stands while the VM is paused, so that a pause costs
 * the guest no time of its own.  After a move it goes on with the time that has passed meanwhile,
 * see vm_away_ns(): the guest's wall clock is made of it.  KVM_CLOCK_REALTIME would add that time,
 * too, but without a limit and not with every kernel.  The TSC is the vCPUs'.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.29, 4.30.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vm.h"

struct clock_state {
	uint64_t now_ns;
	uint64_t stopped_ns; /* the host's wall clock then; 0: unknown */
};

struct clock {
	struct device dev;
	struct clock_state s;
	bool stands; /* s.now_ns is the time, KVM's is not */
	bool moved; /* was loaded, and has not started since */
};

static const struct state_field clock_fields[] = {
	STATE(struct clock_state, now_ns),
	STATE(struct clock_state, stopped_ns, .since = 2, .spare = true),
};
static const struct state_desc clock_desc = STATE_DESC(struct clock_state, "clock", 2, 1,
						       clock_fields);

static int clock_attach(struct device *dev, struct err *e)
{
	if (ioctl(dev->vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK) <= 0)
		return err_set(e, -ENOTSUP, "this host's KVM has no clock that can be adjusted");
	return 0;
}

/* A guest's reset does not turn its clock back: kvmclock counts from the VM's creation. */
static void clock_reset(struct device *dev)
{
	(void)dev;
}

/* What the clock shows, beside what it would if it had never stopped. */
static void clock_arrived(struct clock *c)
{
	struct vm *vm = c->dev.vm;
	struct vm_arrival *a = &vm->arrival;
	struct kvm_clock_data k;

	a->ran_ns = loop_now_ns();
	a->clock_known = c->s.stopped_ns && !ioctl(vm->fd, KVM_GET_CLOCK, &k);
	if (!a->clock_known)
		return;
	/* Modulo 2^64: what came with the stream may be any number. */
	a->away_ns = (int64_t)(vm_wall_clock_ns(vm) - c->s.stopped_ns);
	a->clock_step_ns = (int64_t)(k.clock - c->s.now_ns - (uint64_t)a->away_ns);
}

static void clock_start(struct device *dev)
{
	struct clock *c = (struct clock *)dev;
	struct kvm_clock_data k = {
		.clock = c->s.now_ns + (c->moved ? vm_away_ns(dev->vm, c->s.stopped_ns) : 0),
	};

	if (c->stands && ioctl(dev->vm->fd, KVM_SET_CLOCK, &k) < 0)
		vm_fail(dev->vm, "cannot set the guest's clock: %s", strerror(errno));
	if (c->moved)
		clock_arrived(c);
	c->stands = c->moved = false;
}

static void clock_stop(struct device *dev)
{
	struct clock *c = (struct clock *)dev;
	struct kvm_clock_data k;

	if (ioctl(dev->vm->fd, KVM_GET_CLOCK, &k) < 0) {
		vm_fail(dev->vm, "cannot read the guest's clock: %s", strerror(errno));
	} else {
		c->s.now_ns = k.clock;
		c->s.stopped_ns = vm_wall_clock_ns(dev->vm);
		c->stands = true;
	}
	device_stopped(dev);
}

static int clock_loaded(struct device *dev, struct err *e)
{
	struct clock *c = (struct clock *)dev;

	(void)e;
	c->stands = c->moved = true;
	return 0;
}

const struct device_class clock_class = {
	.kind = "clock",
	.size = sizeof(struct clock),
	.state = &clock_desc,
	.state_offset = offsetof(struct clock, s),
	.attach = clock_attach,
	.reset = clock_reset,
	.start = clock_start,
	.stop = clock_stop,
	.loaded = clock_loaded,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "hotplug_cpus.h"

#include <errno.h>
#include <stdio.h>

#include "config.h"
#include "log.h"
#include "vcpu.h"

enum { LIMIT_S = 30 };

static struct device *registers_of(const struct hotplug_cpus *h)
{
	return cpu_hotplug_of(h->vm);
}

static struct device *vcpu_at(const struct hotplug_cpus *h, unsigned cpu)
{
	char id[16];

	snprintf(id, sizeof(id), "vcpu%u", cpu);
	return vm_device(h->vm, id);
}

static void set_limit(struct hotplug_cpus *h)
{
	loop_timer_set(h->vm->loop, &h->limit, loop_now_ns() + h->limit_ns);
}

static bool any(const struct hotplug_cpus *h, enum hotplug_cpu step)
{
	for (unsigned cpu = 0; cpu < CPU_HOTPLUG_MAX; cpu++)
		if (h->cpu[cpu] == step)
			return true;
	return false;
}

static void tell(struct hotplug_cpus *h, unsigned cpu, const char *event)
{
	device_tell(vcpu_at(h, cpu), "vcpu", event, json_object());
}

static void count_changed(struct hotplug_cpus *h)
{
	if (h->changed)
		h->changed(h->changed_arg, cpu_hotplug_count(registers_of(h)));
}

static void end(struct hotplug_cpus *h, int result, const char *why)
{
	loop_timer_cancel(h->vm->loop, &h->limit);
	h->active = false;
	h->done(h->arg, result, why);
}

/* All that were wanted have gone, or the guest has looked at all that are new. */
static void finish(struct hotplug_cpus *h)
{
	unsigned count = cpu_hotplug_count(registers_of(h));
	struct err e;

	if (!h->active)
		return;
	if (!h->why[0]) {
		end(h, 0, NULL);
		return;
	}
	err_set(&e, 0, "%s; the VM has %u vCPUs now, not %u; %s", h->why, count, h->want,
		h->advice);
	end(h, -ETIMEDOUT, e.text);
}

/* The first one is told of. */
static void stays(struct hotplug_cpus *h, unsigned cpu, const char *why, const char *advice)
{
	cpu_hotplug_withdraw(registers_of(h), cpu);
	h->cpu[cpu] = HOTPLUG_CPU_SETTLED;
	if (h->why[0])
		return;
	snprintf(h->why, sizeof(h->why), "vcpu%u: %s", cpu, why);
	h->advice = advice;
}

static bool is_new(enum hotplug_cpu step)
{
	return step == HOTPLUG_CPU_NEW || step == HOTPLUG_CPU_LATE;
}

static void hear(struct hotplug_cpus *h, unsigned cpu)
{
	struct device *registers = registers_of(h);
	char refusal[80];
	uint8_t status;

	if (is_new(h->cpu[cpu]) && !cpu_hotplug_is_unread(registers, cpu)) {
		h->cpu[cpu] = HOTPLUG_CPU_SETTLED;
		tell(h, cpu, "found");
	}
	if (h->cpu[cpu] != HOTPLUG_CPU_ASKED)
		return;
	switch (cpu_hotplug_answer(registers, cpu, &status)) {
	case CPU_GIVEN_UP:
		h->cpu[cpu] = HOTPLUG_CPU_GOING;
		break;
	case CPU_REFUSED:
		snprintf(refusal, sizeof(refusal), "the guest refuses to give it up (_OST %#x)",
			 status);
		stays(h, cpu, refusal, "its kernel's log may say why");
		break;
	case CPU_SILENT:
		break;
	}
}

static void hear_all(struct hotplug_cpus *h)
{
	for (unsigned cpu = 0; cpu < CPU_HOTPLUG_MAX; cpu++)
		if (h->cpu[cpu])
			hear(h, cpu);
}

void hotplug_cpus_answered(struct hotplug_cpus *h)
{
	hear_all(h);
	loop_post(h->vm->loop, h->step);
}

/* It may look later, or boot again. */
static void warn_of_late(struct hotplug_cpus *h)
{
	unsigned late = 0;

	for (unsigned cpu = 0; cpu < CPU_HOTPLUG_MAX; cpu++) {
		if (h->cpu[cpu] != HOTPLUG_CPU_NEW)
			continue;
		h->cpu[cpu] = HOTPLUG_CPU_LATE;
		tell(h, cpu, "not-found");
		late++;
	}
	if (late)
		log_warn("the guest did not look for %u new vCPUs within %u s; see that it is up "
			 "and knows CPU hotplug by ACPI, or reboot it: it finds them then",
			 late, LIMIT_S);
}

static void expired(void *arg)
{
	struct hotplug_cpus *h = arg;
	char why[64];

	/* Its answer may be on its way to here. */
	hotplug_cpus_answered(h);
	/* A guest that is paused cannot answer. */
	if (vcpu_at(h, 0)->phase != DEVICE_RUNNING) {
		set_limit(h);
		return;
	}
	snprintf(why, sizeof(why), "the guest did not give it up within %u s", LIMIT_S);
	for (unsigned cpu = CPU_HOTPLUG_MAX; cpu-- > 0;)
		if (h->cpu[cpu] == HOTPLUG_CPU_ASKED)
			stays(h, cpu, why,
			      "see that the guest is up and knows CPU hotplug by ACPI, then try "
			      "again");
	warn_of_late(h);
}

void hotplug_cpus_init(struct hotplug_cpus *h, struct vm *vm, struct work *step,
		       void (*stopped)(struct device *, void *arg), void *arg)
{
	*h = (struct hotplug_cpus){ .vm = vm,
				    .step = step,
				    .stopped = stopped,
				    .stopped_arg = arg,
				    .limit_ns = LIMIT_S * UINT64_C(1000000000),
				    .limit = { .expired = expired, .arg = h } };
}

static void insert(struct hotplug_cpus *h, unsigned cpu)
{
	vcpu_set_present(vcpu_at(h, cpu), true);
	h->cpu[cpu] = HOTPLUG_CPU_NEW;
	cpu_hotplug_insert(registers_of(h), cpu);
}

static void ask(struct hotplug_cpus *h, unsigned cpu)
{
	h->cpu[cpu] = HOTPLUG_CPU_ASKED;
	cpu_hotplug_want(registers_of(h), cpu);
}

int hotplug_cpus_check(const struct hotplug_cpus *h, unsigned want, struct err *e)
{
	const struct device *registers = registers_of(h);
	unsigned max = registers ? cpu_hotplug_max(registers) : 0;

	if (!registers)
		return err_set(e, -ENOTSUP,
			       "the VM has all vCPUs that it may have; for more or fewer give it "
			       "max_vcpus above boot_vcpus before it is booted");
	if (want < 1 || want > max)
		return err_set(e, -EINVAL, CONFIG_VCPUS_RANGE, max, want);
	if (h->active)
		return err_set(e, -EBUSY,
			       "the VM is being given %u vCPUs; ask again when that is done",
			       h->want);
	return 0;
}

int hotplug_cpus_resize(struct hotplug_cpus *h, unsigned want,
			void (*done)(void *arg, int result, const char *why), void *arg,
			struct err *e)
{
	struct device *registers = registers_of(h);
	unsigned count;
	int r = hotplug_cpus_check(h, want, e);

	if (r)
		return r;
	h->active = true;
	h->want = want;
	h->why[0] = '\0';
	h->done = done;
	h->arg = arg;
	count = cpu_hotplug_count(registers);
	for (unsigned cpu = 0; count < want; cpu++) {
		if (cpu_hotplug_is_present(registers, cpu))
			continue;
		insert(h, cpu);
		count++;
	}
	for (unsigned cpu = CPU_HOTPLUG_MAX; count > want && cpu-- > 1;) {
		if (!cpu_hotplug_is_present(registers, cpu))
			continue;
		ask(h, cpu);
		count--;
	}
	count_changed(h);
	set_limit(h);
	loop_post(h->vm->loop, h->step);
	return 0;
}

static void remove_one(struct hotplug_cpus *h, unsigned cpu, bool running)
{
	struct device *dev = vcpu_at(h, cpu);

	if (dev->phase == DEVICE_RUNNING)
		device_stop(dev, h->stopped, h->stopped_arg);
	if (dev->phase != DEVICE_STOPPED)
		return;
	vcpu_set_present(dev, false);
	cpu_hotplug_remove(registers_of(h), cpu);
	h->cpu[cpu] = HOTPLUG_CPU_SETTLED;
	if (running)
		device_start(dev);
	count_changed(h);
}

void hotplug_cpus_settle(struct hotplug_cpus *h, bool running)
{
	for (unsigned cpu = 0; cpu < CPU_HOTPLUG_MAX; cpu++)
		if (h->cpu[cpu] == HOTPLUG_CPU_GOING)
			remove_one(h, cpu, running);
	if (h->active && !any(h, HOTPLUG_CPU_NEW) && !any(h, HOTPLUG_CPU_ASKED) &&
	    !any(h, HOTPLUG_CPU_GOING))
		finish(h);
}

void hotplug_cpus_guest_is_gone(struct hotplug_cpus *h)
{
	for (unsigned cpu = 0; cpu < CPU_HOTPLUG_MAX; cpu++) {
		if (is_new(h->cpu[cpu]))
			h->cpu[cpu] = HOTPLUG_CPU_SETTLED;
		if (h->cpu[cpu] == HOTPLUG_CPU_ASKED)
			h->cpu[cpu] = HOTPLUG_CPU_GOING;
	}
	hotplug_cpus_settle(h, false);
}

void hotplug_cpus_cancel(struct hotplug_cpus *h)
{
	if (h->active)
		end(h, -ECANCELED, "the VM ended");
}

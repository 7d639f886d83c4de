/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "affinity.h"
#include "build.h"
#include "classes.h"
#include "hotplug.h"
#include "hotplug_cpus.h"
#include "kvm_ring0.h"
#include "log.h"
#include "machine.h"
#include "memory_dial.h"
#include "ownership.h"
#include "resize.h"
#include "vcpu.h"

/* How long devices may take to finish what is in flight before the VM is given up. */
#define STOP_LIMIT_NS (UINT64_C(30) * 1000000000)
#define LAST_WORDS_NS UINT64_C(1000000000)

enum phase { PHASE_STOPPED, PHASE_RUNNING, PHASE_STOPPING };

/*
 * Whatever is asked of the machine is a wish; a wish stops the VM, and once nothing moves the
 * strongest one is done: end before reset before pause.  Wishes that come while it stops are
 * added.
 */
struct machine {
	struct vm vm;
	struct build build;
	struct hotplug hotplug;
	struct hotplug_cpus cpus;
	struct resize resize;
	struct memory_dial memory;
	const struct config *config;
	struct machine_hooks hooks;
	enum phase phase;
	unsigned to_stop; /* devices asked to stop that have not answered */
	bool vcpus_stopped;
	struct timer limit;
	bool want_start, want_reset, want_end, ended;
	bool panicked; /* until last_words expires */
	struct timer last_words;
	bool boot_again; /* when the guest powers off, which it was asked for */
	bool paused; /* stays stopped until machine_resume() */
	bool told_paused; /* to events */
	bool io_failed; /* that is why; vm.io_error */
	void (*pause_done)(void *arg);
	void *pause_arg;
	bool held; /* until machine_release(); from hold_done() on every wish waits */
	void (*hold_done)(void *arg); /* NULL: it was called */
	void *hold_arg;
	int end_status;
	char end_why[512];
	struct work step; /* posted so that steps run in a callback of the main loop */
};

static void machine_settle(struct machine *m);
static void machine_stop_some(struct machine *m, bool vcpus);

static void device_has_stopped(struct device *dev, void *arg)
{
	struct machine *m = arg;

	(void)dev;
	if (--m->to_stop)
		return;
	if (!m->vcpus_stopped) {
		m->vcpus_stopped = true;
		machine_stop_some(m, false);
		return;
	}
	m->phase = PHASE_STOPPED;
	loop_timer_cancel(m->vm.loop, &m->limit);
	/* Not from here: this may be the middle of a device's callback. */
	loop_post(m->vm.loop, &m->step);
}

/* A device that is being removed or resized, on its own or while all of its kind stop. */
static void one_has_stopped(struct device *dev, void *arg)
{
	struct machine *m = arg;

	if (m->phase == PHASE_STOPPING && (dev->class == &vcpu_class) != m->vcpus_stopped)
		device_has_stopped(dev, m);
	else
		loop_post(m->vm.loop, &m->step);
}

/* vCPUs first: then no guest access can reach a device that has stopped. */
static void machine_stop_some(struct machine *m, bool vcpus)
{
	struct device *dev;

	m->to_stop = 1;
	list_for_each (dev, &m->vm.devices, node) {
		/* STOPPED: added since.  STOPPING: see one_has_stopped(). */
		if ((dev->class == &vcpu_class) != vcpus || dev->phase == DEVICE_STOPPED)
			continue;
		m->to_stop++;
		if (dev->phase == DEVICE_RUNNING)
			device_stop(dev, device_has_stopped, m);
	}
	device_has_stopped(NULL, m);
}

static void machine_limit(struct machine *m)
{
	loop_timer_set(m->vm.loop, &m->limit, loop_now_ns() + STOP_LIMIT_NS);
}

static void machine_stop(struct machine *m)
{
	m->phase = PHASE_STOPPING;
	m->vcpus_stopped = false;
	/* Where a disk fails, the rest of its requests may take long to fail, too. */
	if (!m->io_failed || m->want_end)
		machine_limit(m);
	machine_stop_some(m, true);
}

/* Nothing moves: no I/O thread has one to tell. */
static void forget_io_error(struct machine *m)
{
	m->io_failed = false;
	atomic_store(&m->vm.has_io_error, false);
}

static void machine_run(struct machine *m)
{
	struct device *dev;

	forget_io_error(m);
	m->phase = PHASE_RUNNING;
	if (m->told_paused)
		events_add(m->vm.events, "vm", "resumed", NULL);
	m->told_paused = false;
	memory_dial_watch(&m->memory);
	list_for_each (dev, &m->vm.devices, node)
		device_start(dev);
}

static void machine_over(struct machine *m, int status, const char *why)
{
	if (m->ended)
		return;
	m->ended = true;
	resize_cancel(&m->resize);
	hotplug_cancel(&m->hotplug);
	hotplug_cpus_cancel(&m->cpus);
	memory_dial_cancel(&m->memory);
	m->hooks.ended(m->hooks.arg, status, why);
}

static void machine_do_reset(struct machine *m)
{
	struct device *dev;
	struct err e;

	m->boot_again = false;
	m->panicked = false;
	loop_timer_cancel(m->vm.loop, &m->last_words);
	hotplug_guest_is_gone(&m->hotplug);
	hotplug_cpus_guest_is_gone(&m->cpus);
	memory_dial_reset(&m->memory);
	forget_io_error(m);
	list_for_each (dev, &m->vm.devices, node)
		device_reset(dev);
	if (build_load(&m->build, &e))
		machine_over(m, 1, e.text);
	else
		events_add(m->vm.events, "vm", "rebooted", NULL);
}

static void machine_has_paused(struct machine *m)
{
	void (*done)(void *arg) = m->pause_done;

	if (!m->told_paused)
		events_add(m->vm.events, "vm", "paused", NULL);
	m->told_paused = true;
	m->pause_done = NULL;
	if (done)
		done(m->pause_arg);
}

static void machine_has_stopped(struct machine *m)
{
	void (*done)(void *arg) = m->hold_done;

	m->hold_done = NULL;
	done(m->hold_arg);
}

/* Bring the phase in line with what is wanted; called on main whenever either changed. */
static void machine_settle(struct machine *m)
{
	bool stop = m->want_end || m->want_reset || m->paused || m->held;

	if (m->phase == PHASE_STOPPING || m->ended)
		return;
	if (m->held && !m->hold_done)
		return;
	/* Before a device that is being removed as well is freed. */
	resize_settle(&m->resize, m->phase == PHASE_RUNNING);
	if (m->resize.at_work) {
		if (stop)
			machine_limit(m);
		return;
	}
	loop_timer_cancel(m->vm.loop, &m->limit);
	hotplug_settle(&m->hotplug);
	hotplug_cpus_settle(&m->cpus, m->phase == PHASE_RUNNING);
	if (m->phase == PHASE_RUNNING) {
		if (stop)
			machine_stop(m);
		return;
	}
	if (m->want_end) {
		machine_over(m, m->end_status, m->end_why[0] ? m->end_why : NULL);
		return;
	}
	if (m->want_reset) {
		m->want_reset = false;
		machine_do_reset(m);
	}
	if (m->ended)
		return;
	if (m->held) {
		machine_has_stopped(m);
		return;
	}
	if (m->paused)
		machine_has_paused(m);
	else if (m->want_start)
		machine_run(m);
}

static void machine_step(void *arg)
{
	machine_settle(arg);
}

static void machine_stuck(void *arg)
{
	struct machine *m = arg;
	const char *id = "a device";
	struct device *dev;
	char why[128];

	list_for_each (dev, &m->vm.devices, node)
		if (dev->phase == DEVICE_STOPPING || dev == m->resize.at_work)
			id = dev->id;
	snprintf(why, sizeof(why), "%s did not stop: its host file or disk does not answer", id);
	machine_over(m, 1, why);
}

static void act_on_panic(void *arg)
{
	struct machine *m = arg;

	m->panicked = false;
	loop_timer_cancel(m->vm.loop, &m->last_words);
	switch (m->config->on_panic) {
	case ON_PANIC_PAUSE:
		if (!m->paused) /* else somebody else may wait for it */
			machine_pause(m, NULL, NULL);
		break;
	case ON_PANIC_RESTART:
		machine_reset(m);
		break;
	default:
		machine_end(m, 1, "the guest's kernel panicked; --on-panic says what to do then");
	}
}

/* Linux reports its panic before it has written all of why: it has a moment to do so, unless it
 * ends or resets the machine itself. */
static void on_panic(struct machine *m)
{
	if (m->panicked)
		return;
	m->panicked = true;
	log_write(LOG_ERROR, "the guest's kernel panicked");
	events_add(m->vm.events, "guest", "panic", NULL);
	loop_timer_set(m->vm.loop, &m->last_words, loop_now_ns() + LAST_WORDS_NS);
}

static void on_io_error(struct machine *m)
{
	m->io_failed = true;
	events_add(m->vm.events, "vm", "io-error", vm_io_error_json(&m->vm.io_error));
	if (!m->paused) /* else somebody else may wait for it */
		machine_pause(m, NULL, NULL);
}

/* Where KVM emulates all that the guest's kernel does, another host would do better; elsewhere it
 * emulates single accesses to devices. */
static void end_of_failure(struct machine *m)
{
	char why[sizeof(m->vm.failure.text) + sizeof(KVM_RING0_EMULATOR_MEANS) + 32];
	enum kvm_ring0 ring0;
	struct err unused;

	snprintf(why, sizeof(why), "%s%s", m->vm.failure.text,
		 m->vm.emulation_failed && !kvm_ring0(m->vm.kvm_fd, &ring0, &unused) &&
				 ring0 == KVM_RING0_EMULATOR
			 ? "; " KVM_RING0_EMULATOR_MEANS " (see: godwit probe)"
			 : "");
	machine_end(m, 1, why);
}

static void on_event(void *arg, unsigned events)
{
	struct machine *m = arg;

	if (events & VM_HOTPLUG) {
		hotplug_answered(&m->hotplug);
		hotplug_cpus_answered(&m->cpus);
	}
	if (events & VM_IO_ERROR)
		on_io_error(m);
	if (events & VM_FAILED)
		end_of_failure(m);
	else if (m->panicked && (events & (VM_POWEROFF | VM_RESET)))
		act_on_panic(m);
	else if ((events & VM_POWEROFF) && m->boot_again)
		machine_reset(m);
	else if (events & (VM_POWEROFF | VM_LEAVE))
		machine_end(m, 0, NULL);
	else if (events & VM_PANIC)
		on_panic(m);
	else if ((events & VM_RESET) && m->config->on_reboot == ON_REBOOT_EXIT)
		machine_end(m, 0, NULL);
	else if (events & VM_RESET)
		machine_reset(m);
}

int machine_own_disks(struct machine *m, struct err *e)
{
	return ownership_begin(&m->vm, m->config->uuid, e);
}

int machine_new(struct machine **out, const struct config *config, struct loop *loop,
		const struct machine_hooks *hooks, struct err *e)
{
	struct machine *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	m->config = config;
	m->hooks = *hooks;
	m->limit = (struct timer){ .expired = machine_stuck, .arg = m };
	m->last_words = (struct timer){ .expired = act_on_panic, .arg = m };
	m->step = (struct work){ .run = machine_step, .arg = m };
	hotplug_init(&m->hotplug, &m->vm, &m->step, one_has_stopped, m);
	hotplug_cpus_init(&m->cpus, &m->vm, &m->step, one_has_stopped, m);
	m->cpus.changed = hooks->vcpus_changed;
	m->cpus.changed_arg = hooks->arg;
	resize_init(&m->resize, &m->vm, &m->step, one_has_stopped, m);
	memory_dial_init(&m->memory, &m->vm, config);
	m->memory.back = hooks->memory_back;
	m->memory.arg = hooks->arg;
	r = build_machine(&m->build, &m->vm, config, hooks, loop, e);
	if (!r)
		r = affinity_set(&m->vm, &config->cpus, hooks->loaded, hooks->events, e);
	if (!r && !hooks->loaded)
		r = machine_own_disks(m, e);
	if (!r && !hooks->loaded)
		r = build_load(&m->build, e);
	if (r) {
		build_free(&m->build);
		free(m);
		return r;
	}
	m->vm.on_event = on_event;
	m->vm.on_event_arg = m;
	m->vm.events = hooks->events;
	loop_set_lock(loop, &m->vm.lock);
	*out = m;
	return 0;
}

bool machine_free(struct machine *m)
{
	if (!m)
		return true;
	if (m->phase != PHASE_STOPPED || m->resize.at_work)
		return false;
	resize_cancel(&m->resize);
	hotplug_cancel(&m->hotplug);
	hotplug_cpus_cancel(&m->cpus);
	memory_dial_cancel(&m->memory);
	loop_set_lock(m->vm.loop, NULL);
	build_free(&m->build);
	loop_unpost(m->vm.loop, &m->step);
	loop_timer_cancel(m->vm.loop, &m->limit);
	loop_timer_cancel(m->vm.loop, &m->last_words);
	free(m);
	return true;
}

void machine_start(struct machine *m)
{
	m->want_start = true;
	machine_limit_cpus(m, true);
	loop_post(m->vm.loop, &m->step);
}

void machine_pause(struct machine *m, void (*done)(void *arg), void *arg)
{
	m->paused = true;
	m->pause_done = done;
	m->pause_arg = arg;
	loop_post(m->vm.loop, &m->step);
}

void machine_resume(struct machine *m)
{
	m->paused = false;
	loop_post(m->vm.loop, &m->step);
}

void machine_hold(struct machine *m, void (*done)(void *arg), void *arg)
{
	m->held = true;
	m->hold_done = done;
	m->hold_arg = arg;
	loop_post(m->vm.loop, &m->step);
}

void machine_release(struct machine *m)
{
	m->held = false;
	loop_post(m->vm.loop, &m->step);
}

void machine_reset(struct machine *m)
{
	m->want_reset = true;
	loop_post(m->vm.loop, &m->step);
}

void machine_end(struct machine *m, int status, const char *why)
{
	if (m->want_end)
		return;
	m->want_end = true;
	m->end_status = status;
	snprintf(m->end_why, sizeof(m->end_why), "%s", why ? why : "");
	if (m->phase == PHASE_STOPPING)
		machine_limit(m);
	loop_post(m->vm.loop, &m->step);
}

int machine_press_power_button(struct machine *m)
{
	m->boot_again = false;
	return vm_press_power_button(&m->vm);
}

int machine_soft_reboot(struct machine *m)
{
	int r = vm_press_power_button(&m->vm);

	m->boot_again = !r;
	return r;
}

int machine_inject_nmi(struct machine *m, struct err *e)
{
	return build_inject_nmi(&m->build, e);
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

const struct vm_io_error *machine_io_error(const struct machine *m)
{
	return m->paused && m->io_failed ? &m->vm.io_error : NULL;
}

bool machine_has_panicked(const struct machine *m)
{
	return m->panicked;
}

int machine_add_device(struct machine *m, const char *section, const json_t *object,
		       struct device **out, struct err *e)
{
	const struct config_section *s = config_find_section(section);
	json_auto_t *options = NULL;
	struct device *dev;
	int r;

	if (m->ended)
		return err_set(e, -ESHUTDOWN, "the VM has ended");
	if (!s || !s->hotplug)
		return err_set(e, -ENOTSUP,
			       "%s: only disks and network cards can be added to a VM; give it the "
			       "rest before it is built",
			       section);
	r = config_device_options(m->config, object, &options, e);
	if (!r)
		r = build_added(&m->build, s, options, &dev, e);
	if (r)
		return r;
	pthread_mutex_unlock(&m->vm.lock); /* vCPUs do not wait for a disk */
	r = ownership_add(&m->vm, m->config->uuid, dev->id, e);
	pthread_mutex_lock(&m->vm.lock);
	if (r) {
		device_free(dev);
		return r;
	}
	if (m->phase == PHASE_RUNNING)
		device_start(dev);
	hotplug_added(&m->hotplug, dev);
	*out = dev;
	return 0;
}

int machine_remove_device(struct machine *m, const char *id,
			  void (*done)(void *arg, int result, const char *why), void *arg,
			  struct err *e)
{
	if (m->ended)
		return err_set(e, -ESHUTDOWN, "the VM has ended");
	return hotplug_remove(&m->hotplug, id, done, arg, e);
}

int machine_resize_device(struct machine *m, const char *id, uint64_t bytes,
			  void (*done)(void *arg, int result, const char *why), void *arg,
			  struct err *e)
{
	if (m->ended)
		return err_set(e, -ESHUTDOWN, "the VM has ended");
	return resize_device(&m->resize, id, bytes, done, arg, e);
}

int machine_resize_cpus(struct machine *m, unsigned count,
			void (*done)(void *arg, int result, const char *why), void *arg,
			struct err *e)
{
	if (m->ended)
		return err_set(e, -ESHUTDOWN, "the VM has ended");
	return hotplug_cpus_resize(&m->cpus, count, done, arg, e);
}

int machine_check_cpus(struct machine *m, unsigned count, struct err *e)
{
	return hotplug_cpus_check(&m->cpus, count, e);
}

void machine_limit_cpus(struct machine *m, bool all_threads)
{
	if (!m->ended)
		vcpu_limit(&m->vm, m->config->cpus.limit, all_threads);
}

void machine_resize_memory(struct machine *m, bool gently)
{
	if (!m->ended)
		memory_dial_turn(&m->memory, gently);
}

void machine_memory(const struct machine *m, struct machine_memory *out)
{
	memory_dial_read(&m->memory, out);
}

bool machine_is_changing(const struct machine *m)
{
	return !list_empty(&m->hotplug.removals) || !list_empty(&m->resize.changes) ||
	       m->cpus.active;
}

json_t *machine_needs(struct machine *m)
{
	return build_needs(&m->build);
}

struct vm *machine_vm(struct machine *m)
{
	return &m->vm;
}

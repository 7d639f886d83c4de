/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole VM: built from a configuration, started, paused, reset and ended by steps that run
 * on the main loop and never block it.  Everything here is called on main, outside callbacks
 * of devices.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "config.h"
#include "events.h"
#include "loop.h"
#include "vm.h"

struct machine;

struct machine_hooks {
	/* The VM is over: 0 the guest powered off, else 1 and why.  Called once. */
	void (*ended)(void *arg, int status, const char *why);
	/* The VM has as many vCPUs from now on; the configuration's boot_vcpus is to say so.  NULL:
	 * nobody wants to know. */
	void (*vcpus_changed)(void *arg, unsigned count);
	/* A guest that was to give memory up got short of it: the configuration is to say that it
	 * has so much again, bytes, and machine_resize_memory() is due.  May be NULL. */
	void (*memory_back)(void *arg, uint64_t bytes);
	void *arg;
	struct events *events; /* what happens is told there; NULL: nowhere */
	const char *run_dir; /* of this VM, for sockets of its devices; NULL: none */
	/* Its memory and the states of its devices are loaded from elsewhere (devices.h) before it
	 * starts: no kernel is loaded before the next reset, and its disks are not its own before
	 * machine_own_disks(). */
	bool loaded;
	/* machine_needs() of a guest that comes from elsewhere: its vCPUs are as they were there.
	 * A host that lacks something of it is refused.  NULL: they are this host's. */
	const json_t *needs;
	/* What it lacks is appended here, a sentence each, and building goes on.  May be NULL. */
	json_t *blockers;
	int memory_fd; /* of what is loaded: RAM is a private view of this file; -1: it is not */
	bool incoming; /* loaded, from a host where it still runs: no disk is touched yet */
};

/* config stays the caller's and must outlive the machine.  Devices are built and reset, the
 * kernel is loaded, vCPUs wait.  hooks are copied. */
int machine_new(struct machine **, const struct config *, struct loop *,
		const struct machine_hooks *, struct err *);
/* False: a device has not answered, and the host may still write to guest memory; everything, the
 * loop too, must then be left to the end of the process.  NULL is fine.  Outside the loop. */
bool machine_free(struct machine *);

/* Before its guest runs on disks that others may have taken for those of a snapshot: from now on
 * their owner records say that they are not.  -EBUSY: they are another's. */
int machine_own_disks(struct machine *, struct err *);
void machine_start(struct machine *);
/* done(arg) once nothing of the VM moves any more; paused already: at once. */
void machine_pause(struct machine *, void (*done)(void *arg), void *arg);
void machine_resume(struct machine *);
/*
 * As a pause that nobody is told of and that machine_resume() does not end.  Whatever was wanted
 * before done(arg) comes first, and the VM's end instead of it; whatever is wanted after it, its
 * end too, waits for machine_release().
 */
void machine_hold(struct machine *, void (*done)(void *arg), void *arg);
void machine_release(struct machine *);
void machine_reset(struct machine *); /* as if by the reset button; goes on running */
void machine_end(struct machine *, int status, const char *why); /* hard; ended() follows */
int machine_press_power_button(struct machine *);
/* The power button, too; once the guest is off it boots again.  The last press decides. */
int machine_soft_reboot(struct machine *);
int machine_inject_nmi(struct machine *, struct err *); /* into every vCPU */
bool machine_is_paused(const struct machine *); /* or about to be */
/* Why it is paused: a disk's request failed; NULL: not for that. */
const struct vm_io_error *machine_io_error(const struct machine *);
/* A device goes, or changes its size; or the number of vCPUs changes. */
bool machine_is_changing(const struct machine *);
bool machine_has_panicked(const struct machine *); /* and has a moment for its last words */

/*
 * Devices that come and go.  section: "disks" or "net"; object: complete, as the configuration
 * holds it.  The device runs if the VM does; the guest learns of it at once, or when it goes on,
 * and events tell whether it looks for it.
 * Called with the lock, which vCPUs get while its file is opened and its record written.
 * -ENOTSUP: no device of that section can be added.  -EEXIST: the id is taken.  -ENOSPC: no slot
 * is free.  -ESHUTDOWN: the VM has ended.  The device keeps a reference to object; what else the
 * configuration says is left to the caller.
 */
int machine_add_device(struct machine *, const char *section, const json_t *object,
		       struct device **, struct err *);
/*
 * Ask the guest to give the device up, then stop and free it.  done() is called later, once: 0,
 * the device is gone; or -errno and why: -ETIMEDOUT, it stays, as the guest does not answer;
 * -ECANCELED, the VM ended.  A paused guest answers when it goes on, and its time does not
 * run till then.  Without a guest, and at a reset, the device goes at once.
 * -ENOENT: no such id.  -ENOTSUP: it cannot be removed.  -EBUSY: it is being removed.
 * -ESHUTDOWN: the VM has ended.
 */
int machine_remove_device(struct machine *, const char *id,
			  void (*done)(void *arg, int result, const char *why), void *arg,
			  struct err *);

/*
 * Give a device of a class that has a size this one; paused, it learns of it at once and its guest
 * later.  done() is called later, once, as above.
 * -ENOENT: no such id.  -EBUSY: it is being resized.  -ESHUTDOWN: the VM has ended.
 */
int machine_resize_device(struct machine *, const char *id, uint64_t bytes,
			  void (*done)(void *arg, int result, const char *why), void *arg,
			  struct err *);

/*
 * Give the VM as many vCPUs: new ones run at once, and the guest is asked for those that are too
 * many, with the highest numbers.  done() is called later, once: 0, the guest has looked at all
 * that are new, or has had time to, and given up all others; or -errno and why: some of those it
 * has not given up, and they stay; -ECANCELED, the VM ended.  A paused guest answers when it goes
 * on.
 * -ENOTSUP: the number is fixed.  -EINVAL: too few or too many.  -EBUSY: it is being changed.
 * -ESHUTDOWN: the VM has ended.
 */
int machine_resize_cpus(struct machine *, unsigned count,
			void (*done)(void *arg, int result, const char *why), void *arg,
			struct err *);

/* Why that cannot be, if it cannot. */
int machine_check_cpus(struct machine *, unsigned count, struct err *);

/* The configuration says anew what its vCPUs have together, or other threads are to be limited,
 * too, or no more (vcpu_limit()): that is so at once.  A start has them limited. */
void machine_limit_cpus(struct machine *, bool all_threads);

/* The configuration says anew how much memory the guest is to have: it is asked, and gets there, or
 * not, in its own time.  gently: less of it only as far as the guest can do without, and if it
 * cannot, memory_back() is called. */
void machine_resize_memory(struct machine *, bool gently);

struct machine_memory {
	uint64_t asked, given; /* bytes: what it is to have, and what it has */
	char why[80]; /* they differ; empty: they do not */
};
void machine_memory(const struct machine *, struct machine_memory *);

/* What the guest needs of a host (cpu_compat.h), the same all its life: a new reference. */
json_t *machine_needs(struct machine *);

struct vm *machine_vm(struct machine *);

#endif

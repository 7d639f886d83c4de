/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine as the devices see it: memory, buses, interrupts, loops, and the way to
 * tell the control layer what the guest asked for.  Built and driven by src/machine/.  Tests
 * build one without KVM: fd -1.
 *
 * The machine lock is held by every callback that touches devices, buses or lines: exits of
 * vCPU threads, callbacks of the main loop.  I/O threads never take it.
 */
#ifndef VM_H
#define VM_H

#include <pthread.h>
#include <stdatomic.h>

#include "bus.h"
#include "cpu_quota.h"
#include "device.h"
#include "guest_mem.h"
#include "io_thread.h"
#include "irq.h"
#include "limiter.h"
#include "loop.h"

/* What a guest, or its failure, asks of the control layer. */
enum vm_event {
	VM_POWEROFF = 1 << 0, /* ACPI S5 */
	VM_RESET = 1 << 1, /* reset register, i8042, triple fault */
	VM_PANIC = 1 << 2, /* pvpanic */
	VM_FAILED = 1 << 3, /* the guest cannot go on; vm->failure says why */
	VM_LEAVE = 1 << 4, /* the person at the terminal wants out */
	/* The guest answers what it was told: pci_hotplug.h, cpu_hotplug.h */
	VM_HOTPLUG = 1 << 5,
	VM_IO_ERROR = 1 << 6, /* the VM is to pause; vm->io_error says why */
};

struct disk;
struct events;
struct lease;
struct pci_bus;
struct kvm_cpuid2;

/* A disk of the VM; embedded in its device. */
struct vm_disk {
	struct list node;
	const char *id;
	struct disk *disk;
	bool readonly;
	/* Its owner record (owner.h) is this VM's; without one it cannot move.  Main's. */
	bool recorded;
};

/* What the host could not do for a disk. */
struct vm_io_error {
	char id[32]; /* of the disk */
	const char *operation; /* there for ever */
	uint64_t offset;
	int error; /* a positive errno */
};

/*
 * How a guest goes on that came from elsewhere, for who asks how its move went.  CLOCK_MONOTONIC;
 * 0: not yet, or not known.
 */
struct vm_arrival {
	/* Main's, when its clock goes on, just before the vCPUs */
	uint64_t ran_ns;
	bool clock_known; /* when that clock stopped; then: */
	int64_t away_ns; /* since, by the wall clocks of both hosts */
	int64_t clock_step_ns; /* by how much it advanced more than that */
	/* I/O threads': frames of any card, requests of any disk, since the VM was made */
	_Atomic uint64_t first_frame_ns, first_request_ns;
};

struct vm {
	const char *name;
	const char *run_dir; /* for sockets of its devices; NULL: none */
	int kvm_fd, fd; /* /dev/kvm and the VM; -1: none */
	pthread_mutex_t lock;
	struct loop *loop; /* main's */
	struct guest_mem *mem;
	struct bus pio, mmio;
	struct irq irq;
	struct pci_bus *pci; /* NULL until the host bridge is attached */
	struct list devices;
	/* Its guest comes from elsewhere and does not run here yet: disks are opened, not taken. */
	bool incoming;
	struct vm_arrival arrival;
	/* Its memory is, or is about to be: only vCPUs and the monitor may write to it. */
	atomic_bool logged;
	struct list disks; /* struct vm_disk, in order of id (strcmp) */
	struct lease *lease; /* that decides where it runs (lease.h); NULL: none */
	struct io_thread *io_thread[8];
	unsigned nio_threads;
	/* CPUID of a new vCPU: kept by the callee; NULL: KVM's default (tests) */
	const struct kvm_cpuid2 *(*cpuid)(void *arg, unsigned vcpu);
	void *cpuid_arg;
	uint32_t tsc_khz; /* of a new vCPU; 0: the host's */
	/* vcpu_limit(), which main sets: the kernel's, or else its vCPUs see to it themselves. */
	uint32_t cpu_limit;
	struct cpu_quota cpu_quota;
	struct limiter cpu_budget;
	struct device *acpi; /* who tells the guest of ACPI events; NULL: nobody */
	void (*acpi_raise)(struct device *, uint8_t events);

	struct events *events; /* what others are told of the VM; NULL: nobody */

	/* vm_raise(): set by any thread, taken by on_event on main */
	atomic_uint raised;
	struct work event_work;
	void (*on_event)(void *arg, unsigned events); /* a set of enum vm_event */
	void *on_event_arg;
	/* NULL: the host's CLOCK_REALTIME.  Tests set it. */
	uint64_t (*wall_clock_ns)(void);
	int status_fd; /* /proc/self/status, from when it was first read; -1: not yet */
	bool came_paused; /* from elsewhere, and its clocks stood still: see vm_away_ns() */
	/* A disk's request that fails waits, and the VM pauses: vm_note_io_error(). */
	bool pause_on_io_error;
	/* There was one since the VM last stood still: set by the thread that then writes io_error
	 * and raises VM_IO_ERROR, cleared on main while nothing moves. */
	atomic_bool has_io_error;
	struct vm_io_error io_error;
	struct err failure; /* written once, under the lock, before VM_FAILED is raised */
	bool emulation_failed; /* that is why: as failure */

	unsigned fail_claim; /* tests: this many claims from now on, the last of them fails */
};

/* kvm_fd -1: no KVM.  mem, name, run_dir and on_event are set by the caller afterwards. */
int vm_init(struct vm *, int kvm_fd, struct loop *, unsigned nio_threads, struct err *);
void vm_free(struct vm *); /* frees the devices, newest first, and the rest but loop and mem */

/* Any thread.  on_event runs on main, once for events that came together. */
void vm_raise(struct vm *, enum vm_event);
/* I/O threads: the VM is to pause.  False: it is about to anyway. */
bool vm_note_io_error(struct vm *, const struct vm_io_error *);
json_t *vm_io_error_json(const struct vm_io_error *); /* for events and VmInfo */
/* Under the machine lock: the guest cannot go on; the first sentence is kept. */
void vm_fail(struct vm *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Tell the guest of events, a set of PLATFORM_ACPI_EVENT_*; -ENOTSUP: it has no ACPI.  An event
 * that comes while the VM is stopped waits for the start. */
int vm_raise_acpi(struct vm *, uint8_t events);
int vm_press_power_button(struct vm *); /* one of these events */

struct device *vm_device(struct vm *, const char *id); /* NULL: none */
struct vm_disk *vm_disk(struct vm *, const char *id); /* NULL: none */
void vm_add_disk(struct vm *, struct vm_disk *); /* until list_remove() */

/* I/O threads: this one was at that time, unless one was before. */
static inline void vm_note_first(_Atomic uint64_t *first_ns, uint64_t now_ns)
{
	uint64_t none = 0;

	if (!atomic_load_explicit(first_ns, memory_order_relaxed))
		atomic_compare_exchange_strong(first_ns, &none, now_ns);
}

uint64_t vm_wall_clock_ns(const struct vm *); /* nanoseconds since 1970 */
/*
 * By how much the clocks of a guest that stopped at that time of its host's wall clock, 0: unknown,
 * are to be advanced when it goes on here: by the real time that has passed, as in a move no clock
 * may lose it.  Not by a negative one: hosts' clocks differ, and time does not go back.  Not by
 * more than VM_AWAY_MAX_NS, then by nothing at all: whoever restores a snapshot of yesterday, or
 * has a host whose clock is wrong, would see every timeout of the guest expire at once.  Such a
 * guest's clocks go on as after a pause.  So do those of a guest that was paused when it moved.
 */
#define VM_AWAY_MAX_NS UINT64_C(5000000000) /* Linux's watchdogs take 10 s for a hang, and more */
uint64_t vm_away_ns(const struct vm *, uint64_t stopped_ns);

#endif

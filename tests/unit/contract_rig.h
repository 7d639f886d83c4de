/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM around one device of any class, for the contract test: memory, buses, an I/O thread,
 * and what the class needs of its surroundings.
 */
#ifndef CONTRACT_RIG_H
#define CONTRACT_RIG_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>

#include "classes.h"
#include "cleanup.h"
#include "msix.h"
#include "state_codec.h"
#include "vm.h"

enum { RAM_BYTES = 2 << 20, DISK_BYTES = 1 << 20 };

/* What a class needs that its tables do not say; without a row: nothing. */
struct row {
	const char *kind;
	const char *options; /* %s: a file of the rig's own */
	bool kvm, irqchip;
	bool tun; /* interfaces, in a network of the test's own */
	bool pci; /* a function behind the host bridge */
	bool drifts; /* time passes in its state: two of them are never the same */
	bool tells_of_moves; /* to the guest: to behave alike both must have come from elsewhere */
};

static const struct row rows[] = {
	{ .kind = "rate-limit-group", .options = "{\"id\": \"gold\"}" },
	{ .kind = "cpu-hotplug", .options = "{\"boot\": 3, \"max\": 40}" },
	{ .kind = "uart", .options = "{\"mode\": \"Null\"}" },
	{ .kind = "virtio-rng", .pci = true },
	{ .kind = "virtio-mem", .pci = true, .options = "{\"size\": 4194304}" },
	{ .kind = "virtio-balloon",
	  .pci = true,
	  .options = "{\"size\": 1048576, \"free_page_reporting\": true, "
		     "\"free_page_hinting\": true}" },
	{ .kind = "virtio-console", .options = "{\"mode\": \"Null\"}", .pci = true },
	{ .kind = "virtio-blk", .pci = true, .options = "{\"path\": \"%s\", \"num_queues\": 2}" },
	{ .kind = "virtio-net",
	  .tun = true,
	  .pci = true,
	  .tells_of_moves = true,
	  .options = "{\"num_queues\": 4}" },
	{ .kind = "irqchip", .kvm = true },
	{ .kind = "pit", .kvm = true, .irqchip = true },
	{ .kind = "clock", .kvm = true, .drifts = true },
	{ .kind = "vcpu", .kvm = true, .irqchip = true, .drifts = true },
};

static inline struct row row_of(const struct device_class *class)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].kind, class->kind))
			return rows[i];
	return (struct row){ .kind = class->kind };
}

struct rig {
	const struct device_class *class;
	struct row row;
	int kvm_fd;
	struct loop *loop;
	struct vm vm;
	json_t *options;
	char path[32];
	struct device *dev;
	unsigned nevents;
	bool stopped;
	struct work ping, pong; /* to the I/O thread and back */
};

static inline void rig_event(void *arg, unsigned events)
{
	(void)events;
	((struct rig *)arg)->nevents++;
}

/* All clocks on the wall have stopped, so that two looks see the same. */
static inline uint64_t rig_wall_clock_ns(void)
{
	return UINT64_C(1700000000123456789);
}

static inline void rig_ping(void *arg)
{
	struct rig *rig = arg;

	loop_post(rig->loop, &rig->pong);
}

static inline void rig_pong(void *arg)
{
	loop_quit(((struct rig *)arg)->loop);
}

static inline json_t *rig_options(struct rig *rig)
{
	CLEANUP(free) char *text = NULL;
	json_error_t error;
	json_t *options;
	int fd;

	strcpy(rig->path, "/tmp/contract.XXXXXX");
	fd = mkstemp(rig->path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	ck_assert_int_gt(asprintf(&text, rig->row.options ? rig->row.options : "{}", rig->path), 0);
	options = json_loads(text, 0, &error);
	ck_assert_msg(options, "%s: %s", rig->row.kind, error.text);
	return options;
}

static inline struct device *rig_extra(struct rig *rig, const struct device_class *class)
{
	struct device *dev;
	struct err e;

	ck_assert_msg(device_new(&dev, class, "extra", &rig->vm, NULL, &e) == 0, "%s", e.text);
	return dev;
}

/* A VM that has all but the device itself. */
static inline void rig_new(struct rig *rig, const struct device_class *class)
{
	const struct guest_mem_config memory = { .size_bytes = RAM_BYTES,
						 .pluggable_bytes = RAM_BYTES };
	struct err e;

	*rig = (struct rig){ .class = class, .row = row_of(class), .kvm_fd = -1 };
	if (rig->row.kvm)
		rig->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ck_assert_msg(loop_new(&rig->loop, &e) == 0, "%s", e.text);
	ck_assert_msg(vm_init(&rig->vm, rig->kvm_fd, rig->loop, rig->row.pci, &e) == 0, "%s",
		      e.text);
	ck_assert_msg(guest_mem_new(&rig->vm.mem, &memory, &e) == 0, "%s", e.text);
	loop_set_lock(rig->loop, &rig->vm.lock);
	rig->vm.on_event = rig_event;
	rig->vm.on_event_arg = rig;
	rig->vm.wall_clock_ns = rig_wall_clock_ns;
	rig->ping = (struct work){ .run = rig_ping, .arg = rig };
	rig->pong = (struct work){ .run = rig_pong, .arg = rig };
	rig->options = rig_options(rig);
	if (rig->row.irqchip)
		rig_extra(rig, &irqchip_class);
	if (rig->row.pci)
		rig_extra(rig, &pci_host_class);
}

static inline int rig_add(struct rig *rig, const char *id, struct device **dev, struct err *e)
{
	return device_new(dev, rig->class, id, &rig->vm, rig->options, e);
}

static inline void rig_new_with_device(struct rig *rig, const struct device_class *class)
{
	struct err e;

	rig_new(rig, class);
	ck_assert_msg(rig_add(rig, "dut", &rig->dev, &e) == 0, "%s", e.text);
}

static inline void rig_free(struct rig *rig)
{
	vm_free(&rig->vm);
	guest_mem_free(rig->vm.mem);
	loop_free(rig->loop);
	json_decref(rig->options);
	unlink(rig->path);
	if (rig->kvm_fd >= 0)
		close(rig->kvm_fd);
}

static inline struct pci_function *function_of(struct rig *rig)
{
	for (unsigned i = 0; rig->vm.pci && i < PCI_SLOTS; i++)
		if (rig->vm.pci->slot[i] && rig->vm.pci->slot[i]->dev == rig->dev)
			return rig->vm.pci->slot[i];
	return NULL;
}

/* What KVM does with an eventfd that is connected to an interrupt: take the signal. */
static inline void rig_take_interrupts(struct rig *rig)
{
	struct pci_function *fn = rig->row.pci ? function_of(rig) : NULL;
	unsigned at = fn ? fn->s->config[PCI_CAPABILITY_LIST] : 0;
	const struct msix *m;
	uint64_t count;

	while (at && fn->s->config[at] != PCI_CAP_ID_MSIX)
		at = fn->s->config[at + 1];
	if (!at)
		return;
	m = fn->bar[fn->s->config[at + PCI_MSIX_TABLE] & PCI_MSIX_TABLE_BIR].region.owner;
	for (unsigned i = 0; i < m->nvectors; i++)
		if (m->vector[i].connected)
			while (read(m->vector[i].fd, &count, sizeof(count)) > 0)
				;
}

/* Let the I/O thread and then main do all that was posted before; chains of the queues that
 * are handed over are three long. */
static inline void rig_pump(struct rig *rig)
{
	for (int i = 0; i < (rig->row.pci ? 3 : 1); i++) {
		if (rig->row.pci)
			loop_post(io_thread_loop(rig->vm.io_thread[0]), &rig->ping);
		else
			loop_post(rig->loop, &rig->pong);
		loop_run(rig->loop);
	}
	rig_take_interrupts(rig);
}

static inline void rig_start(struct rig *rig)
{
	pthread_mutex_lock(&rig->vm.lock);
	device_start(rig->dev);
	pthread_mutex_unlock(&rig->vm.lock);
}

static inline void rig_stopped(struct device *dev, void *arg)
{
	struct rig *rig = arg;

	(void)dev;
	rig->stopped = true;
	loop_quit(rig->loop);
}

static inline void rig_stop(struct rig *rig)
{
	rig->stopped = false;
	pthread_mutex_lock(&rig->vm.lock);
	device_stop(rig->dev, rig_stopped, rig);
	pthread_mutex_unlock(&rig->vm.lock);
	do
		loop_run(rig->loop);
	while (!rig->stopped);
	rig_take_interrupts(rig);
}

/* What the device says it is now. */
static inline struct state_buf rig_save(struct rig *rig)
{
	const struct state_target to = { .device = rig->dev->id };
	struct state_buf b = { 0 };
	struct err e;

	ck_assert_msg(device_fetch(rig->dev, &e) == 0, "%s: %s", rig->class->kind, e.text);
	ck_assert_msg(state_save(rig->class->state, device_state(rig->dev), &to, &b, &e) == 0,
		      "%s: %s", rig->class->kind, e.text);
	return b;
}

/* 0, or what refused: the record or the device. */
static inline int rig_load(struct rig *rig, const struct state_buf *b, struct err *e)
{
	int r = state_load(rig->class->state, device_state(rig->dev), rig->dev->id, b->data, b->len,
			   e);

	return r ? r : device_loaded(rig->dev, e);
}

static inline void print_lines(const struct state_buf *b, char **text)
{
	size_t len;
	FILE *f = open_memstream(text, &len);
	struct err e;

	state_print(f, 0, b->data, b->len, &e);
	fclose(f);
}

/* Fails with the first line that differs; frees both. */
static inline void same_record(struct state_buf *a, struct state_buf *b, const char *kind,
			       const char *when)
{
	CLEANUP(free) char *left = NULL, *right = NULL;
	size_t at = 0;

	if (a->len != b->len || memcmp(a->data, b->data, a->len)) {
		print_lines(a, &left);
		print_lines(b, &right);
		for (size_t i = 0; left[i] && left[i] == right[i]; i++)
			if (left[i] == '\n')
				at = i + 1;
		ck_abort_msg("%s: %s: \"%.*s\" became \"%.*s\"", kind, when,
			     (int)strcspn(left + at, "\n"), left + at,
			     (int)strcspn(right + at, "\n"), right + at);
	}
	state_buf_free(a);
	state_buf_free(b);
}

/* Everything a device could leave behind. */
struct traces {
	unsigned pio, mmio, slots, fds, routes, devices;
	bool acpi;
	bool taken[IRQ_PINS], level[IRQ_PINS];
	uint64_t msi[(IRQ_ROUTES_MAX + 63) / 64];
};

static inline unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline struct traces traces_of(struct rig *rig)
{
	struct vm *vm = &rig->vm;
	struct traces t;
	struct device *dev;

	memset(&t, 0, sizeof(t));
	t.pio = vm->pio.nregions;
	t.mmio = vm->mmio.nregions;
	for (unsigned i = 0; vm->pci && i < PCI_SLOTS; i++)
		t.slots += vm->pci->slot[i] != NULL;
	t.fds = count_fds();
	t.routes = vm->irq.table->nr;
	list_for_each (dev, &vm->devices, node)
		t.devices++;
	t.acpi = vm->acpi != NULL;
	memcpy(t.taken, vm->irq.taken, sizeof(t.taken));
	memcpy(t.level, vm->irq.level, sizeof(t.level));
	memcpy(t.msi, vm->irq.msi_used, sizeof(t.msi));
	return t;
}

static inline void no_new_traces(struct rig *rig, const struct traces *before, const char *when)
{
	struct traces now = traces_of(rig);
	const char *kind = rig->class->kind;

	ck_assert_msg(now.pio == before->pio, "%s: %s: ports stay claimed", kind, when);
	ck_assert_msg(now.mmio == before->mmio, "%s: %s: memory stays claimed", kind, when);
	ck_assert_msg(now.slots == before->slots, "%s: %s: a PCI slot stays taken", kind, when);
	ck_assert_msg(now.fds == before->fds, "%s: %s: %u fds were open, now %u", kind, when,
		      before->fds, now.fds);
	ck_assert_msg(now.devices == before->devices, "%s: %s: it is still listed", kind, when);
	ck_assert_msg(!memcmp(before, &now, sizeof(now)),
		      "%s: %s: an interrupt or the ACPI events stay taken", kind, when);
}

#endif

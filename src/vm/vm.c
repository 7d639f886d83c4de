/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bits.h"
#include "kvm.h"
#include "platform.h"
#include "vm.h"

static void run_events(void *arg)
{
	struct vm *vm = arg;
	unsigned raised = atomic_exchange(&vm->raised, 0);

	if (raised)
		vm->on_event(vm->on_event_arg, raised);
}

int vm_init(struct vm *vm, int kvm_fd, struct loop *loop, unsigned nio_threads, struct err *e)
{
	int r = 0;

	*vm = (struct vm){
		.name = "vm", .kvm_fd = kvm_fd, .fd = -1, .loop = loop, .status_fd = -1
	};
	list_init(&vm->devices);
	list_init(&vm->disks);
	pthread_mutex_init(&vm->lock, NULL);
	vm->event_work = (struct work){ .run = run_events, .arg = vm };
	if (kvm_fd >= 0)
		r = kvm_new_vm(kvm_fd, &vm->fd, e);
	bus_init(&vm->pio, "port", vm->fd);
	bus_init(&vm->mmio, "address", vm->fd);
	if (!r)
		r = irq_init(&vm->irq, vm->fd, e);
	while (!r && vm->nio_threads < MIN(nio_threads, ARRAY_SIZE(vm->io_thread))) {
		r = io_thread_new(&vm->io_thread[vm->nio_threads], vm->nio_threads, e);
		vm->nio_threads += !r;
	}
	if (r)
		vm_free(vm);
	return r;
}

void vm_free(struct vm *vm)
{
	cpu_quota_set(&vm->cpu_quota, 0);
	while (!list_empty(&vm->devices))
		device_free(list_item(vm->devices.prev, struct device, node));
	while (vm->nio_threads)
		io_thread_free(vm->io_thread[--vm->nio_threads]);
	loop_unpost(vm->loop, &vm->event_work);
	irq_free(&vm->irq);
	bus_free(&vm->pio);
	bus_free(&vm->mmio);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->status_fd >= 0)
		close(vm->status_fd);
	vm->fd = vm->status_fd = -1;
	pthread_mutex_destroy(&vm->lock);
}

void vm_raise(struct vm *vm, enum vm_event event)
{
	atomic_fetch_or(&vm->raised, event);
	loop_post(vm->loop, &vm->event_work);
}

bool vm_note_io_error(struct vm *vm, const struct vm_io_error *io)
{
	if (atomic_exchange(&vm->has_io_error, true))
		return false;
	vm->io_error = *io;
	vm_raise(vm, VM_IO_ERROR);
	return true;
}

json_t *vm_io_error_json(const struct vm_io_error *io)
{
	return json_pack("{s:s, s:s, s:I, s:i, s:s}", "id", io->id, "operation", io->operation,
			 "offset", (json_int_t)io->offset, "errno", io->error, "reason",
			 strerror(io->error));
}

void vm_fail(struct vm *vm, const char *fmt, ...)
{
	va_list ap;

	if (!vm->failure.text[0]) {
		va_start(ap, fmt);
		vsnprintf(vm->failure.text, sizeof(vm->failure.text), fmt, ap);
		va_end(ap);
	}
	vm_raise(vm, VM_FAILED);
}

int vm_raise_acpi(struct vm *vm, uint8_t events)
{
	if (!vm->acpi)
		return -ENOTSUP;
	vm->acpi_raise(vm->acpi, events);
	return 0;
}

int vm_press_power_button(struct vm *vm)
{
	return vm_raise_acpi(vm, PLATFORM_ACPI_EVENT_BUTTON);
}

struct device *vm_device(struct vm *vm, const char *id)
{
	struct device *dev;

	list_for_each (dev, &vm->devices, node)
		if (!strcmp(dev->id, id))
			return dev;
	return NULL;
}

struct vm_disk *vm_disk(struct vm *vm, const char *id)
{
	struct vm_disk *d;

	list_for_each (d, &vm->disks, node)
		if (!strcmp(d->id, id))
			return d;
	return NULL;
}

void vm_add_disk(struct vm *vm, struct vm_disk *disk)
{
	struct vm_disk *next;

	list_for_each (next, &vm->disks, node)
		if (strcmp(next->id, disk->id) > 0)
			break;
	list_append(&next->node, &disk->node); /* before it; at the end that is the head */
}

uint64_t vm_wall_clock_ns(const struct vm *vm)
{
	struct timespec t;

	if (vm->wall_clock_ns)
		return vm->wall_clock_ns();
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t vm_away_ns(const struct vm *vm, uint64_t stopped_ns)
{
	uint64_t now = vm_wall_clock_ns(vm);

	return !vm->came_paused && stopped_ns && now > stopped_ns &&
			       now - stopped_ns <= VM_AWAY_MAX_NS
		       ? now - stopped_ns
		       : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port through which a guest says that it panicked.  It has no state: a read tells which
 * events are understood, a write reports some of them.
 *
 * Source: "PVPANIC DEVICE", ISA interface, qemu.org/docs/master/specs/pvpanic.html.
 */
#include "bits.h"
#include "platform.h"
#include "vm.h"

enum {
	PVPANIC_PANICKED = 1 << 0, /* to be dealt with by the host */
	PVPANIC_CRASH_LOADED = 1 << 1, /* the guest deals with it: to be reported only */
};

struct pvpanic {
	struct device dev;
};

static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(void *owner, uint64_t offset, unsigned size, uint64_t value)
{
	struct device *dev = owner;

	(void)offset;
	(void)size;
	if (value & PVPANIC_CRASH_LOADED)
		device_note(dev, "the guest panicked and is about to run its crash kernel");
	if (value & PVPANIC_PANICKED)
		vm_raise(dev->vm, VM_PANIC);
}

static const struct region_ops pvpanic_ports = { .read = pvpanic_read,
						 .write = pvpanic_write,
						 .widths = 1 };

static int pvpanic_attach(struct device *dev, struct err *e)
{
	return device_claim_pio(dev, PLATFORM_PVPANIC, 1, &pvpanic_ports, e);
}

static void pvpanic_reset(struct device *dev)
{
	(void)dev;
}

const struct device_class pvpanic_class = {
	.kind = "pvpanic",
	.size = sizeof(struct pvpanic),
	.attach = pvpanic_attach,
	.reset = pvpanic_reset,
};

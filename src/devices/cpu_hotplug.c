/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of CPU hotplug.  The ACPI tables give each vCPU a device whose _STA reads its bit of
 * what is present, whose _EJ0 writes its bit and whose _OST writes what the guest makes of a
 * notification; at the event they read the two other kinds and notify the vCPUs found there.
 *
 * Source: ACPI 6.4, 5.6.6 (notifications), 6.3.3 (_EJx), 6.3.5 (_OST).
 */
#include "cpu_hotplug.h"

#include <errno.h>
#include <stdio.h>

#include "bits.h"
#include "platform.h"
#include "vcpu.h"
#include "vm.h"

enum { DWORDS = PLATFORM_CPU_HOTPLUG_DWORDS, BYTES = 4 * DWORDS };

/* _OST, ACPI 6.4, 6.3.5 */
enum { OST_EJECT_REQUEST = 3, OST_SUCCESS = 0, OST_EJECT_IN_PROGRESS = 0x84 };

struct cpu_hotplug_state {
	uint32_t present[DWORDS];
	uint32_t inserted[DWORDS], wanted[DWORDS]; /* what the guest has not read yet */
};

struct cpu_hotplug {
	struct device dev;
	uint32_t boot, max; /* options */
	struct cpu_hotplug_state s;
	/* The control layer's, never in a stream: what it waits for, what is on its way to it */
	uint32_t asked[DWORDS], ejected[DWORDS];
	uint8_t refusal[CPU_HOTPLUG_MAX]; /* status; 0: none */
};

static const struct option cpu_hotplug_options[] = {
	OPTION(struct cpu_hotplug, boot, .fallback = "1", .min = 1, .max = CPU_HOTPLUG_MAX),
	OPTION(struct cpu_hotplug, max, .fallback = "1", .min = 1, .max = CPU_HOTPLUG_MAX),
};
static const struct option_table cpu_hotplug_table = OPTION_TABLE(cpu_hotplug_options);

static const struct state_field cpu_hotplug_fields[] = {
	STATE_ARRAY(struct cpu_hotplug_state, present),
	STATE_ARRAY(struct cpu_hotplug_state, inserted),
	STATE_ARRAY(struct cpu_hotplug_state, wanted),
};
static const struct state_desc cpu_hotplug_desc =
	STATE_DESC(struct cpu_hotplug_state, "cpu-hotplug", 1, 1, cpu_hotplug_fields);

static bool has(const uint32_t *set, unsigned cpu)
{
	return set[cpu / 32] >> cpu % 32 & 1;
}

static void add(uint32_t *set, unsigned cpu)
{
	set[cpu / 32] |= UINT32_C(1) << cpu % 32;
}

static void drop(uint32_t *set, unsigned cpu)
{
	set[cpu / 32] &= ~(UINT32_C(1) << cpu % 32);
}

static uint32_t take(uint32_t *bits)
{
	uint32_t taken = *bits;

	*bits = 0;
	return taken;
}

static uint64_t cpu_hotplug_read(void *dev, uint64_t offset, unsigned size)
{
	struct cpu_hotplug *h = dev;
	unsigned dword = offset % BYTES / 4;

	(void)size;
	switch (offset - offset % BYTES) {
	case PLATFORM_CPU_HOTPLUG_PRESENT:
		/* At once: a guest looks whether what it has just given up is gone. */
		return h->s.present[dword] & ~h->ejected[dword];
	case PLATFORM_CPU_HOTPLUG_INSERTED:
		if (h->s.inserted[dword])
			vm_raise(h->dev.vm, VM_HOTPLUG);
		return take(&h->s.inserted[dword]);
	case PLATFORM_CPU_HOTPLUG_WANTED:
		return take(&h->s.wanted[dword]);
	default:
		return 0;
	}
}

/* What nobody asked for stays, and the guest may take it into use again. */
static void cpu_hotplug_return(struct cpu_hotplug *h, unsigned cpu)
{
	device_note(&h->dev, "the guest gives up vCPU %u unasked; it stays", cpu);
	add(h->s.inserted, cpu);
	vm_raise_acpi(h->dev.vm, PLATFORM_ACPI_EVENT_CPU);
}

static void cpu_hotplug_eject(struct cpu_hotplug *h, unsigned first, uint32_t bits)
{
	for (unsigned cpu = first; bits; cpu++, bits >>= 1) {
		if (!(bits & 1) || !has(h->s.present, cpu) || has(h->ejected, cpu))
			continue;
		if (!has(h->asked, cpu)) {
			cpu_hotplug_return(h, cpu);
			continue;
		}
		add(h->ejected, cpu);
		vm_raise(h->dev.vm, VM_HOTPLUG);
	}
}

static void cpu_hotplug_ost(struct cpu_hotplug *h, uint32_t value)
{
	unsigned cpu = value >> PLATFORM_CPU_HOTPLUG_OST_CPU;
	uint8_t event = value >> PLATFORM_CPU_HOTPLUG_OST_EVENT & 0xff, status = value & 0xff;

	if (event != OST_EJECT_REQUEST || status == OST_SUCCESS ||
	    status == OST_EJECT_IN_PROGRESS || cpu >= h->max || !has(h->asked, cpu))
		return;
	h->refusal[cpu] = status;
	vm_raise(h->dev.vm, VM_HOTPLUG);
}

static void cpu_hotplug_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct cpu_hotplug *h = dev;

	(void)size;
	if (offset - offset % BYTES == PLATFORM_CPU_HOTPLUG_EJECT)
		cpu_hotplug_eject(h, offset % BYTES * 8, (uint32_t)value);
	else if (offset == PLATFORM_CPU_HOTPLUG_OST)
		cpu_hotplug_ost(h, (uint32_t)value);
}

static const struct region_ops cpu_hotplug_ports = { .read = cpu_hotplug_read,
						     .write = cpu_hotplug_write,
						     .widths = 4 };

bool cpu_hotplug_is_present(const struct device *dev, unsigned cpu)
{
	return has(((const struct cpu_hotplug *)dev)->s.present, cpu);
}

unsigned cpu_hotplug_count(const struct device *dev)
{
	const struct cpu_hotplug *h = (const struct cpu_hotplug *)dev;
	unsigned n = 0;

	for (unsigned i = 0; i < DWORDS; i++)
		n += (unsigned)__builtin_popcount(h->s.present[i]);
	return n;
}

unsigned cpu_hotplug_max(const struct device *dev)
{
	return ((const struct cpu_hotplug *)dev)->max;
}

void cpu_hotplug_insert(struct device *dev, unsigned cpu)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;

	add(h->s.present, cpu);
	add(h->s.inserted, cpu);
	vm_raise_acpi(dev->vm, PLATFORM_ACPI_EVENT_CPU);
}

bool cpu_hotplug_is_unread(const struct device *dev, unsigned cpu)
{
	return has(((const struct cpu_hotplug *)dev)->s.inserted, cpu);
}

void cpu_hotplug_want(struct device *dev, unsigned cpu)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;

	add(h->s.wanted, cpu);
	add(h->asked, cpu);
	h->refusal[cpu] = 0;
	vm_raise_acpi(dev->vm, PLATFORM_ACPI_EVENT_CPU);
}

void cpu_hotplug_withdraw(struct device *dev, unsigned cpu)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;

	drop(h->s.wanted, cpu);
	drop(h->asked, cpu);
}

void cpu_hotplug_remove(struct device *dev, unsigned cpu)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;

	cpu_hotplug_withdraw(dev, cpu);
	drop(h->ejected, cpu);
	drop(h->s.inserted, cpu);
	drop(h->s.present, cpu);
}

enum cpu_answer cpu_hotplug_answer(const struct device *dev, unsigned cpu, uint8_t *status)
{
	const struct cpu_hotplug *h = (const struct cpu_hotplug *)dev;

	*status = h->refusal[cpu];
	if (has(h->ejected, cpu))
		return CPU_GIVEN_UP;
	return h->refusal[cpu] ? CPU_REFUSED : CPU_SILENT;
}

static int cpu_hotplug_attach(struct device *dev, struct err *e)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;

	for (unsigned cpu = 0; cpu < h->boot; cpu++)
		add(h->s.present, cpu);
	return device_claim_pio(dev, PLATFORM_CPU_HOTPLUG, PLATFORM_CPU_HOTPLUG_BYTES,
				&cpu_hotplug_ports, e);
}

/* A guest that boots again has the vCPUs that it has been given, and finds them by itself. */
static void cpu_hotplug_reset(struct device *dev)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;

	for (unsigned i = 0; i < DWORDS; i++)
		h->s.inserted[i] = h->s.wanted[i] = h->asked[i] = h->ejected[i] = 0;
}

/* Before the states of vCPUs are loaded, which are behind this in the order of loading. */
static int cpu_hotplug_loaded(struct device *dev, struct err *e)
{
	struct cpu_hotplug *h = (struct cpu_hotplug *)dev;
	bool beyond = false;
	char id[sizeof(dev->id)];

	for (unsigned cpu = h->max; cpu < 32 * DWORDS; cpu++)
		beyond |= has(h->s.present, cpu) || has(h->s.inserted, cpu) ||
			  has(h->s.wanted, cpu);
	if (beyond || !has(h->s.present, 0) || cpu_hotplug_count(dev) != h->boot)
		return err_set(e, -EINVAL,
			       "%s: saved with other vCPUs than the %u of up to %u that the "
			       "configuration says",
			       dev->id, h->boot, h->max);
	for (unsigned cpu = 0; cpu < h->max; cpu++) {
		struct device *vcpu;

		snprintf(id, sizeof(id), "vcpu%u", cpu);
		vcpu = vm_device(dev->vm, id);
		if (vcpu)
			vcpu_set_present(vcpu, has(h->s.present, cpu));
	}
	return 0;
}

const struct device_class cpu_hotplug_class = {
	.kind = "cpu-hotplug",
	.size = sizeof(struct cpu_hotplug),
	.options = &cpu_hotplug_table,
	.state = &cpu_hotplug_desc,
	.state_offset = offsetof(struct cpu_hotplug, s),
	.attach = cpu_hotplug_attach,
	.reset = cpu_hotplug_reset,
	.loaded = cpu_hotplug_loaded,
};

struct device *cpu_hotplug_of(struct vm *vm)
{
	struct device *dev = vm_device(vm, "cpu-hotplug");

	/* Where there is none, somebody's disk may be called so. */
	return dev && dev->class == &cpu_hotplug_class ? dev : NULL;
}

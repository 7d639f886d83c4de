/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hardware-reduced ACPI needs of the machine: the sleep registers, of which only soft-off
 * (S5) does something; the reset register; and the event register behind the generic event
 * device, which holds its interrupt line up until it is read.  Events are the power button's
 * and what other devices raise by vm_raise_acpi().
 *
 * Source: ACPI 6.4, 4.8.3.6 (reset register), 4.8.3.7 (sleep registers), 5.6.9 (generic event
 * device).
 */
#include "bits.h"
#include "platform.h"
#include "vm.h"

enum {
	ACPI_PM_SLEEP_CONTROL = PLATFORM_ACPI_SLEEP_CONTROL - PLATFORM_ACPI_SLEEP_CONTROL,
	ACPI_PM_SLEEP_STATUS = PLATFORM_ACPI_SLEEP_STATUS - PLATFORM_ACPI_SLEEP_CONTROL,
	ACPI_PM_RESET = PLATFORM_ACPI_RESET - PLATFORM_ACPI_SLEEP_CONTROL,
	ACPI_PM_EVENT = PLATFORM_ACPI_EVENT - PLATFORM_ACPI_SLEEP_CONTROL,
	ACPI_PM_PORTS = ACPI_PM_EVENT + 1,
};

enum {
	SLEEP_TYPE = 7 << 2,
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_ENABLE = 1 << 5, /* reads as 0 */
};

struct acpi_pm_state {
	uint8_t sleep_type; /* as in the register */
	uint8_t events;
};

struct acpi_pm {
	struct device dev;
	struct acpi_pm_state s;
	struct irq_line line;
};

static const struct state_field acpi_pm_fields[] = {
	STATE(struct acpi_pm_state, sleep_type, .max = SLEEP_TYPE),
	STATE(struct acpi_pm_state, events, .max = PLATFORM_ACPI_EVENTS),
};
static const struct state_desc acpi_pm_desc = STATE_DESC(struct acpi_pm_state, "acpi_pm", 1, 1,
							 acpi_pm_fields);

static void acpi_pm_update(struct acpi_pm *a)
{
	irq_line_set(&a->line, a->s.events);
}

/* While the VM is stopped the event waits for the start, so that lines do not move then. */
static void acpi_pm_raise(struct device *dev, uint8_t events)
{
	struct acpi_pm *a = (struct acpi_pm *)dev;

	a->s.events |= events;
	if (dev->phase == DEVICE_RUNNING)
		acpi_pm_update(a);
}

static uint8_t acpi_pm_take_events(struct acpi_pm *a)
{
	uint8_t events = a->s.events;

	a->s.events = 0;
	acpi_pm_update(a);
	return events;
}

static uint64_t acpi_pm_read(void *dev, uint64_t offset, unsigned size)
{
	struct acpi_pm *a = dev;

	(void)size;
	switch (offset) {
	case ACPI_PM_SLEEP_CONTROL:
		return a->s.sleep_type;
	case ACPI_PM_EVENT:
		return acpi_pm_take_events(a);
	default: /* the sleep status has no wake to tell of */
		return 0;
	}
}

static void acpi_pm_sleep(struct acpi_pm *a, uint8_t value)
{
	a->s.sleep_type = value & SLEEP_TYPE;
	if (!(value & SLEEP_ENABLE))
		return;
	if (a->s.sleep_type >> SLEEP_TYPE_SHIFT == PLATFORM_ACPI_S5)
		vm_raise(a->dev.vm, VM_POWEROFF);
	else
		device_note(&a->dev, "the guest asks for sleep type %u, which there is not",
			    a->s.sleep_type >> SLEEP_TYPE_SHIFT);
}

static void acpi_pm_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *a = dev;

	(void)size;
	if (offset == ACPI_PM_SLEEP_CONTROL)
		acpi_pm_sleep(a, (uint8_t)value);
	else if (offset == ACPI_PM_RESET && value == PLATFORM_ACPI_RESET_VALUE)
		vm_raise(a->dev.vm, VM_RESET);
}

static const struct region_ops acpi_pm_ports = { .read = acpi_pm_read,
						 .write = acpi_pm_write,
						 .widths = 1 };

static int acpi_pm_attach(struct device *dev, struct err *e)
{
	struct acpi_pm *a = (struct acpi_pm *)dev;
	int r = device_claim_pio(dev, PLATFORM_ACPI_SLEEP_CONTROL, ACPI_PM_PORTS, &acpi_pm_ports,
				 e);

	if (!r)
		r = device_claim_irq(dev, PLATFORM_IRQ_ACPI, &a->line, e);
	if (!r)
		r = device_claim_acpi_events(dev, acpi_pm_raise, e);
	return r;
}

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *a = (struct acpi_pm *)dev;

	a->s = (struct acpi_pm_state){ 0 };
	acpi_pm_update(a);
}

static void acpi_pm_start(struct device *dev)
{
	acpi_pm_update((struct acpi_pm *)dev);
}

const struct device_class acpi_pm_class = {
	.kind = "acpi_pm",
	.size = sizeof(struct acpi_pm),
	.state = &acpi_pm_desc,
	.state_offset = offsetof(struct acpi_pm, s),
	.attach = acpi_pm_attach,
	.reset = acpi_pm_reset,
	.start = acpi_pm_start,
};

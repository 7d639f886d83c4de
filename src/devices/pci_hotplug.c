/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of PCI hotplug.  The ACPI tables give each slot a device whose _EJ0 writes its bit;
 * at the event they read the two other registers and notify the slots found there.
 *
 * Source: ACPI 6.4, 5.6.6 (notifications), 6.3.3 (_EJx).
 */
#include "pci.h"
#include "pci_hotplug.h"
#include "platform.h"
#include "vm.h"

struct pci_hotplug_state {
	uint32_t inserted, wanted; /* what the guest has not read yet */
};

struct pci_hotplug {
	struct device dev;
	struct pci_hotplug_state s;
	/* The control layer's, never in a stream: what it waits for, what is on its way to it */
	uint32_t asked, ejected;
};

static const struct state_field pci_hotplug_fields[] = {
	STATE(struct pci_hotplug_state, inserted),
	STATE(struct pci_hotplug_state, wanted),
};
static const struct state_desc pci_hotplug_desc =
	STATE_DESC(struct pci_hotplug_state, "pci-hotplug", 1, 1, pci_hotplug_fields);

static uint32_t take(uint32_t *bits)
{
	uint32_t taken = *bits;

	*bits = 0;
	return taken;
}

static uint64_t pci_hotplug_read(void *dev, uint64_t offset, unsigned size)
{
	struct pci_hotplug *h = dev;

	(void)size;
	switch (offset) {
	case PLATFORM_PCI_HOTPLUG_INSERTED:
		if (h->s.inserted)
			vm_raise(h->dev.vm, VM_HOTPLUG);
		return take(&h->s.inserted);
	case PLATFORM_PCI_HOTPLUG_WANTED:
		return take(&h->s.wanted);
	default:
		return 0;
	}
}

static void pci_hotplug_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_hotplug *h = dev;

	(void)size;
	if (offset != PLATFORM_PCI_HOTPLUG_EJECT || !value)
		return;
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		if (value & h->asked & UINT32_C(1) << slot)
			pci_hide(h->dev.vm->pci, slot);
	h->ejected |= (uint32_t)value;
	vm_raise(h->dev.vm, VM_HOTPLUG);
}

static const struct region_ops pci_hotplug_ports = { .read = pci_hotplug_read,
						     .write = pci_hotplug_write,
						     .widths = 4 };

void pci_hotplug_insert(struct device *dev, unsigned slot)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	h->s.inserted |= UINT32_C(1) << slot;
	vm_raise_acpi(dev->vm, PLATFORM_ACPI_EVENT_PCI);
}

bool pci_hotplug_is_unread(struct device *dev, unsigned slot)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	return h->s.inserted >> slot & 1;
}

void pci_hotplug_want(struct device *dev, unsigned slot)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	h->s.wanted |= UINT32_C(1) << slot;
	h->asked |= UINT32_C(1) << slot;
	vm_raise_acpi(dev->vm, PLATFORM_ACPI_EVENT_PCI);
}

void pci_hotplug_withdraw(struct device *dev, unsigned slot)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	h->s.wanted &= ~(UINT32_C(1) << slot);
	h->asked &= ~(UINT32_C(1) << slot);
}

uint32_t pci_hotplug_take_ejected(struct device *dev)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	h->asked &= ~h->ejected;
	return take(&h->ejected);
}

static int pci_hotplug_attach(struct device *dev, struct err *e)
{
	return device_claim_pio(dev, PLATFORM_PCI_HOTPLUG, PLATFORM_PCI_HOTPLUG_BYTES,
				&pci_hotplug_ports, e);
}

static void pci_hotplug_reset(struct device *dev)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	h->s = (struct pci_hotplug_state){ 0 };
	h->asked = h->ejected = 0;
}

const struct device_class pci_hotplug_class = {
	.kind = "pci-hotplug",
	.size = sizeof(struct pci_hotplug),
	.state = &pci_hotplug_desc,
	.state_offset = offsetof(struct pci_hotplug, s),
	.attach = pci_hotplug_attach,
	.reset = pci_hotplug_reset,
};

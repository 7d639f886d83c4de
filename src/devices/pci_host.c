/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI Express host bridge: bus 0 behind the port pair CF8/CFC and behind ECAM, and itself as
 * device 0.  Bit 2 of port CF9 resets the machine, as on every PC chipset since the PIIX3.
 *
 * Source: PCI Local Bus 3.0, 3.2.2.3.2; PCI Express 5.0, 7.2.2.
 */
#include "bits.h"
#include "pci.h"
#include "platform.h"
#include "vm.h"

enum {
	CONFIG_ADDRESS = 0, /* offsets from PLATFORM_PCI_CONFIG */
	RESET_CONTROL = 1,
	CONFIG_DATA = 4,
	PORTS = 8,
	RESET_CPU = 1 << 2,
	RESET_SYSTEM = 1 << 1,
};

#define CONFIG_ENABLE UINT32_C(0x80000000)
#define CONFIG_WRITABLE UINT32_C(0x80fffffc)

struct pci_host_state {
	struct pci_state pci[1];
	uint32_t address;
	uint8_t reset_control;
};

struct pci_host {
	struct device dev;
	struct pci_host_state s;
	struct pci_bus bus;
	struct pci_function fn;
};

static const struct state_field pci_host_fields[] = {
	STATE_STRUCTS(struct pci_host_state, pci, &pci_state_desc),
	STATE(struct pci_host_state, address),
	STATE(struct pci_host_state, reset_control, .max = RESET_SYSTEM),
};
static const struct state_desc pci_host_desc = STATE_DESC(struct pci_host_state, "pci-host", 1, 1,
							  pci_host_fields);

/* Bus 0 only: others have no devices. */
static bool pci_host_selects(const struct pci_host *h)
{
	return (h->s.address & CONFIG_ENABLE) && !(h->s.address >> 16 & 0xff);
}

static uint64_t pci_host_read(void *dev, uint64_t offset, unsigned size)
{
	struct pci_host *h = dev;

	if (offset == CONFIG_ADDRESS && size == 4)
		return h->s.address;
	if (offset == RESET_CONTROL && size == 1)
		return h->s.reset_control;
	if (offset < CONFIG_DATA || !pci_host_selects(h))
		return ones(size);
	return pci_config_read(&h->bus, h->s.address >> 8 & 0xff,
			       (h->s.address & 0xfc) + (unsigned)offset - CONFIG_DATA, size);
}

static void pci_host_reset_control(struct pci_host *h, uint8_t value)
{
	h->s.reset_control = value & RESET_SYSTEM;
	if (value & RESET_CPU)
		vm_raise(h->dev.vm, VM_RESET);
}

static void pci_host_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_host *h = dev;

	if (offset == CONFIG_ADDRESS && size == 4)
		h->s.address = (uint32_t)value & CONFIG_WRITABLE;
	else if (offset == RESET_CONTROL && size == 1)
		pci_host_reset_control(h, (uint8_t)value);
	else if (offset >= CONFIG_DATA && pci_host_selects(h))
		pci_config_write(&h->bus, h->s.address >> 8 & 0xff,
				 (h->s.address & 0xfc) + (unsigned)offset - CONFIG_DATA, size,
				 value);
}

static const struct region_ops pci_host_ports = { .read = pci_host_read,
						  .write = pci_host_write,
						  .widths = 1 | 2 | 4 };

static uint64_t ecam_read(void *dev, uint64_t offset, unsigned size)
{
	struct pci_host *h = dev;

	return pci_config_read(&h->bus, offset >> 12 & 0xff, offset & 0xfff, size);
}

static void ecam_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_host *h = dev;

	pci_config_write(&h->bus, offset >> 12 & 0xff, offset & 0xfff, size, value);
}

static const struct region_ops ecam_ops = { .read = ecam_read,
					    .write = ecam_write,
					    .widths = 1 | 2 | 4 };

static void pci_host_release_bus(void *arg)
{
	struct pci_host *h = arg;

	h->dev.vm->pci = NULL;
}

static int pci_host_attach(struct device *dev, struct err *e)
{
	/* The ids of Red Hat's generic host bridge: no driver binds to it. */
	static const struct pci_ids ids = { .vendor = 0x1b36,
					    .device = 0x0008,
					    .class_code = 0x060000 };
	struct pci_host *h = (struct pci_host *)dev;
	int r = device_claim_pio(dev, PLATFORM_PCI_CONFIG, PORTS, &pci_host_ports, e);

	if (!r)
		r = device_claim_mmio(dev, PLATFORM_ECAM_BASE, PLATFORM_ECAM_BYTES, &ecam_ops, e);
	if (!r)
		r = device_claim(dev, pci_host_release_bus, h, e);
	if (r)
		return r;
	dev->vm->pci = &h->bus;
	return pci_function_attach(&h->fn, dev, &h->s.pci[0], &ids, 0, e);
}

static void pci_host_reset(struct device *dev)
{
	struct pci_host *h = (struct pci_host *)dev;

	h->s = (struct pci_host_state){ 0 };
	pci_bus_renew(&h->bus, false);
	pci_reset(&h->fn);
}

static void pci_host_start(struct device *dev)
{
	((struct pci_host *)dev)->bus.live = true;
}

static int pci_host_loaded(struct device *dev, struct err *e)
{
	struct pci_host *h = (struct pci_host *)dev;

	pci_bus_renew(&h->bus, true);
	return pci_loaded(&h->fn, e);
}

const struct device_class pci_host_class = {
	.kind = "pci-host",
	.size = sizeof(struct pci_host),
	.state = &pci_host_desc,
	.state_offset = offsetof(struct pci_host, s),
	.attach = pci_host_attach,
	.reset = pci_host_reset,
	.start = pci_host_start,
	.loaded = pci_host_loaded,
};

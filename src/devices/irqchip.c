/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8259 pair and the I/O APIC inside KVM.  The local APICs belong to the vCPUs.  The state
 * is KVM's own layout, chip by chip: it is part of KVM's ABI.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.24 to 4.27.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "vm.h"

enum { CHIPS = 3, CHIP_BYTES = 512 };

static const uint32_t chip_ids[CHIPS] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
					  KVM_IRQCHIP_IOAPIC };

struct irqchip_chip {
	uint8_t bytes[CHIP_BYTES];
};

struct irqchip_state {
	struct irqchip_chip chip[CHIPS];
};

struct irqchip {
	struct device dev;
	struct irqchip_state s, fresh;
};

static const struct state_field chip_fields[] = { STATE_ARRAY(struct irqchip_chip, bytes) };
static const struct state_desc chip_desc = STATE_DESC(struct irqchip_chip, "chip", 1, 1,
						      chip_fields);
static const struct state_field irqchip_fields[] = {
	STATE_STRUCTS(struct irqchip_state, chip, &chip_desc),
};
static const struct state_desc irqchip_desc = STATE_DESC(struct irqchip_state, "irqchip", 1, 1,
							 irqchip_fields);

static int irqchip_get(struct irqchip *q, struct err *e)
{
	for (unsigned i = 0; i < CHIPS; i++) {
		struct kvm_irqchip k = { .chip_id = chip_ids[i] };

		_Static_assert(sizeof(k.chip) == CHIP_BYTES, "KVM's ABI");
		if (ioctl(q->dev.vm->fd, KVM_GET_IRQCHIP, &k) < 0)
			return err_set(e, -errno, "cannot read the interrupt controllers: %s",
				       strerror(errno));
		memcpy(q->s.chip[i].bytes, &k.chip, CHIP_BYTES);
	}
	return 0;
}

static int irqchip_set(struct irqchip *q, struct err *e)
{
	/* The slave first: when its master is set KVM passes on what the slave has pending. */
	for (unsigned i = CHIPS; i-- > 0;) {
		struct kvm_irqchip k = { .chip_id = chip_ids[i] };

		memcpy(&k.chip, q->s.chip[i].bytes, CHIP_BYTES);
		if (ioctl(q->dev.vm->fd, KVM_SET_IRQCHIP, &k) < 0)
			return err_set(e, -errno, "cannot set the interrupt controllers: %s",
				       strerror(errno));
	}
	return 0;
}

static int irqchip_attach(struct device *dev, struct err *e)
{
	struct irqchip *q = (struct irqchip *)dev;
	int r;

	if (ioctl(dev->vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_set(e, -errno, "KVM cannot make interrupt controllers: %s",
			       strerror(errno));
	r = irqchip_get(q, e);
	q->fresh = q->s;
	if (!r)
		r = irq_commit(&dev->vm->irq);
	return r;
}

static void irqchip_reset(struct device *dev)
{
	struct irqchip *q = (struct irqchip *)dev;
	struct err e;

	q->s = q->fresh;
	if (irqchip_set(q, &e))
		vm_fail(dev->vm, "%s", e.text);
}

static int irqchip_fetch(struct device *dev, struct err *e)
{
	return irqchip_get((struct irqchip *)dev, e);
}

static int irqchip_loaded(struct device *dev, struct err *e)
{
	return irqchip_set((struct irqchip *)dev, e);
}

const struct device_class irqchip_class = {
	.kind = "irqchip",
	.size = sizeof(struct irqchip),
	.state = &irqchip_desc,
	.state_offset = offsetof(struct irqchip, s),
	.attach = irqchip_attach,
	.reset = irqchip_reset,
	.fetch = irqchip_fetch,
	.loaded = irqchip_loaded,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "irq.h"

enum { PIC_PINS = 16 };

static void route_pin(struct irq *q, unsigned gsi, unsigned chip, unsigned pin)
{
	q->table->entries[q->table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

int irq_commit(struct irq *q)
{
	if (q->kvm_fd < 0)
		return 0;
	return ioctl(q->kvm_fd, KVM_SET_GSI_ROUTING, q->table) < 0 ? -errno : 0;
}

int irq_init(struct irq *q, int kvm_vm_fd, struct err *e)
{
	*q = (struct irq){ .kvm_fd = kvm_vm_fd };
	q->table = calloc(1, sizeof(*q->table) + IRQ_ROUTES_MAX * sizeof(q->table->entries[0]));
	if (!q->table)
		return err_set(e, -ENOMEM, "out of memory");
	/* As on a PC: the timer is pin 0 of the 8259 and pin 2 of the I/O APIC. */
	for (unsigned i = 0; i < PIC_PINS; i++)
		route_pin(q, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i % 8);
	for (unsigned i = 0; i < IRQ_PINS; i++)
		if (i != 2)
			route_pin(q, i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
	for (unsigned i = 0; i < IRQ_PINS; i++)
		q->msi_used[0] |= BIT(i);
	return 0;
}

void irq_free(struct irq *q)
{
	free(q->table);
	q->table = NULL;
}

void irq_line_set(struct irq_line *line, bool level)
{
	struct kvm_irq_level k = { .irq = line->gsi, .level = level };
	struct irq *q = line->irq;

	if (q->level[line->gsi] == level)
		return;
	q->level[line->gsi] = level;
	if (q->kvm_fd >= 0 && ioctl(q->kvm_fd, KVM_IRQ_LINE, &k) < 0)
		assert(!"KVM_IRQ_LINE takes every pin");
}

bool irq_level(const struct irq *q, unsigned gsi)
{
	return q->level[gsi];
}

int irq_msi_new(struct irq *q)
{
	for (unsigned i = 0; i < ARRAY_SIZE(q->msi_used); i++) {
		unsigned bit;

		if (!~q->msi_used[i])
			continue;
		bit = (unsigned)__builtin_ctzll(~q->msi_used[i]);
		q->msi_used[i] |= BIT(bit);
		return (int)(i * 64 + bit);
	}
	return -ENOSPC;
}

void irq_msi_free(struct irq *q, unsigned gsi)
{
	q->msi_used[gsi / 64] &= ~BIT(gsi % 64);
}

static struct kvm_irq_routing_entry *msi_route(struct irq *q, unsigned gsi)
{
	for (unsigned i = PIC_PINS + IRQ_PINS - 1; i < q->table->nr; i++)
		if (q->table->entries[i].gsi == gsi)
			return &q->table->entries[i];
	return NULL;
}

static int irqfd_set(struct irq *q, unsigned gsi, int fd, bool on)
{
	struct kvm_irqfd k = { .fd = (uint32_t)fd,
			       .gsi = gsi,
			       .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	if (q->kvm_fd < 0)
		return 0;
	return ioctl(q->kvm_fd, KVM_IRQFD, &k) < 0 ? -errno : 0;
}

int irq_msi_connect(struct irq *q, unsigned gsi, int fd, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing_entry *route = msi_route(q, gsi);
	struct kvm_irq_routing_entry wanted = {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)address,
			   .address_hi = (uint32_t)(address >> 32),
			   .data = data },
	};
	bool fresh = !route;

	if (route && !memcmp(route, &wanted, sizeof(wanted)))
		return 0;
	if (!route) {
		if (q->table->nr == IRQ_ROUTES_MAX)
			return -ENOSPC;
		route = &q->table->entries[q->table->nr++];
	}
	*route = wanted;
	int r = irq_commit(q);

	if (r || !fresh)
		return r;
	return irqfd_set(q, gsi, fd, true);
}

void irq_msi_disconnect(struct irq *q, unsigned gsi, int fd)
{
	struct kvm_irq_routing_entry *route = msi_route(q, gsi);

	if (!route)
		return;
	irqfd_set(q, gsi, fd, false);
	/* KVM keeps the stale route until the next commit: nothing can trigger it any more. */
	*route = q->table->entries[--q->table->nr];
}

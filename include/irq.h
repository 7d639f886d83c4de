/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines and messages on their way to KVM's interrupt controllers.  GSIs 0 to 23 are
 * the pins of the I/O APIC (0 to 15 also of the 8259 pair); GSIs from 24 on are message
 * interrupts, each behind an eventfd that any thread may signal.
 *
 * Lines and routes change under the machine lock.  Without KVM (tests) levels are recorded
 * and routes are kept, and nothing is injected.
 */
#ifndef IRQ_H
#define IRQ_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct kvm_irq_routing;

enum { IRQ_PINS = 24, IRQ_ROUTES_MAX = 4096 };

struct irq {
	int kvm_fd; /* -1: none */
	bool level[IRQ_PINS];
	bool taken[IRQ_PINS];
	struct kvm_irq_routing *table;
	uint64_t msi_used[(IRQ_ROUTES_MAX + 63) / 64];
};

/* A line that a device holds. */
struct irq_line {
	struct irq *irq;
	unsigned gsi;
};

int irq_init(struct irq *, int kvm_vm_fd, struct err *);
void irq_free(struct irq *);

/* Tell KVM the routes: once after its interrupt controllers exist, then by the calls below. */
int irq_commit(struct irq *);

void irq_line_set(struct irq_line *, bool level);
bool irq_level(const struct irq *, unsigned gsi);

/* A GSI for messages; returns it, or -ENOSPC. */
int irq_msi_new(struct irq *);
void irq_msi_free(struct irq *, unsigned gsi);

/* Deliver (address, data) whenever fd is signalled; again: changes the message. */
int irq_msi_connect(struct irq *, unsigned gsi, int fd, uint64_t address, uint32_t data);
/* fd is left alone: what is signalled now stays in the eventfd. */
void irq_msi_disconnect(struct irq *, unsigned gsi, int fd);

#endif

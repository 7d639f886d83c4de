/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI functions on bus 0 and their configuration space.  A function is part of a device: the
 * device makes it in attach, resets it in reset, and calls pci_loaded() in loaded.  There is
 * no firmware: BARs get their addresses when they are made and are decoded from reset on, and
 * the guest may move them.  A function that is added to a running guest decodes nothing until
 * the guest has given it addresses.  Interrupts are MSI-X only; the interrupt pin reads 0.
 *
 * All calls under the machine lock.  Source: PCI Local Bus 3.0, PCI Express 5.0.
 */
#ifndef PCI_H
#define PCI_H

#include "device.h"

enum { PCI_CONFIG_BYTES = 256, PCI_BARS = 6, PCI_SLOTS = 32 };

struct pci_state {
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t slot; /* where the guest knows it */
};

extern const struct state_desc pci_state_desc;

struct pci_bar {
	struct region region;
	uint64_t size_bytes; /* 0: none */
};

struct pci_function {
	struct device *dev;
	struct pci_state *s;
	unsigned slot;
	bool hidden; /* see pci_hide() */
	uint8_t fresh[PCI_CONFIG_BYTES]; /* power-on values */
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits the guest may change */
	uint8_t next_cap; /* where the next capability goes */
	uint8_t last_cap;
	struct pci_bar bar[PCI_BARS];
	/* After a guest write that touched [offset, offset + size); may be NULL. */
	void (*written)(struct pci_function *, unsigned offset, unsigned size);
	/* Before a guest read of the same; may be NULL. */
	void (*reading)(struct pci_function *, unsigned offset, unsigned size);
};

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* class << 16 | subclass << 8 | programming interface */
	uint8_t revision;
};

struct pci_bus {
	struct pci_function *slot[PCI_SLOTS];
	bool live; /* a guest has run on it since power-on, and places what is added by itself */
};

/* All functions are about to be reset (not live) or loaded (live): until then none of them decodes
 * anything, so that one which gets its place first does not meet one that is still there. */
void pci_bus_renew(struct pci_bus *, bool live);

/* slot -1: the lowest free one. */
int pci_function_attach(struct pci_function *, struct device *, struct pci_state *,
			const struct pci_ids *, int slot, struct err *);
/* size: a power of two of at least 16; a 32-bit, non-prefetchable memory BAR, at the lowest free
 * place of the window. */
int pci_add_bar(struct pci_function *, unsigned index, uint64_t size, const struct region_ops *,
		struct err *);
/* body: what follows the id and next bytes; writable: as many bytes of mask, or NULL for
 * none.  Returns the capability's offset, or -ENOSPC. */
int pci_add_capability(struct pci_function *, uint8_t id, const void *body, size_t len,
		       const void *writable, struct err *);
/* The device's slot; -ENOENT: it has none. */
int pci_slot_of(const struct pci_bus *, const struct device *);
/* The guest has given up what is in the slot: it finds nothing there, also if it looks before the
 * device is gone. */
void pci_hide(struct pci_bus *, unsigned slot);
void pci_reset(struct pci_function *);
/* Refuse a configuration space that is not this function's; move to the saved slot, and map the
 * BARs where the saved configuration says. */
int pci_loaded(struct pci_function *, struct err *);
bool pci_is_bus_master(const struct pci_function *);

/* Guest accesses, from the host bridge: offset below 4096, width 1, 2 or 4, aligned. */
uint64_t pci_config_read(struct pci_bus *, unsigned devfn, unsigned offset, unsigned size);
void pci_config_write(struct pci_bus *, unsigned devfn, unsigned offset, unsigned size,
		      uint64_t value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* PCI configuration space by ports and by memory (ECAM), BARs, capabilities, MSI-X. */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "guest.h"

/* PCI Local Bus 3.0, 6.1 and 6.2.5; capabilities: appendix H */
enum {
	PCI_ID = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_CLASS = 0x08,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM = 0x2c,
	PCI_CAPABILITIES = 0x34,
	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_NO_INTX = 1 << 10,
	PCI_STATUS_CAPABILITIES = 1 << 4,
	PCI_MULTIFUNCTION = 1 << 7,
	PCI_CAP_VENDOR = 0x09,
	PCI_CAP_MSIX = 0x11,
	MSIX_ENABLE = 1 << 15,
};

#define PCI_NONE 0xffffffffu
#define PCI_FN(device, function) ((device) << 3 | (function)) /* on bus 0 */

/* A function on bus 0; size is 1, 2 or 4 */
uint32_t pci_read(unsigned fn, unsigned reg, unsigned size);
void pci_write(unsigned fn, unsigned reg, unsigned size, uint32_t v);
uint64_t pci_ecam(void); /* of bus 0: from ACPI's MCFG, else Godwit's place */
uint32_t pci_read_ecam(unsigned fn, unsigned reg, unsigned size);
void pci_write_ecam(unsigned fn, unsigned reg, unsigned size, uint32_t v);

/* Calls fn for each function of bus 0 until it returns true; whether it did */
bool pci_each(bool (*visit)(unsigned fn, void *arg), void *arg);
unsigned pci_capability(unsigned fn, unsigned id, unsigned after); /* 0: none (left) */
uint64_t pci_bar(unsigned fn, unsigned bar); /* gives an address if there is none yet */
void pci_enable(unsigned fn); /* memory, bus master; no INTx */

struct msix {
	unsigned fn, cap, vectors;
	uint64_t table, pending;
};

bool msix_find(struct msix *m, unsigned fn);
void msix_set(const struct msix *m, unsigned entry, uint8_t vector); /* to the first processor */
void msix_mask(const struct msix *m, unsigned entry, bool masked);
bool msix_pending(const struct msix *m, unsigned entry);
void msix_enable(const struct msix *m, bool on);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers behind PCI hotplug by ACPI: through them a guest learns that there is something
 * new in a slot, or that it is asked to give up what is there, and says that it did.  Who adds
 * and removes devices calls this, with the device "pci-hotplug"; the guest's answer comes as
 * VM_HOTPLUG: it has read what is new, or gives slots up.
 *
 * All calls under the machine lock.
 */
#ifndef PCI_HOTPLUG_H
#define PCI_HOTPLUG_H

#include "device.h"

void pci_hotplug_insert(struct device *, unsigned slot);
bool pci_hotplug_is_unread(struct device *, unsigned slot); /* it was inserted; the guest is told */
void pci_hotplug_want(struct device *, unsigned slot);
/* No longer wanted.  A guest that has been told already may give it up nevertheless. */
void pci_hotplug_withdraw(struct device *, unsigned slot);
/* A bit for each slot that the guest gave up since the last call. */
uint32_t pci_hotplug_take_ejected(struct device *);

#endif

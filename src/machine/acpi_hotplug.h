/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI hotplug in the DSDT: a device for each slot that a guest can give up, and the method that
 * notifies slots of what the registers of src/devices/pci_hotplug.c say.  Source: ACPI 6.4.
 */
#ifndef ACPI_HOTPLUG_H
#define ACPI_HOTPLUG_H

#include "aml.h"

/* ACPI 6.4, table 5.187 */
enum { ACPI_NOTIFY_DEVICE_CHECK = 1, ACPI_NOTIFY_EJECT_REQUEST = 3 };

enum { ACPI_FIELD_DWORDS = 3 }; /* accesses, without a lock: ACPI 6.4, 20.2.5.2 */

void acpi_hotplug_slots(struct aml *); /* inside \_SB.PCI0 */
void acpi_hotplug_event(struct aml *); /* what to do at PLATFORM_ACPI_EVENT_PCI */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processors in the tables: a device for each in the DSDT and an entry for each in the MADT.  Of a
 * machine whose processors come and go the devices read and write the registers of
 * src/devices/cpu_hotplug.c, and methods notify them of what those say.  Source: ACPI 6.4.
 */
#ifndef ACPI_CPUS_H
#define ACPI_CPUS_H

#include "acpi.h"
#include "aml.h"

void acpi_cpus(struct aml *, const struct acpi_machine *); /* inside \_SB */
void acpi_cpus_madt(struct aml *, const struct acpi_machine *);
/* Inside _EVT, whose Local0 is the set of events. */
void acpi_cpus_event(struct aml *, const struct acpi_machine *);

#endif

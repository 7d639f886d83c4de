/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes in the ACPI tables: which processors and addresses are near each other, and how near. */
#ifndef ACPI_NUMA_H
#define ACPI_NUMA_H

#include "acpi.h"
#include "aml.h"

/* What is behind the header of the table; the machine has nodes. */
void acpi_numa_srat(struct aml *, const struct acpi_machine *);
void acpi_numa_slit(struct aml *, const struct acpi_machine *);

#endif

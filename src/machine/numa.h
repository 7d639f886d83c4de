/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of a guest as its ACPI tables tell of them. */
#ifndef NUMA_H
#define NUMA_H

#include "acpi.h"
#include "config.h"
#include "guest_mem.h"

struct numa {
	uint32_t cpu_node[CONFIG_VCPUS_MAX];
	/* A node's memory may be on both sides of the PCI hole, and be behind that of another. */
	struct acpi_range range[CONFIG_NODES_MAX + GUEST_MEM_REGIONS];
};

/* Fill what the tables need of nodes; *n is what it points to.  None: it is left as it is. */
void numa_describe(struct numa *n, const struct config *, const struct guest_mem *,
		   struct acpi_machine *);

#endif

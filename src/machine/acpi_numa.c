/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi_numa.h"

enum {
	ACPI_LAPIC_ID_MAX = 254,
	/* Of a processor, ACPI 6.5, table 5.57, and of memory, table 5.59 */
	ACPI_SRAT_ENABLED = 1 << 0,
	ACPI_SRAT_HOT_PLUGGABLE = 1 << 1,
};

/* ACPI 6.5, 5.2.16.1 and 5.2.16.3 */
static void add_processor(struct aml *a, uint32_t apic_id, uint32_t node)
{
	if (apic_id <= ACPI_LAPIC_ID_MAX) {
		aml_byte(a, 0); /* local APIC */
		aml_byte(a, 16);
		aml_byte(a, node);
		aml_byte(a, apic_id);
		aml_le(a, ACPI_SRAT_ENABLED, 4);
		aml_byte(a, 0); /* local SAPIC */
		aml_le(a, node >> 8, 3);
		aml_le(a, 0, 4); /* clock domain */
		return;
	}
	aml_byte(a, 2); /* local x2APIC */
	aml_byte(a, 24);
	aml_le(a, 0, 2);
	aml_le(a, node, 4);
	aml_le(a, apic_id, 4);
	aml_le(a, ACPI_SRAT_ENABLED, 4);
	aml_le(a, 0, 4); /* clock domain */
	aml_le(a, 0, 4);
}

/* ACPI 6.5, 5.2.16.2 */
static void add_memory(struct aml *a, const struct acpi_range *r)
{
	aml_byte(a, 1);
	aml_byte(a, 40);
	aml_le(a, r->node, 4);
	aml_le(a, 0, 2);
	aml_le(a, r->base, 8);
	aml_le(a, r->bytes, 8);
	aml_le(a, 0, 4);
	aml_le(a, ACPI_SRAT_ENABLED | (r->pluggable ? ACPI_SRAT_HOT_PLUGGABLE : 0), 4);
	aml_le(a, 0, 8);
}

void acpi_numa_srat(struct aml *a, const struct acpi_machine *m)
{
	aml_le(a, 1, 4); /* as it has always been */
	aml_le(a, 0, 8);
	for (unsigned i = 0; i < m->ncpus; i++)
		add_processor(a, m->apic_id[i], m->cpu_node[i]);
	for (unsigned i = 0; i < m->nranges; i++)
		add_memory(a, &m->range[i]);
}

/* ACPI 6.5, 5.2.17 */
void acpi_numa_slit(struct aml *a, const struct acpi_machine *m)
{
	aml_le(a, m->nnodes, 8);
	for (unsigned i = 0; i < m->nnodes * m->nnodes; i++)
		aml_byte(a, m->distance[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "numa.h"

#include <assert.h>

#include "bits.h"

static void add_range(struct acpi_machine *acpi, struct numa *n, gpa_t base, uint64_t bytes,
		      uint32_t node, bool pluggable)
{
	n->range[acpi->nranges++] = (struct acpi_range){
		.base = base, .bytes = bytes, .node = node, .pluggable = pluggable
	};
}

/* Node behind node, from the first address on. */
static void divide(struct numa *n, const struct config_numa *c, const struct guest_mem *mem,
		   struct acpi_machine *acpi)
{
	uint64_t left = c->node[0].memory;
	uint32_t node = 0;

	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct guest_mem_region *r = &mem->region[i];
		uint64_t done = 0;

		if (r->block_bytes) {
			add_range(acpi, n, r->base, r->size_bytes, 0, true);
			continue;
		}
		while (done < r->size_bytes) {
			uint64_t bytes = MIN(r->size_bytes - done, left);

			if (bytes)
				add_range(acpi, n, r->base + done, bytes, node, false);
			done += bytes;
			left -= bytes;
			/* Together they have all that there is. */
			assert(left || node + 1 < c->n || done == r->size_bytes);
			if (!left && node + 1 < c->n)
				left = c->node[++node].memory;
		}
	}
}

void numa_describe(struct numa *n, const struct config *config, const struct guest_mem *mem,
		   struct acpi_machine *acpi)
{
	const struct config_numa *c = &config->numa;

	*n = (struct numa){ .cpu_node = { 0 } };
	acpi->nnodes = c->n;
	acpi->nranges = 0;
	acpi->distance = c->distance;
	acpi->cpu_node = n->cpu_node;
	acpi->range = n->range;
	if (!c->n)
		return;
	for (unsigned node = 0; node < c->n; node++) {
		const json_t *cpu;
		size_t i;

		json_array_foreach(c->node[node].cpus, i, cpu)
			n->cpu_node[json_integer_value(cpu)] = node;
	}
	divide(n, c, mem, acpi);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that the guest need not keep: while somebody wants to know, a bit for each. */
#include <errno.h>
#include <stdlib.h>

#include "bits.h"
#include "guest_mem.h"

int guest_mem_hints_start(struct guest_mem *m, struct err *e)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		struct guest_mem_region *r = &m->region[i];
		uint64_t words = align_up(guest_mem_region_pages(r), 64) / 64;

		if (!r->hinted_bits)
			r->hinted_bits = calloc(words, sizeof(*r->hinted_bits));
		if (!r->hinted_bits) {
			guest_mem_hints_stop(m);
			return err_set(e, -ENOMEM, "out of memory for hints at free pages");
		}
		for (uint64_t w = 0; w < words; w++)
			atomic_store_explicit(&r->hinted_bits[w], 0, memory_order_relaxed);
		atomic_store_explicit(&r->hinted, r->hinted_bits, memory_order_release);
	}
	return 0;
}

/* The bits stay: a thread may be about to set one. */
void guest_mem_hints_stop(struct guest_mem *m)
{
	for (unsigned i = 0; i < m->nregions; i++)
		atomic_store_explicit(&m->region[i].hinted, NULL, memory_order_relaxed);
}

void guest_mem_hint(struct guest_mem *m, gpa_t gpa, uint64_t len)
{
	struct guest_mem_region *r = guest_mem_find(m, gpa, len);
	_Atomic uint64_t *hinted = r ? atomic_load_explicit(&r->hinted, memory_order_acquire)
				     : NULL;
	uint64_t first, end;

	if (!hinted)
		return;
	first = align_up(gpa - r->base, GUEST_PAGE_BYTES) / GUEST_PAGE_BYTES;
	end = (gpa - r->base + len) / GUEST_PAGE_BYTES;
	for (uint64_t n; first < end; first += n) {
		n = MIN(64 - first % 64, end - first);
		atomic_fetch_or_explicit(&hinted[first / 64],
					 (~UINT64_C(0) >> (64 - n)) << first % 64,
					 memory_order_relaxed);
	}
}

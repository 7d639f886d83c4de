/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/random.h>

#include "bits.h"
#include "check_estimate.h"
#include "crc32c.h"
#include "guest_mem.h"
#include "loop.h"
#include "page.h"

enum { PAGES_PER_GIB = 512 };

struct check_sample {
	uint64_t began_ns, memory_bytes;
	size_t npages, nzero;
	struct {
		const uint8_t *page;
		uint32_t crc;
	} at[];
};

static void look(struct check_sample *s, struct guest_mem *m, uint64_t pages)
{
	for (size_t i = 0; i < s->npages; i++) {
		uint64_t n = 0;

		if (getrandom(&n, sizeof(n), 0) < 0)
			n = i * (pages / s->npages);
		s->at[i].page = guest_mem_page(m, n % pages);
		s->at[i].crc = crc32c(0, s->at[i].page, GUEST_PAGE_BYTES);
		s->nzero += page_is_zero(s->at[i].page);
	}
}

struct check_sample *check_sample_new(struct guest_mem *m)
{
	struct check_sample *s;
	uint64_t bytes = guest_mem_bytes(m);
	size_t n;

	n = PAGES_PER_GIB * ((bytes + GIB - 1) / GIB);
	s = calloc(1, sizeof(*s) + n * sizeof(s->at[0]));
	if (!s)
		return NULL;
	s->memory_bytes = bytes;
	s->npages = n;
	s->began_ns = loop_now_ns();
	look(s, m, bytes / GUEST_PAGE_BYTES);
	return s;
}

void check_sample_free(struct check_sample *s)
{
	free(s);
}

void check_sample_finish(const struct check_sample *s, struct check_estimate *out)
{
	double each = (double)s->memory_bytes / (double)s->npages;
	double seconds = (double)MAX(loop_now_ns() - s->began_ns, 1) / 1e9;
	size_t nwritten = 0;

	for (size_t i = 0; i < s->npages; i++)
		nwritten += crc32c(0, s->at[i].page, GUEST_PAGE_BYTES) != s->at[i].crc;
	out->bytes = (uint64_t)(each * (double)(s->npages - s->nzero));
	out->written = (uint64_t)(each * (double)nwritten / seconds);
}

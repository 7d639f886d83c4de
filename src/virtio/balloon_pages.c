/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that a guest gives, takes back, or reports as free: virtio 1.2, 5.5.6. */
#include <endian.h>
#include <stdlib.h>

#include "balloon_internal.h"

enum {
	PFNS = 1024, /* that are put in order together */
	PFNS_MAX = 8 * PFNS, /* of one request; Linux sends 256 */
};

/* Of the bits of all regions, each of which begins with a word. */
static uint64_t first_bit(const struct guest_mem *m, const struct guest_mem_region *r)
{
	uint64_t first = 0;

	for (const struct guest_mem_region *before = m->region; before != r; before++)
		first += align_up(guest_mem_region_pages(before), 64);
	return first;
}

/* Pages that follow each other in a region. */
struct run {
	struct guest_mem_region *region;
	uint64_t first, n;
};

static void give_back(struct balloon *b, struct balloon_counters *c, const struct run *run)
{
	uint64_t len = run->n * GUEST_PAGE_BYTES;

	if (guest_mem_discard(b->v.dev.vm->mem, run->region->base + run->first * GUEST_PAGE_BYTES,
			      len))
		counter_add(&c->kept, len);
}

/* Once, by the only thread that needs it: that of the inflate queue. */
static _Atomic uint64_t *make_bits(struct balloon *b)
{
	_Atomic uint64_t *bits = atomic_load_explicit(&b->given, memory_order_relaxed);
	const struct guest_mem *m = b->v.dev.vm->mem;

	if (bits)
		return bits;
	bits = calloc(first_bit(m, m->region + m->nregions) / 64, sizeof(*bits));
	atomic_store_explicit(&b->given, bits, memory_order_release);
	return bits;
}

static bool all_given(const _Atomic uint64_t *bits, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		if (!(atomic_load_explicit(&bits[i / 64], memory_order_relaxed) & BIT(i % 64)))
			return false;
	return true;
}

/* Of the host's large pages those that have been given whole. */
static void give_back_large(struct balloon *b, struct balloon_counters *c, const struct run *run,
			    const _Atomic uint64_t *bits)
{
	uint64_t n = b->v.dev.vm->mem->page_bytes / GUEST_PAGE_BYTES;
	struct run large = { .region = run->region, .n = n };

	for (large.first = align_down(run->first, n); large.first < run->first + run->n;
	     large.first += n)
		if (all_given(bits, first_bit(b->v.dev.vm->mem, run->region) + large.first, n))
			give_back(b, c, &large);
}

static void inflate(struct balloon *b, struct balloon_counters *c, const struct run *run)
{
	_Atomic uint64_t *bits = make_bits(b);
	uint64_t added = 0;

	for (uint64_t i = first_bit(b->v.dev.vm->mem, run->region) + run->first, end = i + run->n;
	     bits && i < end; i++)
		added += !(
			atomic_fetch_or_explicit(&bits[i / 64], BIT(i % 64), memory_order_relaxed) &
			BIT(i % 64));
	atomic_fetch_add_explicit(&b->ngiven, added, memory_order_relaxed);
	counter_add(&c->inflated, added * GUEST_PAGE_BYTES);
	if (b->v.dev.vm->mem->page_bytes == GUEST_PAGE_BYTES)
		give_back(b, c, run);
	else if (bits)
		give_back_large(b, c, run, bits);
}

static void deflate(struct balloon *b, struct balloon_counters *c, const struct run *run)
{
	_Atomic uint64_t *bits = atomic_load_explicit(&b->given, memory_order_acquire);
	uint64_t taken = 0;

	for (uint64_t i = first_bit(b->v.dev.vm->mem, run->region) + run->first, end = i + run->n;
	     bits && i < end; i++)
		taken += !!(atomic_fetch_and_explicit(&bits[i / 64], ~BIT(i % 64),
						      memory_order_relaxed) &
			    BIT(i % 64));
	atomic_fetch_sub_explicit(&b->ngiven, taken, memory_order_relaxed);
	counter_add(&c->deflated, taken * GUEST_PAGE_BYTES);
}

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

/* The longest run at the start of pages in ascending order; how many of them it has used up. */
static unsigned take_run(struct guest_mem *m, const uint32_t *pfn, unsigned n, struct run *run)
{
	gpa_t gpa = (gpa_t)pfn[0] * GUEST_PAGE_BYTES;
	unsigned used = 1;

	*run = (struct run){ .region = guest_mem_find(m, gpa, GUEST_PAGE_BYTES), .n = 1 };
	if (!run->region)
		return used;
	run->first = (gpa - run->region->base) / GUEST_PAGE_BYTES;
	for (; used < n && run->first + run->n < guest_mem_region_pages(run->region); used++) {
		if (pfn[used] == pfn[used - 1] + 1)
			run->n++;
		else if (pfn[used] != pfn[used - 1])
			break;
	}
	return used;
}

static void each_run(struct balloon *b, struct balloon_counters *c, uint32_t *pfn, unsigned n,
		     void (*todo)(struct balloon *, struct balloon_counters *, const struct run *))
{
	struct run run;

	for (unsigned i = 0; i < n; i++)
		pfn[i] = le32toh(pfn[i]);
	qsort(pfn, n, sizeof(*pfn), compare);
	for (unsigned at = 0; at < n;) {
		at += take_run(b->v.dev.vm->mem, pfn + at, n - at, &run);
		if (run.region)
			todo(b, c, &run);
		else
			counter_add(&c->refused, 1);
	}
}

/* A request of page numbers: how many.  What is too many for one is left as it is. */
static uint64_t take_pfns(struct balloon *b, struct balloon_counters *c, struct vq_request *r,
			  enum balloon_role role)
{
	uint32_t pfn[PFNS];
	unsigned total = 0, n;

	do {
		n = (unsigned)(req_read(r, pfn, sizeof(pfn)) / sizeof(*pfn));
		each_run(b, c, pfn, n, role == BALLOON_INFLATE ? inflate : deflate);
		total += n;
	} while (n == PFNS && total < PFNS_MAX);
	counter_add(&c->refused, r->readable_bytes / sizeof(*pfn));
	return total;
}

/* A request of free ranges: how many pages. */
static uint64_t take_report(struct balloon *b, struct balloon_counters *c,
			    const struct vq_request *r)
{
	struct guest_mem *m = b->v.dev.vm->mem;
	uint64_t total = 0;

	for (unsigned i = 0; i < r->nranges && balloon_may_become_zero(b); i++) {
		gpa_t first = align_up(r->range[i].gpa, m->page_bytes);
		gpa_t end = align_down(r->range[i].gpa + r->range[i].len, m->page_bytes);

		if (first >= end)
			continue;
		if (guest_mem_discard(m, first, end - first))
			counter_add(&c->kept, end - first);
		else
			counter_add(&c->reported, end - first);
		total += (end - first) / GUEST_PAGE_BYTES;
	}
	return total;
}

uint64_t balloon_pages_take(struct balloon *b, struct balloon_counters *c, struct vq_request *r,
			    enum balloon_role role)
{
	return role == BALLOON_REPORTING ? take_report(b, c, r) : take_pfns(b, c, r, role);
}

void balloon_pages_forget(struct balloon *b)
{
	free(atomic_exchange(&b->given, NULL));
	b->ngiven = 0;
}

uint64_t balloon_pages_touched(struct balloon *b)
{
	const _Atomic uint64_t *bits = atomic_load_explicit(&b->given, memory_order_acquire);
	struct guest_mem *m = b->v.dev.vm->mem;
	uint64_t sum = 0;

	for (unsigned i = 0; bits && i < m->nregions; i++)
		sum += guest_mem_count_held(m, &m->region[i],
					    bits + first_bit(m, &m->region[i]) / 64);
	return sum;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All usable memory of the map is there, once: a tag into both ends of every region and to both
 * sides of every GiB in it, then all are read back, so that an address that leads to another's
 * page shows. "memory=6G" on the command line says how much there must be; with "all", every page
 * above the image is tagged, which makes the host supply it.
 */
#include "lib/guest.h"

enum { TAG_BYTES = 8, PAGE = 4096, PLACES = 512 };

const char guest_name[] = "memory";

static struct {
	uint64_t at, before;
} places[PLACES];
static unsigned nplaces;

static uint64_t tag(uint64_t at)
{
	return at ^ 0x9e3779b97f4a7c15;
}

static void place_add(uint64_t at)
{
	CHECK(nplaces < PLACES);
	places[nplaces].at = at;
	places[nplaces++].before = read64(at);
}

static void region_add(const struct memmap_entry *m)
{
	uint64_t end = m->base + m->size;

	place_add(m->base);
	for (uint64_t a = (m->base | (GIB(1) - 1)) + 1; a < end; a += GIB(1)) {
		place_add(a - TAG_BYTES);
		place_add(a);
	}
	place_add(end - TAG_BYTES);
}

/* Tags of the ends first: the image and its tables lie in the regions and get their bytes back. */
static void check_places(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < nplaces; i++)
		write64(places[i].at, tag(places[i].at));
	for (unsigned i = 0; i < nplaces; i++) {
		if (read64(places[i].at) != tag(places[i].at))
			wrong++;
		write64(places[i].at, places[i].before);
	}
	if (wrong)
		guest_fail("%u of %u places do not hold their tag", wrong, nplaces);
}

static uint64_t check_pages(const struct memmap_entry *m, bool write)
{
	uint64_t first = m->base < (uint64_t)guest_end ? (uint64_t)guest_end : m->base, n = 0;

	for (uint64_t a = first; a + PAGE <= m->base + m->size; a += PAGE, n++) {
		if (write)
			write64(a, tag(a));
		else if (read64(a) != tag(a))
			guest_fail("page 0x%lx holds 0x%lx", a, read64(a));
	}
	return n;
}

static uint64_t for_all_pages(bool write)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < boot.nmemmap; i++)
		if (boot.memmap[i].type == MEMMAP_RAM)
			n += check_pages(&boot.memmap[i], write);
	return n;
}

void guest_main(void)
{
	uint64_t total = 0, wanted = cmdline_number("memory", 0), end = 0;
	unsigned regions = 0;

	for (unsigned i = 0; i < boot.nmemmap; i++) {
		const struct memmap_entry *m = &boot.memmap[i];

		if (m->type != MEMMAP_RAM)
			continue;
		print("memory: 0x%lx + 0x%lx\n", m->base, m->size);
		CHECK(m->size >= 2 * TAG_BYTES);
		CHECK(m->base >= end); /* in order, no overlap */
		end = m->base + m->size;
		CHECK(end > m->base);
		if (end > GIB(4))
			map(m->base, m->size);
		region_add(m);
		total += m->size;
		regions++;
	}
	check_places();
	if (cmdline_has("all")) {
		uint64_t pages = for_all_pages(true);

		CHECK(for_all_pages(false) == pages);
		print("memory: %lu pages hold their tag\n", pages);
	}
	/* What the first MiB and firmware reserve is all that may be missing. */
	if (wanted && (total > wanted || wanted - total > MIB(1)))
		guest_fail("%lu KiB usable of %lu", total >> 10, wanted >> 10);
	print("memory: %u regions, %lu KiB, %u places\n", regions, total >> 10, nplaces);
}

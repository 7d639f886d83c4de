/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of guest memory the host holds, and how it gets them back. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "file.h"
#include "guest_mem.h"

/* A process may have 65530 mappings (vm.max_map_count); each piece makes up to two more, and blocks
 * that are plugged need some. */
enum { PIECES_MAX = 8192 };

static bool is_detached(const struct guest_mem_region *r, uint64_t page)
{
	return atomic_load_explicit(&r->detached[page / 64], memory_order_acquire) & BIT(page % 64);
}

static int drop(const struct guest_mem_region *r, uint64_t first, uint64_t end)
{
	return madvise(r->host + first * GUEST_PAGE_BYTES, (end - first) * GUEST_PAGE_BYTES,
		       MADV_DONTNEED)
		       ? -errno
		       : 0;
}

/* Dropped pages of a file's view would come back as they are in the file: they get none of it any
 * more.  One after another, as guests decide how many pieces there are. */
static int detach(struct guest_mem *m, struct guest_mem_region *r, uint64_t first, uint64_t end)
{
	uint8_t *host = r->host + first * GUEST_PAGE_BYTES;
	uint64_t len = (end - first) * GUEST_PAGE_BYTES;

	if (m->pieces == PIECES_MAX)
		return -ENOSPC;
	if (mmap(host, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return -errno;
	m->pieces++;
	guest_mem_advise(m, host, len);
	for (uint64_t n; first < end; first += n) {
		n = MIN(64 - first % 64, end - first);
		atomic_fetch_or_explicit(&r->detached[first / 64],
					 (~UINT64_C(0) >> (64 - n)) << first % 64,
					 memory_order_release);
	}
	return 0;
}

static int discard_view(struct guest_mem *m, struct guest_mem_region *r, uint64_t first,
			uint64_t end)
{
	uint64_t to;
	int rc = 0;

	pthread_mutex_lock(&m->detaching);
	for (; !rc && first < end; first = to) {
		bool detached = is_detached(r, first);

		to = first + 1;
		while (to < end && is_detached(r, to) == detached)
			to++;
		rc = detached ? drop(r, first, to) : detach(m, r, first, to);
	}
	pthread_mutex_unlock(&m->detaching);
	return rc;
}

int guest_mem_discard(struct guest_mem *m, gpa_t gpa, uint64_t len)
{
	struct guest_mem_region *r = guest_mem_find(m, gpa, len);
	uint64_t first, end;
	int rc = 0;

	if (!r)
		return -EFAULT;
	if (!len || (gpa | len) % m->page_bytes)
		return -EINVAL;
	first = (gpa - r->base) / GUEST_PAGE_BYTES;
	end = first + len / GUEST_PAGE_BYTES;
	if (r->detached)
		rc = discard_view(m, r, first, end);
	else if (m->fd < 0)
		rc = drop(r, first, end);
	else if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   (off_t)(r->fd_offset + (gpa - r->base)), (off_t)len))
		rc = -errno;
	guest_mem_mark_dirty(m, gpa, len);
	return rc;
}

/* Linux, Documentation/admin-guide/mm/pagemap.rst */
enum { PRESENT = 63, SWAPPED = 62, OF_FILE = 61, EXCLUSIVE = 56, ENTRIES = 512 };

/* Of the next up to ENTRIES pages; false: the host does not say. */
static bool read_pagemap(int fd, const struct guest_mem_region *r, uint64_t page, uint64_t n,
			 uint64_t entry[ENTRIES])
{
	uint64_t first = (uintptr_t)r->host / GUEST_PAGE_BYTES + page;

	return file_read_at(fd, entry, n * sizeof(*entry), (off_t)(first * sizeof(*entry))) ==
	       (ssize_t)(n * sizeof(*entry));
}

void guest_mem_find_touched(const struct guest_mem_region *r, uint64_t *bits)
{
	CLEANUP(fd) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry[ENTRIES], pages = guest_mem_region_pages(r), n;

	for (uint64_t at = 0; at < pages; at += n) {
		bool known;

		n = MIN(ENTRIES, pages - at);
		known = read_pagemap(fd, r, at, n, entry);
		for (uint64_t i = 0; i < n; i++)
			if (!known || (r->detached && !is_detached(r, at + i)) ||
			    entry[i] & (BIT(PRESENT) | BIT(SWAPPED)))
				bits[(at + i) / 64] |= BIT((at + i) % 64);
	}
}

/* What was only read is the host's one page of zeros, or the page cache's, and no memory of it. */
static bool is_held(uint64_t entry)
{
	return entry & BIT(SWAPPED) ||
	       (entry & BIT(PRESENT) && entry & BIT(EXCLUSIVE) && !(entry & BIT(OF_FILE)));
}

static uint64_t word_of(const _Atomic uint64_t *bits, uint64_t page)
{
	return atomic_load_explicit(&bits[page / 64], memory_order_relaxed);
}

static bool is_set(const _Atomic uint64_t *bits, uint64_t page)
{
	return word_of(bits, page) >> page % 64 & 1;
}

static bool any_set(const _Atomic uint64_t *bits, uint64_t page, uint64_t n)
{
	for (uint64_t at = page; at < page + n; at += 64)
		if (word_of(bits, at))
			return true;
	return false;
}

static uint64_t count_private(const struct guest_mem_region *r, const _Atomic uint64_t *bits)
{
	CLEANUP(fd) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry[ENTRIES], pages = guest_mem_region_pages(r), sum = 0, n;

	for (uint64_t at = 0; at < pages; at += n) {
		bool known;

		n = MIN(ENTRIES, pages - at);
		if (!any_set(bits, at, n))
			continue;
		known = read_pagemap(fd, r, at, n, entry);
		for (uint64_t i = 0; i < n; i++)
			sum += is_set(bits, at + i) && (!known || is_held(entry[i]));
	}
	return sum;
}

static uint64_t count_shared(const struct guest_mem *m, const struct guest_mem_region *r,
			     const _Atomic uint64_t *bits)
{
	uint64_t pages = guest_mem_region_pages(r), sum = 0;
	off_t end = (off_t)(r->fd_offset + r->size_bytes), at = (off_t)r->fd_offset, hole;

	for (; at < end; at = hole) {
		uint64_t page, last;

		at = lseek(m->fd, at, SEEK_DATA);
		if (at < 0 || at >= end)
			break;
		hole = lseek(m->fd, at, SEEK_HOLE);
		if (hole < 0)
			hole = end;
		page = ((uint64_t)at - r->fd_offset) / GUEST_PAGE_BYTES;
		last = ((uint64_t)hole - r->fd_offset) / GUEST_PAGE_BYTES;
		for (; page < MIN(last, pages); page++)
			sum += is_set(bits, page);
	}
	return sum;
}

uint64_t guest_mem_count_held(const struct guest_mem *m, const struct guest_mem_region *r,
			      const _Atomic uint64_t *bits)
{
	return m->fd < 0 ? count_private(r, bits) : count_shared(m, r, bits);
}

static const struct guest_mem_region *region_at(const struct guest_mem *m, const uint8_t *page)
{
	const struct guest_mem_region *r = m->region;

	while (page < r->host || page >= r->host + r->size_bytes)
		r++;
	return r;
}

static bool is_hole_of_file(const struct guest_mem *m, off_t at)
{
	off_t data = lseek(m->fd, at, SEEK_DATA);

	return data < 0 ? errno == ENXIO : data >= at + GUEST_PAGE_BYTES;
}

enum guest_mem_page_is guest_mem_look_up(struct guest_mem *m, const uint8_t *page, int pagemap)
{
	const struct guest_mem_region *r = region_at(m, page);
	uint64_t offset = (uint64_t)(page - r->host), n = offset / GUEST_PAGE_BYTES;
	uint64_t entry[ENTRIES];

	if (!read_pagemap(pagemap, r, n, 1, entry) || entry[0] & BIT(PRESENT))
		return GUEST_MEM_HERE;
	if (entry[0] & BIT(SWAPPED) || (r->detached && !is_detached(r, n)))
		return GUEST_MEM_AWAY;
	if (m->fd < 0 || is_hole_of_file(m, (off_t)(r->fd_offset + offset)))
		return GUEST_MEM_HOLE;
	return GUEST_MEM_AWAY;
}

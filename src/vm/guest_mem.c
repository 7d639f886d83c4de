/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bits.h"
#include "guest_mem.h"
#include "platform.h"

static unsigned hugepage_flags(const struct guest_mem_config *c)
{
	if (!c->hugepages)
		return 0;
	/* memfd's size flags are those of mmap. */
	return c->hugepage_size_bytes
		       ? (unsigned)__builtin_ctzll(c->hugepage_size_bytes) << MFD_HUGE_SHIFT
		       : 0;
}

static int memfd_open(struct guest_mem *m, const struct guest_mem_config *c, struct err *e)
{
	m->fd = memfd_create("guest-ram",
			     MFD_CLOEXEC | (c->hugepages ? MFD_HUGETLB : 0) | hugepage_flags(c));
	if (m->fd < 0 || ftruncate(m->fd, (off_t)c->size_bytes) < 0)
		return err_set(e, -errno, "cannot make shared guest memory: %s", strerror(errno));
	return 0;
}

static int map_error(const struct guest_mem_config *c, struct err *e)
{
	int code = -errno;

	if (c->hugepages)
		return err_set(
			e, code,
			"the host has too few free huge pages for %llu MiB of guest memory; "
			"reserve more in /proc/sys/vm/nr_hugepages or leave out hugepages=on",
			(unsigned long long)(c->size_bytes / MIB));
	return err_set(e, code, "cannot map %llu MiB of guest memory: %s",
		       (unsigned long long)(c->size_bytes / MIB), strerror(-code));
}

static int map_region(struct guest_mem *m, const struct guest_mem_config *c, gpa_t base,
		      uint64_t offset, uint64_t size, struct err *e)
{
	struct guest_mem_region *r = &m->region[m->nregions];
	int flags = MAP_NORESERVE;

	if (m->fd >= 0)
		flags |= MAP_SHARED;
	else if (c->from_file)
		flags |= MAP_PRIVATE;
	else
		flags |= MAP_PRIVATE | MAP_ANONYMOUS |
			 (c->hugepages ? MAP_HUGETLB | (int)hugepage_flags(c) : 0);
	/* Reserving huge pages turns a later SIGBUS into an error now. */
	if (c->hugepages)
		flags &= ~MAP_NORESERVE;
	*r = (struct guest_mem_region){ .base = base, .size_bytes = size, .fd_offset = offset };
	r->host = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, c->from_file ? c->file_fd : m->fd,
		       (off_t)offset);
	if (r->host == MAP_FAILED)
		return map_error(c, e);
	m->nregions++;
	if (c->from_file)
		r->detached = calloc(align_up(size / GUEST_PAGE_BYTES, 64) / 64, sizeof(uint64_t));
	if (c->from_file && !r->detached)
		return err_set(e, -ENOMEM, "out of memory");
	if (guest_mem_advise(m, r->host, size))
		return err_set(e, -errno,
			       "this kernel cannot merge memory (KSM); leave out mergeable=on");
	/* Older kernels cannot populate ahead of a write: then pages come at first touch. */
	if (c->prefault && madvise(r->host, size, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
		return err_set(e, -errno, "cannot prefault guest memory: %s", strerror(errno));
	return 0;
}

int guest_mem_advise(const struct guest_mem *m, void *host, uint64_t size_bytes)
{
	if (m->page_bytes == GUEST_PAGE_BYTES)
		madvise(host, size_bytes, m->thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(host, size_bytes, MADV_DONTDUMP);
	return m->mergeable && madvise(host, size_bytes, MADV_MERGEABLE) ? -errno : 0;
}

/* Linux adds memory in blocks of its own, of 128 MiB to 2 GiB. */
enum { LINUX_BLOCK_BYTES_MAX = 31, LINUX_BLOCK_BYTES = 27 }; /* powers of two */

static uint64_t block_bytes(uint64_t pluggable_bytes)
{
	uint64_t bytes = 2 * MIB;

	while (bytes * GUEST_MEM_BLOCKS_MAX < pluggable_bytes)
		bytes *= 2;
	return bytes;
}

static uint64_t region_bytes(uint64_t pluggable_bytes)
{
	return align_up(pluggable_bytes, MAX(block_bytes(pluggable_bytes), BIT(LINUX_BLOCK_BYTES)));
}

uint64_t guest_mem_file_bytes(uint64_t size_bytes, uint64_t pluggable_bytes)
{
	return size_bytes + (pluggable_bytes ? region_bytes(pluggable_bytes) : 0);
}

/* Behind RAM, where a block of Linux's can begin. */
static int map_pluggable(struct guest_mem *m, const struct guest_mem_config *c, struct err *e)
{
	const struct guest_mem_region *last = &m->region[m->nregions - 1];
	struct guest_mem_config lazy = *c;
	gpa_t base = align_up(MAX(last->base + last->size_bytes, PLATFORM_HIGH_RAM_BASE),
			      BIT(LINUX_BLOCK_BYTES_MAX));
	int r;

	lazy.prefault = false;
	r = map_region(m, &lazy, base, c->size_bytes, region_bytes(c->pluggable_bytes), e);
	if (r)
		return r;
	r = guest_mem_make_pluggable(&m->region[m->nregions - 1], block_bytes(c->pluggable_bytes),
				     c->plugged);
	return r ? err_set(e, r, "out of memory") : 0;
}

int guest_mem_new(struct guest_mem **out, const struct guest_mem_config *c, struct err *e)
{
	uint64_t low = MIN(c->size_bytes, PLATFORM_LOW_RAM_END);
	struct guest_mem *m = calloc(1, sizeof(*m));
	int r = 0;

	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	m->fd = -1;
	m->page_bytes = !c->hugepages            ? GUEST_PAGE_BYTES
			: c->hugepage_size_bytes ? c->hugepage_size_bytes
						 : 2 * MIB;
	m->thp = c->thp;
	m->mergeable = c->mergeable;
	pthread_mutex_init(&m->detaching, NULL);
	if (c->shared)
		r = memfd_open(m, c, e);
	if (!r)
		r = map_region(m, c, 0, 0, low, e);
	if (!r && c->size_bytes > low)
		r = map_region(m, c, PLATFORM_HIGH_RAM_BASE, low, c->size_bytes - low, e);
	if (!r && c->pluggable_bytes)
		r = map_pluggable(m, c, e);
	if (r) {
		guest_mem_free(m);
		return r;
	}
	*out = m;
	return 0;
}

void guest_mem_free(struct guest_mem *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->nregions; i++) {
		munmap(m->region[i].host, m->region[i].size_bytes);
		free(m->region[i].dirty_bits);
		free(m->region[i].hinted_bits);
		free(m->region[i].detached);
		guest_mem_forget_pluggable(&m->region[i]);
		free(m->region[i].plugged);
	}
	pthread_mutex_destroy(&m->detaching);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

int guest_mem_log_start(struct guest_mem *m, struct err *e)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		struct guest_mem_region *r = &m->region[i];
		uint64_t words = align_up(guest_mem_region_pages(r), 64) / 64;

		if (!r->dirty_bits)
			r->dirty_bits = calloc(words, sizeof(*r->dirty_bits));
		if (!r->dirty_bits) {
			guest_mem_log_stop(m);
			return err_set(e, -ENOMEM, "out of memory for a log of guest memory");
		}
		for (uint64_t w = 0; w < words; w++)
			atomic_store_explicit(&r->dirty_bits[w], 0, memory_order_relaxed);
		atomic_store_explicit(&r->dirty, r->dirty_bits, memory_order_release);
	}
	/* With that of guest_mem_mark_dirty(): who finds no log has its bytes seen by whoever reads
	 * the page after this. */
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

/* The bits stay: a thread may be about to set one. */
void guest_mem_log_stop(struct guest_mem *m)
{
	for (unsigned i = 0; i < m->nregions; i++)
		atomic_store_explicit(&m->region[i].dirty, NULL, memory_order_relaxed);
}

void guest_mem_mark_dirty(struct guest_mem *m, gpa_t gpa, uint64_t len)
{
	struct guest_mem_region *r = guest_mem_find(m, gpa, len);
	_Atomic uint64_t *dirty;

	if (!r || !len)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	dirty = atomic_load_explicit(&r->dirty, memory_order_acquire);
	if (!dirty)
		return;
	for (uint64_t page = (gpa - r->base) / GUEST_PAGE_BYTES,
		      last = (gpa - r->base + len - 1) / GUEST_PAGE_BYTES;
	     page <= last; page++)
		atomic_fetch_or_explicit(&dirty[page / 64], BIT(page % 64), memory_order_release);
}

int guest_mem_read(struct guest_mem *m, gpa_t gpa, void *buf, size_t len)
{
	const void *p = guest_mem_at(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int guest_mem_write(struct guest_mem *m, gpa_t gpa, const void *buf, size_t len)
{
	void *p = guest_mem_at(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	guest_mem_mark_dirty(m, gpa, len);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory and the one door to it.  RAM is one or two regions: low memory up to the
 * PCI hole, the rest from 4 GiB.  One more may follow that the guest has only in part: blocks of
 * it are plugged and unplugged, and what is unplugged is no RAM.  All lengths and ranges are
 * checked here, and here the pages that the monitor writes are marked dirty, which KVM's dirty log
 * does not do.
 *
 * Any thread.  Pointers stay valid until guest_mem_free(), or until the guest unplugs what they
 * point to.  A range that is not wholly RAM of one region is refused.  What guests place there may
 * change at any time: read it once.
 */
#ifndef GUEST_MEM_H
#define GUEST_MEM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef uint64_t gpa_t;

enum { GUEST_MEM_REGIONS = 3, GUEST_PAGE_BYTES = 4096, GUEST_MEM_BLOCKS_MAX = 32768 };

struct guest_mem_region {
	gpa_t base;
	uint64_t size_bytes;
	uint8_t *host;
	uint64_t fd_offset;
	_Atomic uint64_t *_Atomic dirty; /* one bit per page the monitor wrote; NULL: not logging */
	_Atomic uint64_t *dirty_bits; /* what dirty points to; lives until guest_mem_free() */
	_Atomic uint64_t *_Atomic hinted; /* one bit per page that is free; NULL: nobody asks */
	_Atomic uint64_t *hinted_bits; /* what hinted points to; lives as dirty_bits */
	/* Of a view of a file: one bit per page that was given back, and has no file behind it any
	 * more.  NULL: no view. */
	_Atomic uint64_t *detached;
	/* Of the pluggable region: a bit for each block that is plugged, which main writes. */
	uint64_t block_bytes; /* 0: it is not pluggable */
	_Atomic uint64_t *plugged;
};

struct guest_mem {
	struct guest_mem_region region[GUEST_MEM_REGIONS];
	unsigned nregions;
	int fd; /* shared memory behind all regions, in order; -1: private */
	uint64_t page_bytes; /* of the host's pages behind it: what can be given back */
	bool thp, mergeable;
	pthread_mutex_t detaching;
	unsigned pieces; /* under detaching: how often a view of a file was divided */
};

struct guest_mem_config {
	uint64_t size_bytes; /* whole pages of the kind asked for */
	uint64_t hugepage_size_bytes; /* 0: the host's default size */
	bool shared, hugepages, prefault, mergeable, thp;
	/* RAM begins as what file_fd holds, region behind region, and is written in memory only;
	 * neither shared nor hugepages.  The file must not change: guest_mem_new() maps it, and the
	 * caller may close it. */
	bool from_file;
	int file_fd;
	/* Of the pluggable region, rounded up to whole blocks; 0: none.  At first all of it is
	 * plugged, for whoever fills it, or nothing. */
	uint64_t pluggable_bytes;
	bool plugged;
};

int guest_mem_new(struct guest_mem **, const struct guest_mem_config *, struct err *);
/* Of all its regions, as a file holds them. */
uint64_t guest_mem_file_bytes(uint64_t size_bytes, uint64_t pluggable_bytes);
void guest_mem_free(struct guest_mem *);

static inline bool guest_mem_is_plugged(const struct guest_mem_region *r, uint64_t offset,
					uint64_t len)
{
	for (uint64_t b = offset / r->block_bytes, last = (offset + len - !!len) / r->block_bytes;
	     b <= last; b++)
		if (!(atomic_load_explicit(&r->plugged[b / 64], memory_order_acquire) >> b % 64 &
		      1))
			return false;
	return true;
}

/* The region of a range, whether its blocks are plugged or not: for who only reads all memory. */
static inline struct guest_mem_region *guest_mem_region_of(struct guest_mem *m, gpa_t gpa,
							   uint64_t len)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		struct guest_mem_region *r = &m->region[i];

		if (gpa >= r->base && gpa - r->base < r->size_bytes &&
		    len <= r->size_bytes - (gpa - r->base))
			return r;
	}
	return NULL;
}

static inline struct guest_mem_region *guest_mem_find(struct guest_mem *m, gpa_t gpa, uint64_t len)
{
	struct guest_mem_region *r = guest_mem_region_of(m, gpa, len);

	if (r && r->block_bytes && !guest_mem_is_plugged(r, gpa - r->base, len))
		return NULL;
	return r;
}

/* Host address of [gpa, gpa + len), or NULL.  After a write call guest_mem_mark_dirty(). */
static inline void *guest_mem_at(struct guest_mem *m, gpa_t gpa, uint64_t len)
{
	struct guest_mem_region *r = guest_mem_find(m, gpa, len);

	return r ? r->host + (gpa - r->base) : NULL;
}

/*
 * The region that is plugged in blocks; NULL: there is none.  n blocks from first on are plugged,
 * which they were not, or unplugged, which they were: their memory goes back to the host.  Main.
 * -ENOMEM: the process has too many mappings; what was to be unplugged is, and may be written to.
 */
struct guest_mem_region *guest_mem_pluggable(struct guest_mem *);
/* RAM and what is plugged, and the n-th page of that; any thread. */
uint64_t guest_mem_bytes(struct guest_mem *);
const uint8_t *guest_mem_page(struct guest_mem *, uint64_t n);
int guest_mem_plug(struct guest_mem *, unsigned first, unsigned n);
int guest_mem_unplug(struct guest_mem *, unsigned first, unsigned n);
/* For the module's own files. */
int guest_mem_make_pluggable(struct guest_mem_region *, uint64_t block_bytes, bool plugged);
void guest_mem_forget_pluggable(const struct guest_mem_region *);

/* What kind of memory a new mapping is to be; for the module's own files.  -EINVAL: the host cannot
 * merge pages. */
int guest_mem_advise(const struct guest_mem *, void *host, uint64_t size_bytes);

/* Those that are there from the start: what a kernel is loaded to, and is told of. */
static inline unsigned guest_mem_ram_regions(const struct guest_mem *m)
{
	return m->nregions - !!m->region[m->nregions - 1].block_bytes;
}

static inline uint64_t guest_mem_region_pages(const struct guest_mem_region *r)
{
	return r->size_bytes / GUEST_PAGE_BYTES;
}

/* From its return on each guest_mem_mark_dirty() is kept in the regions' dirty bits, which begin
 * empty.  One thread at a time starts and stops; any may mark meanwhile. */
int guest_mem_log_start(struct guest_mem *, struct err *);
void guest_mem_log_stop(struct guest_mem *);

/*
 * Give the memory of whole pages of one region back to the host: from now on they are zero, and
 * cost nothing until they are written.  -EFAULT: not RAM; -EINVAL: not whole pages of page_bytes;
 * else what the host says.  On failure any of them may have gone.
 */
int guest_mem_discard(struct guest_mem *, gpa_t, uint64_t len);
/* Set the bits of all pages of private memory that may be anything but zero. */
void guest_mem_find_touched(const struct guest_mem_region *, uint64_t *bits);
/* How many pages of the region, of those whose bits are set, the host holds in memory or swap;
 * where it does not say, all of them. */
uint64_t guest_mem_count_held(const struct guest_mem *, const struct guest_mem_region *,
			      const _Atomic uint64_t *bits);

/* One page of guest_mem_page(), given /proc/self/pagemap, open: whether reading it costs time only.
 * Where the host does not say, it is HERE. */
enum guest_mem_page_is {
	GUEST_MEM_HOLE, /* zeros that nobody has touched, or that were given back */
	GUEST_MEM_AWAY, /* swapped out, or in a file only */
	GUEST_MEM_HERE,
};
enum guest_mem_page_is guest_mem_look_up(struct guest_mem *, const uint8_t *page, int pagemap);

/*
 * Pages that the guest says it need not keep.  From start on they are remembered, none at first,
 * until stop.  What is written to one later is to be kept: whoever starts it must know of that.
 * One thread at a time starts and stops; any may hint meanwhile.
 */
int guest_mem_hints_start(struct guest_mem *, struct err *);
void guest_mem_hints_stop(struct guest_mem *);
/* The whole pages of a range; what is no RAM of one region is ignored. */
void guest_mem_hint(struct guest_mem *, gpa_t, uint64_t len);
/* Of the 64 pages from this one on, a multiple of 64. */
static inline uint64_t guest_mem_hinted(const struct guest_mem_region *r, uint64_t page)
{
	const _Atomic uint64_t *hinted = atomic_load_explicit(&r->hinted, memory_order_acquire);

	return hinted ? atomic_load_explicit(&hinted[page / 64], memory_order_relaxed) : 0;
}

/* Call it when the bytes are there. */
void guest_mem_mark_dirty(struct guest_mem *, gpa_t, uint64_t len);

/* Copy; -EFAULT and nothing copied if the range is not RAM. */
int guest_mem_read(struct guest_mem *, gpa_t, void *, size_t len);
int guest_mem_write(struct guest_mem *, gpa_t, const void *, size_t len);

#endif

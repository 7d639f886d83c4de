/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a balloon: balloon.c is the device, balloon_pages.c takes pages, balloon_stats.c
 * asks the guest how it does, balloon_hints.c which pages are free.
 *
 * Who writes and who reads: given and ngiven are the queues' I/O threads', one each, and main reads
 * them; while no queue is handed over main clears them.  held is the I/O thread's that has the
 * statistics queue.  poison_val of the state is written under the lock, and read by I/O threads.
 */
#ifndef BALLOON_INTERNAL_H
#define BALLOON_INTERNAL_H

#include <linux/virtio_balloon.h>

#include "balloon.h"
#include "virtio.h"

/* virtio 1.2, 5.5.2; but as drivers have it, queues of features that are missing leave no gap. */
enum balloon_role {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_HINTS,
	BALLOON_REPORTING
};

enum { BALLOON_SEGMENTS = 128 };

struct balloon_counters {
	_Atomic uint64_t target, actual, given; /* bytes, as of the last reading */
	_Atomic uint64_t inflated, deflated, reported, hinted, kept; /* bytes */
	_Atomic uint64_t refused; /* pages */
	_Atomic uint64_t samples;
	/* The guest's own numbers, in the order of their tags (5.5.6.4; the last six are newer). */
	_Atomic uint64_t swap_in, swap_out, major_faults, minor_faults, free_memory, total_memory,
		available_memory, disk_caches, hugetlb_allocations, hugetlb_failures, oom_kills,
		alloc_stalls, async_scans, direct_scans, async_reclaims, direct_reclaims;
};

struct balloon_state {
	struct virtio_state virtio[1];
	uint32_t num_pages; /* as the guest was told last */
	uint32_t actual, poison_val; /* as it said */
};

struct balloon {
	struct virtio_device v;
	struct balloon_state s;
	uint64_t size; /* options */
	bool deflate_on_oom, free_page_reporting, free_page_hinting;
	uint32_t target; /* pages that num_pages is to be */
	bool reached; /* and others know */
	struct pace told;
	struct virtio_balloon_config registers;

	_Atomic uint64_t *_Atomic given; /* one bit per page of RAM; NULL: none was */
	_Atomic uint64_t ngiven;

	struct {
		pthread_mutex_t lock; /* of all the rest */
		uint32_t id; /* as the guest is told */
		bool wanted, heard; /* by the guest: what comes now is meant for that */
	} hints;

	bool held; /* the next buffer of the statistics queue was read */
	atomic_bool wanted; /* and is to go back, for a new one */
	_Atomic uint64_t at_ns[BALLOON_STATISTICS]; /* by the wall clock */
	struct work arrived; /* on main */
	struct list asks;
	struct timer patience;
	uint64_t asked_ns;
};

static inline struct balloon *balloon_of(struct device *dev)
{
	return container_of(dev, struct balloon, v.dev);
}

/* balloon_pages.c, but for the second on I/O threads */

/* What a request gives, takes back or reports; returns how much that was to do, in pages. */
uint64_t balloon_pages_take(struct balloon *, struct balloon_counters *, struct vq_request *,
			    enum balloon_role);
void balloon_pages_forget(struct balloon *); /* on main, which has the queues */
uint64_t balloon_pages_touched(struct balloon *); /* on main */

/* balloon_hints.c: on an I/O thread */

uint64_t balloon_hints_take(struct balloon *, struct balloon_counters *, struct vq_request *);

/* balloon.c: its registers as the guest reads them; on main or a vCPU */
void balloon_show(struct balloon *);
/* Any thread: its own content, or zeros; 5.5.6.7.1 allows no other. */
bool balloon_may_become_zero(struct balloon *);

/* balloon_stats.c, but for the kick on main */

int balloon_stats_attach(struct balloon *, struct err *);
void balloon_stats_kick(struct balloon *, struct virtqueue *);
void balloon_stats_forget(struct balloon *);
void balloon_stats_want(struct balloon *); /* if the guest can, and was not asked just now */

#endif

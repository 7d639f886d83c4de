/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others than its guest want of a balloon (src/virtio/balloon.c): that it takes so much of the
 * guest's memory, and what is known of that.  On main, under the machine lock.
 */
#ifndef BALLOON_H
#define BALLOON_H

#include "device.h"

enum { BALLOON_STATISTICS = 16 };

/* Some of them: tags of virtio 1.2, 5.5.6.4 */
enum { BALLOON_TOTAL_MEMORY = 5, BALLOON_AVAILABLE_MEMORY = 6, BALLOON_OOM_KILLS = 10 };

struct balloon_reading {
	uint64_t target_bytes; /* what the guest is asked for */
	uint64_t actual_bytes; /* what it says that it has given */
	uint64_t given_bytes; /* what it was seen to give here, and not to take back */
	uint64_t touched_bytes; /* of that, what the host holds all the same */
	struct {
		const char *name;
		uint64_t value;
		uint64_t at_ns; /* since 1970; 0: the guest has not said it */
	} statistic[BALLOON_STATISTICS];
};

struct balloon_ask {
	void (*done)(void *arg);
	void *arg;
	/* The balloon's until done() */
	struct list node;
	uint64_t samples; /* when it was asked */
};

struct device *balloon_device(struct vm *); /* NULL: the VM has none */

/* As if it had been made with this size; what is not a whole page is left out. */
void balloon_set_target(struct device *, uint64_t bytes);
/* done(), once the guest has said anew how it does, or has had a second for that: during the call
 * or later. */
void balloon_ask(struct device *, struct balloon_ask *);
uint64_t balloon_target(const struct device *); /* target_bytes alone */
uint64_t balloon_actual(const struct device *); /* actual_bytes alone */
/* One statistic as the guest said it last; false: it has not. */
bool balloon_statistic(const struct device *, unsigned tag, uint64_t *value);
bool balloon_is_driven(const struct device *); /* the guest has a driver that is up */
bool balloon_tells(const struct device *); /* and that says how the guest does */
uint64_t balloon_samples(const struct device *); /* how often it did so, in this process */
/* The guest can say which pages it need not keep (guest_mem_hint()): from now on it does, or no
 * more and none of it is on its way. */
bool balloon_can_hint(const struct device *);
void balloon_hint(struct device *, bool wanted);
/* This looks up each page that was given: some 2 ms for each GiB. */
void balloon_read(struct device *, struct balloon_reading *);

#endif

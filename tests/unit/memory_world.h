/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests on one host with less memory than they may have, second by second: what they use goes up
 * and down, their caches fill what they have.  A guest that has less than it uses waits (stalls),
 * and so do all that come to use more while the host has nothing left.
 *
 * Two policies for them: src/agent/memory_policy.h, and rules as published for another manager of
 * virtual machines, for comparison: below 20 % free the host is short, below 5 % critically so;
 * guests shrink towards what they use and a share of free memory that goes with the host's, by at
 * most 5 %, and grow by 5 % when the host is not short; less than 0.25 % is not worth it.
 */
#ifndef MEMORY_WORLD_H
#define MEMORY_WORLD_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory_policy.h"

enum { WORLD_GUESTS = 16, WORLD_GUEST_MIB = 4096, WORLD_MIN_MIB = 512, WORLD_HOUR_S = 3600 };

#define WORLD_MIB ((double)(1 << 20))

struct world_guest {
	double asked, given, used, touched; /* MiB */
	double level; /* that its use goes to */
	double pace; /* MiB in a second */
	int until; /* a new level */
	uint64_t stalls;
};

struct world {
	uint64_t random;
	int now;
	double host; /* MiB */
	struct world_guest guest[WORLD_GUESTS];
};

/* What it came to. */
struct world_result {
	double reclaimed; /* MiB x s that guests had less than their most */
	double stalls; /* guests x s */
	double short_of; /* MiB x s that guests had less than they used */
};

typedef void (*world_policy)(struct world *, void *state);

static inline double world_random(struct world *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (double)(w->random >> 11) / (double)(UINT64_C(1) << 53);
}

static inline double world_free(const struct world *w)
{
	double left = w->host;

	for (int i = 0; i < WORLD_GUESTS; i++)
		left -= w->guest[i].touched;
	return left < 0 ? 0 : left;
}

/* Most of the time a guest uses a part of what it has, and now and then nearly all. */
static inline void world_choose_level(struct world *w, struct world_guest *g)
{
	double share = 0.1 + 0.4 * world_random(w);

	if (world_random(w) < 0.15)
		share = 0.6 + 0.3 * world_random(w);
	g->level = share * WORLD_GUEST_MIB;
	g->pace = 5 + 500 * pow(world_random(w), 3);
	g->until = w->now + 30 + (int)(570 * world_random(w));
}

static inline void world_new(struct world *w, uint64_t seed, double host_share)
{
	*w = (struct world){ .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
			     .host = host_share * WORLD_GUESTS * WORLD_GUEST_MIB };
	for (int i = 0; i < WORLD_GUESTS; i++) {
		struct world_guest *g = &w->guest[i];

		world_choose_level(w, g);
		g->used = g->touched = g->level / 2;
		g->asked = g->given = WORLD_GUEST_MIB;
	}
}

static inline void world_guest_second(struct world *w, struct world_guest *g,
				      struct world_result *r)
{
	double wants, touched, room = world_free(w);

	if (w->now >= g->until)
		world_choose_level(w, g);
	wants = g->used + fmin(fmax(g->level - g->used, -g->pace), g->pace);
	wants += WORLD_GUEST_MIB * 0.004 * (world_random(w) - 0.5);
	g->used = fmin(fmax(wants, 100), WORLD_GUEST_MIB);
	/* A balloon takes by and by and gives fast. */
	g->given += fmin(fmax(g->asked - g->given, -256), 1024);
	/* Programs first, and caches fill the rest. */
	touched = fmin(fmax(g->used, g->touched + WORLD_GUEST_MIB * 0.005), g->given);
	if (touched > g->touched + room)
		touched = g->touched + room;
	if (touched < fmin(g->used, g->given) || g->used > g->given) {
		g->stalls++;
		r->stalls++;
		r->short_of += g->used - fmin(touched, g->given);
	}
	g->touched = touched;
	r->reclaimed += WORLD_GUEST_MIB - g->given;
}

static inline struct world_result world_run(struct world *w, int seconds, int every,
					    world_policy policy, void *state)
{
	struct world_result r = { 0 };

	for (w->now = 0; w->now < seconds; w->now++) {
		for (int i = 0; i < WORLD_GUESTS; i++)
			world_guest_second(w, &w->guest[i], &r);
		if (w->now % every == every - 1)
			policy(w, state);
	}
	return r;
}

struct world_ours {
	struct memory_guest guest[WORLD_GUESTS];
	double margin; /* shares of the host */
	double reserve;
};

static inline uint64_t world_bytes(double mib)
{
	return (uint64_t)(mib * WORLD_MIB);
}

static inline void world_ours(struct world *w, void *state)
{
	struct world_ours *ours = state;
	const struct memory_host host = { .available = world_bytes(world_free(w)),
					  .reserve = world_bytes(ours->reserve * w->host),
					  .margin = world_bytes(ours->margin * w->host) };
	struct memory_guest *guests[WORLD_GUESTS];

	for (int i = 0; i < WORLD_GUESTS; i++) {
		const struct world_guest *g = &w->guest[i];
		const struct memory_sample sample = {
			.asked = world_bytes(g->asked),
			.given = world_bytes(g->given),
			.available = world_bytes(fmax(g->given - g->used, 0)),
			.stalls = g->stalls,
		};

		guests[i] = &ours->guest[i];
		guests[i]->min = world_bytes(WORLD_MIN_MIB);
		guests[i]->max = world_bytes(WORLD_GUEST_MIB);
		memory_guest_add(guests[i], &sample);
	}
	memory_policy(&host, guests, WORLD_GUESTS);
	for (int i = 0; i < WORLD_GUESTS; i++)
		w->guest[i].asked = (double)guests[i]->target / WORLD_MIB;
}

static inline void world_published_shrink(struct world_guest *g, double host_free)
{
	double used = fmin(g->used, g->given), share, least, size;

	share = host_free <= 0.05 ? host_free - 0.05 : 0.2 * host_free / 0.2;
	least = fmax(WORLD_MIN_MIB, used + share * g->given);
	size = fmax(g->given * 0.95, least);
	if (size <= g->given && g->given - size >= 0.0025 * g->given)
		g->asked = size;
}

static inline void world_published_grow(struct world_guest *g)
{
	double used = fmin(g->used, g->given), size;

	size = fmin(fmax(g->given * 1.05, used + 0.2 * WORLD_GUEST_MIB), WORLD_GUEST_MIB);
	if (size - g->given >= 0.0025 * g->given)
		g->asked = size;
}

static inline void world_published(struct world *w, void *state)
{
	double host_free = world_free(w) / w->host;

	(void)state;
	for (int i = 0; i < WORLD_GUESTS; i++) {
		if (host_free < 0.2)
			world_published_shrink(&w->guest[i], host_free);
		else
			world_published_grow(&w->guest[i]);
	}
}

#endif

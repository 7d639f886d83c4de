/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_policy.h"

#include <math.h>

#include "bits.h"

enum {
	TAKE_BEATS = 3, /* so that the step before shows */
	GROW_BEATS = 5,
	CALM_BEATS = 150, /* after a wait, for which others give first */
	NEVER_BEATS = 15, /* and it gives nothing at all */
	KNOWN_SAMPLES = 10, /* before anything is taken */
};
enum { CHANGE_PARTS = 64, GROW_PARTS = 20, TAKE_PARTS = 10, STALL_PARTS = 16 }; /* of its most */
/* The monitor leaves an eighth and 64 MiB to a guest, and a little that comes in between. */
enum { LEFT_PARTS = 8, LEFT_BYTES = 72 * MIB };

#define PSI_MAX 0.05
#define PLENTY_MARGINS 3

static uint64_t less(uint64_t a, uint64_t b)
{
	return a - MIN(a, b);
}

static uint64_t used_now(const struct memory_sample *s)
{
	return less(s->given, s->available);
}

void memory_guest_add(struct memory_guest *g, const struct memory_sample *s)
{
	bool back = g->target &&
		    s->asked > g->target; /* its monitor saw that it cannot do with it */

	g->stalled = (g->n && s->stalls > g->now.stalls) || s->psi > PSI_MAX;
	g->calm = g->stalled || back ? 0 : g->calm + (g->calm < CALM_BEATS);
	if (!g->n)
		g->calm = CALM_BEATS;
	g->rest += g->rest < GROW_BEATS;
	g->risen = g->n ? less(used_now(s), used_now(&g->now)) : 0;
	g->now = *s;
	g->target = s->asked;
	g->why = MEMORY_STAYS;
	g->used[g->next] = used_now(s);
	g->next = (g->next + 1) % MEMORY_SAMPLES;
	g->n += g->n < MEMORY_SAMPLES;
}

static double deviation(const struct memory_guest *g)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < g->n; i++)
		sum += (double)g->used[i];
	for (unsigned i = 0; i < g->n; i++)
		squares += pow((double)g->used[i] - sum / g->n, 2);
	return g->n ? sqrt(squares / g->n) : 0;
}

uint64_t memory_guest_wants(const struct memory_guest *g)
{
	uint64_t used = used_now(&g->now),
		 left = (used + LEFT_BYTES) / (LEFT_PARTS - 1) + LEFT_BYTES;
	uint64_t wants = used + MAX(left, (uint64_t)(3 * deviation(g))) + 2 * g->risen;

	return MIN(MAX(wants, g->min), g->max);
}

static void set(struct memory_guest *g, uint64_t target, enum memory_why why)
{
	g->target = MIN(align_up(target, MIB), g->max);
	g->why = why;
	g->rest = 0;
}

/* *left: of what the host may give. */
static void give(struct memory_guest *g, uint64_t target, enum memory_why why, uint64_t *left)
{
	uint64_t more = MIN(less(MIN(target, g->max), g->now.asked), *left);

	if (!more)
		return;
	*left -= more;
	set(g, g->now.asked + more, why);
}

/* All the host has is for those that wait. */
static void give_stalled(uint64_t *left, struct memory_guest *const guests[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct memory_guest *g = guests[i];
		uint64_t more = MAX(2 * g->step, g->max / STALL_PARTS);

		if (!g->stalled)
			continue;
		give(g, MAX(g->now.asked + more, memory_guest_wants(g)), MEMORY_STALLED, left);
		g->step = 0;
	}
}

/* Half of the reserve is for those that come to use more. */
static void give_needed(uint64_t *left, struct memory_guest *const guests[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct memory_guest *g = guests[i];
		uint64_t wants = memory_guest_wants(g);

		if (!g->stalled && less(wants, g->now.asked) > g->max / CHANGE_PARTS)
			give(g, wants, MEMORY_NEEDED, left);
	}
}

static uint64_t spare(const struct memory_guest *g)
{
	return less(g->now.asked, memory_guest_wants(g));
}

static bool may_give(const struct memory_guest *g)
{
	return g->why == MEMORY_STAYS && g->n >= KNOWN_SAMPLES && g->rest >= TAKE_BEATS &&
	       g->calm >= NEVER_BEATS && spare(g) > g->max / CHANGE_PARTS;
}

/* Of two that may: has waited less lately, or has more to spare. */
static bool gives_before(const struct memory_guest *a, const struct memory_guest *b)
{
	bool calm = a->calm == CALM_BEATS;

	if (calm != (b->calm == CALM_BEATS))
		return calm;
	return spare(a) > spare(b);
}

static void take(uint64_t lack, struct memory_guest *const guests[], size_t n)
{
	while (lack) {
		struct memory_guest *best = NULL;

		for (size_t i = 0; i < n; i++)
			if (may_give(guests[i]) && (!best || gives_before(guests[i], best)))
				best = guests[i];
		if (!best)
			return;
		best->step = MAX(lack, best->max / CHANGE_PARTS);
		best->step = MIN(MIN(best->step, spare(best)), best->max / TAKE_PARTS);
		lack = less(lack, best->step);
		set(best, best->now.asked - best->step, MEMORY_TAKEN);
	}
}

static void grow(uint64_t left, struct memory_guest *const guests[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (guests[i]->why == MEMORY_STAYS && guests[i]->rest >= GROW_BEATS)
			give(guests[i], guests[i]->now.asked + guests[i]->max / GROW_PARTS,
			     MEMORY_PLENTY, &left);
}

bool memory_guest_gives(const struct memory_guest *g)
{
	return g->rest < GROW_BEATS || g->calm < NEVER_BEATS || spare(g) > g->max / CHANGE_PARTS;
}

/* Asked lately, and not there yet. */
static void under_way(struct memory_guest *const guests[], size_t n, uint64_t *comes,
		      uint64_t *goes)
{
	*comes = *goes = 0;
	for (size_t i = 0; i < n; i++) {
		const struct memory_guest *g = guests[i];

		if (g->rest >= GROW_BEATS)
			continue;
		*comes += less(g->now.given, g->target);
		*goes += less(g->target, g->now.given);
	}
}

void memory_policy(const struct memory_host *h, struct memory_guest *const guests[], size_t n)
{
	uint64_t needs = h->reserve + h->margin, comes, goes, left, kept;

	under_way(guests, n, &comes, &goes);
	left = less(h->available, goes);
	give_stalled(&left, guests, n);
	kept = MIN(left, h->reserve / 2);
	left -= kept;
	give_needed(&left, guests, n);
	left += kept;
	if (left + comes < needs)
		take(needs - left - comes, guests, n);
	else if (left > h->reserve + PLENTY_MARGINS * h->margin)
		grow(left - h->reserve - PLENTY_MARGINS * h->margin, guests, n);
}

uint64_t memory_lack(const struct memory_host *h, struct memory_guest *const guests[], size_t n)
{
	uint64_t comes, goes;

	under_way(guests, n, &comes, &goes);
	return less(h->reserve + h->margin + goes, h->available + comes);
}

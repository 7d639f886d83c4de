/* SPDX-License-Identifier: Apache-2.0 */
#include "search.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"

struct entry {
	struct search_move move;
	uint32_t source;
	uint32_t taken; /* moves that were when it was looked for */
};

static bool is_before(const struct entry *a, const struct entry *b)
{
	return a->move.value > b->move.value ||
	       (a->move.value == b->move.value && a->source < b->source);
}

static void sift_down(struct entry *heap, uint32_t n, uint32_t i)
{
	struct entry e = heap[i];

	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && is_before(&heap[child + 1], &heap[child]))
			child++;
		if (!is_before(&heap[child], &e))
			break;
		heap[i] = heap[child];
	}
	heap[i] = e;
}

/* The top goes, or comes down to where it belongs now. */
static void renew_top(const struct search *s, struct entry *heap, uint32_t *n, uint32_t taken)
{
	heap[0].taken = taken;
	if (!s->best(s->arg, heap[0].source, &heap[0].move))
		heap[0] = heap[--*n];
	if (*n)
		sift_down(heap, *n, 0);
}

/* Gains of the first moves, and of the last in a ring. */
struct knee {
	double first, last;
	double *ring;
};

static bool is_at_knee(const struct search *s, struct knee *k, uint32_t taken, double gain)
{
	uint32_t n = s->knee_moves;

	if (!n)
		return false;
	if (taken < n)
		k->first += gain;
	else
		k->last -= k->ring[taken % n];
	k->last += gain;
	k->ring[taken % n] = gain;
	return taken + 1 >= 2 * n && k->last < s->knee_share * k->first;
}

/* All sources that have a move now. */
static uint32_t fill(const struct search *s, struct entry *heap, const uint32_t *source, uint32_t n,
		     uint32_t taken)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < n; i++) {
		heap[left] = (struct entry){ .source = source[i], .taken = taken };
		left += s->best(s->arg, source[i], &heap[left].move);
	}
	for (uint32_t i = left / 2; i-- > 0;)
		sift_down(heap, left, i);
	return left;
}

int search_run(const struct search *s, const uint32_t *source, uint32_t n)
{
	CLEANUP(free) struct entry *heap = calloc((size_t)n + 1, sizeof(*heap));
	CLEANUP(free) double *ring = calloc((size_t)s->knee_moves + 1, sizeof(*ring));
	struct knee knee = { .ring = ring };
	uint32_t left, taken = 0, filled = 0;
	int r;

	if (!heap || !ring)
		return -ENOMEM;
	left = fill(s, heap, source, n, taken);
	for (;;) {
		struct search_move top;

		/* A move may have given one to sources that had none. */
		if ((s->exact || !left) && filled != taken)
			left = fill(s, heap, source, n, filled = taken);
		if (!left)
			return SEARCH_DONE;
		if (heap[0].taken != taken) {
			renew_top(s, heap, &left, taken);
			continue;
		}
		if (taken == s->max)
			return SEARCH_MAX;
		top = heap[0].move;
		r = s->take(s->arg, &top);
		if (r < 0)
			return r;
		if (r)
			renew_top(s, heap, &left, taken);
		else if (is_at_knee(s, &knee, taken++, top.gain))
			return SEARCH_KNEE;
	}
}

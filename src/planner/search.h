/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The best move, again and again: the core of the planner, which knows neither hosts nor rules.
 * Sources are tried lazily: the best move of each is kept in a heap, and looked for anew only
 * when it comes to the top after something changed; when none is left all are tried once more.
 * The search ends when no source has a move, after max moves, or at the knee: when the last
 * moves gain little beside the first.
 */
#ifndef SEARCH_H
#define SEARCH_H

#include <stdbool.h>
#include <stdint.h>

struct search_move {
	uint32_t vm, to;
	double value; /* the highest goes first */
	double gain; /* of which the knee is told */
};

struct search {
	void *arg;
	/* The best move away from a source as things are; false: it has none. */
	bool (*best)(void *arg, uint32_t source, struct search_move *);
	/* It is taken: from now on best() sees it done.  1: it may not be, and best() knows. */
	int (*take)(void *arg, const struct search_move *);
	bool exact; /* all sources are tried after each move: what it wins changes for all */
	uint32_t max;
	uint32_t knee_moves; /* 0: no knee */
	double knee_share;
};

enum search_end { SEARCH_DONE, SEARCH_KNEE, SEARCH_MAX };

/* enum search_end, or what take() failed with; -ENOMEM. */
int search_run(const struct search *, const uint32_t *source, uint32_t n);

#endif

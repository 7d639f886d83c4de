/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves in an order in which every state on the way fits.  Moves of one wave go at the same
 * time: memory at the destination is taken when a wave begins, that at the source is free when
 * it is over, and no host has more moves out or in than it may.  Where moves wait for each other
 * in a circle, the smallest VM of them is parked on a third host; if it finds no way on in this
 * plan, the next one sees it there.
 */
#ifndef STEPS_H
#define STEPS_H

#include <stdbool.h>
#include <stdint.h>

struct steps_host {
	double room; /* bytes free beside the reserve; may be below 0 */
	uint32_t in, out; /* flights, over before the second wave */
	double leaves; /* bytes that they free then */
};

struct step {
	uint32_t move; /* index of what was asked for */
	uint32_t from, to, wave;
	bool parks; /* and another step goes on */
};

struct steps_move {
	uint32_t from, to;
	double bytes;
	bool starts; /* nothing leaves from, which is dead */
};

struct steps {
	struct steps_host *host; /* changed */
	const uint32_t *park; /* hosts for parking, the best first */
	uint32_t npark;
	double out_max, in_max, at_once, waves_max;
	uint32_t under_way; /* flights in all */
	const struct steps_move *move;
	uint32_t nmove;
	/* Result: at most twice as many steps as moves; for each move whether it has a place. */
	struct step *step;
	uint32_t nstep;
	enum { STEPS_DONE, STEPS_LATE, STEPS_STUCK } * end;
};

/* step and end are the caller's, with room for 2 * nmove and nmove. */
int steps_order(struct steps *);

#endif

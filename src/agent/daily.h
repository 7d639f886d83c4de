/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM uses at each hour of the day: the cores that it used on average in each of the last 48
 * whole hours.  If one day goes like the other, what it will use in the hour to come is told better
 * by yesterday than by the last two hours alone.  Pure.
 */
#ifndef DAILY_H
#define DAILY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { DAILY_HOURS = 48 };

struct daily {
	uint64_t hour; /* under way, since 1970; 0: nothing is known */
	double used, seconds; /* of it: core-seconds, in so many seconds that were seen */
	double cores[DAILY_HOURS]; /* at hour % DAILY_HOURS; below 0: not known */
};

/* So many cores for the seconds before now (since 1970).  True: a whole hour is known. */
bool daily_add(struct daily *, uint64_t now, double cores, double seconds);

/* What it used yesterday in the hour from now on; weight: how much of its ways one day tells of
 * the next, the square of their correlation.  False: too little is known, or days differ. */
bool daily_expects(const struct daily *, uint64_t now, double *cores, double *weight);

/* {"hour", "cores": [the last whole hour first, null: not known]}, a new reference; and back. */
json_t *daily_json(const struct daily *);
int daily_read(struct daily *, const json_t *); /* -EINVAL: it is none */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The picture of "godwit top": rows and the size of a screen become text.  Nothing is asked and
 * nothing printed.
 *
 * Columns that do not fit are left out, the least wanted first; what is still too wide is cut.
 */
#ifndef TOP_DRAW_H
#define TOP_DRAW_H

#include "top_rates.h"

enum top_vcpus { TOP_VCPUS_FIT, TOP_VCPUS_ON, TOP_VCPUS_OFF }; /* FIT: if there is room */

struct top_view {
	unsigned columns; /* 0: as wide as it is */
	unsigned lines; /* 0: a plain table of all rows, without a frame */
	bool utf8, colour, paused;
	enum top_order order;
	enum top_vcpus vcpus;
	bool vcpus_shown; /* by the last drawing */
	unsigned scroll; /* lines above the first that is shown; drawing puts it into its limits */
};

/* Rows in the order of the view; lines end in '\n', on a screen all but the last.  To be freed;
 * NULL: out of memory. */
char *top_draw(struct vm_rates **, size_t n, struct top_view *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Text for a terminal that has colours and an edge, or for a file that has neither. */
#ifndef CANVAS_H
#define CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum paint {
	PLAIN,
	BOLD,
	CHOSEN,
	FAINT,
	GOOD,
	WARNING,
	BAD,
	FAINT_BLOCK, /* and what is behind it instead of it */
	GOOD_BLOCK,
	WARNING_BLOCK,
	BAD_BLOCK
};

struct canvas {
	FILE *f;
	bool colour;
};

void canvas_put(const struct canvas *, enum paint, const char *text);
/* A line that was put elsewhere: its first columns; 0: all. */
void canvas_put_cut(const struct canvas *, const char *line, size_t len, unsigned columns);

/* Of rows, each ending in '\n', as many as there is room for from the one that is scrolled to, then
 * empty lines down to room.  Puts *scroll into its limits; returns the number of rows. */
size_t canvas_put_rows(const struct canvas *, const char *rows, size_t room, unsigned *scroll);
/* A line of keys and what they do; with the place in rows, if there are more than there is room. */
void canvas_put_keys(const struct canvas *, const char *const (*keys)[2], size_t nkeys);
void canvas_put_place(const struct canvas *, bool utf8, size_t rows, size_t room, unsigned scroll);
/* What of a picture fits; 0: all.  The last line does not end, as that would scroll.  To be freed;
 * NULL: out of memory. */
char *canvas_cut(const char *picture, bool colour, unsigned columns, unsigned lines);

#endif

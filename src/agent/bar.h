/* SPDX-License-Identifier: Apache-2.0 */
/* Bars in the picture of "godwit-agent top". */
#ifndef BAR_H
#define BAR_H

#include "command/canvas.h"

struct bar {
	const struct canvas *canvas;
	unsigned width; /* characters */
	bool utf8;
	double whole; /* what all of the width means */
	double at; /* so far */
	unsigned column; /* so far */
};

/* A part of it, with a name if there is room: as wide as up to where it ends in the whole. */
void bar_part(struct bar *, enum paint paint, const char *name, double n);
/* What is left of it. */
void bar_end(struct bar *);

#endif

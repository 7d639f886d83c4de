/* SPDX-License-Identifier: Apache-2.0 */
/* Text for a terminal that has colours and an edge, or for a file that has neither. */
#ifndef CANVAS_H
#define CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum paint { PLAIN, BOLD, CHOSEN, FAINT, GOOD, WARNING, BAD };

struct canvas {
	FILE *f;
	bool colour;
};

void canvas_put(const struct canvas *, enum paint, const char *text);
/* A line that was put elsewhere: its first columns; 0: all. */
void canvas_put_cut(const struct canvas *, const char *line, size_t len, unsigned columns);

#endif

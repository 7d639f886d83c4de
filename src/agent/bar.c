/* SPDX-License-Identifier: Apache-2.0 */
#include "bar.h"

#include <math.h>
#include <string.h>

#include "bits.h"

enum { CHARACTER = 4 }; /* bytes of one, at most */

/* A block of colour needs nothing in it to be seen. */
static const char *filling(const struct bar *b)
{
	if (b->canvas->colour)
		return " ";
	return b->utf8 ? "▒" : "=";
}

void bar_part(struct bar *b, enum paint paint, const char *name, double n)
{
	char text[CHARACTER * 512 + 1] = "", letter[2] = "";
	unsigned end, width;

	b->at += isnan(n) ? 0 : n;
	end = b->whole > 0 ? (unsigned)(MIN(MAX(b->at / b->whole, 0), 1) * b->width + 0.5) : 0;
	width = MIN(end - MIN(end, b->column), 512U);
	for (unsigned i = 0; i + 1 < width; i++) {
		letter[0] = *name > ' ' && *name <= '~' ? *name : '?';
		strcat(text, *name ? letter : filling(b));
		name += *name != '\0';
	}
	if (width)
		strcat(text, b->utf8 ? "│" : "|");
	canvas_put(b->canvas, paint, text);
	b->column += width;
}

void bar_end(struct bar *b)
{
	for (; b->column < b->width; b->column++)
		canvas_put(b->canvas, FAINT, b->utf8 ? "·" : ".");
}

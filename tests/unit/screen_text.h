/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a screen a text takes. */
#ifndef SCREEN_TEXT_H
#define SCREEN_TEXT_H

#include <string.h>

#include "bits.h"

/* Characters in the widest line, not counting what paints. */
static inline unsigned width_of(const char *text)
{
	unsigned widest = 0, width = 0;

	for (; *text; text++) {
		if (*text == '\033')
			text += strcspn(text, "m");
		else if (*text == '\n')
			width = 0;
		else if (((unsigned char)*text & 0xc0) != 0x80)
			width++;
		widest = MAX(widest, width);
	}
	return widest;
}

static inline unsigned lines_of(const char *text)
{
	unsigned n = 1;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "command/canvas.h"

enum { ESCAPE = 0x1b };

/* ECMA-48, 8.3.117: select graphic rendition */
static const char *const paints[] = {
	[PLAIN] = "\033[0m", [BOLD] = "\033[1m",     [CHOSEN] = "\033[1;4m", [FAINT] = "\033[2m",
	[GOOD] = "\033[32m", [WARNING] = "\033[33m", [BAD] = "\033[31m",
};

void canvas_put(const struct canvas *c, enum paint paint, const char *text)
{
	bool painted = c->colour && paint != PLAIN;

	fprintf(c->f, "%s%s%s", painted ? paints[paint] : "", text, painted ? paints[PLAIN] : "");
}

/* In UTF-8 every byte but these begins a character. */
static bool continues(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

void canvas_put_cut(const struct canvas *c, const char *line, size_t len, unsigned columns)
{
	unsigned column = 0;
	bool paint = false;

	for (size_t i = 0; i < len; i++) {
		paint |= line[i] == ESCAPE;
		if (!paint && !continues(line[i]) && columns && ++column > columns) {
			canvas_put(c, PLAIN, c->colour ? paints[PLAIN] : "");
			return;
		}
		fputc(line[i], c->f);
		paint &= line[i] != 'm';
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "bits.h"
#include "command/canvas.h"

enum { ESCAPE = 0x1b };

/* ECMA-48, 8.3.117: select graphic rendition */
static const char *const paints[] = {
	[PLAIN] = "\033[0m",         [BOLD] = "\033[1m",
	[CHOSEN] = "\033[1;4m",      [FAINT] = "\033[2m",
	[GOOD] = "\033[32m",         [WARNING] = "\033[33m",
	[BAD] = "\033[31m",          [FAINT_BLOCK] = "\033[7;2m",
	[GOOD_BLOCK] = "\033[7;32m", [WARNING_BLOCK] = "\033[7;33m",
	[BAD_BLOCK] = "\033[7;31m",
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

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static const char *skip_lines(const char *text, size_t n)
{
	for (; n && *text; text++)
		n -= *text == '\n';
	return text;
}

size_t canvas_put_rows(const struct canvas *c, const char *rows, size_t room, unsigned *scroll)
{
	size_t n = count_lines(rows);
	const char *from, *to;

	*scroll = MIN(*scroll, (unsigned)(n - MIN(n, room)));
	from = skip_lines(rows, *scroll);
	to = skip_lines(from, room);
	fwrite(from, 1, (size_t)(to - from), c->f);
	for (size_t i = MIN(n, room); i < room; i++)
		fputc('\n', c->f);
	return n;
}

void canvas_put_keys(const struct canvas *c, const char *const (*keys)[2], size_t nkeys)
{
	for (size_t i = 0; i < nkeys; i++) {
		fputs(i ? "   " : "", c->f);
		canvas_put(c, BOLD, keys[i][0]);
		fprintf(c->f, " %s", keys[i][1]);
	}
}

void canvas_put_place(const struct canvas *c, bool utf8, size_t rows, size_t room, unsigned scroll)
{
	if (rows <= room)
		return;
	fputs("   ", c->f);
	canvas_put(c, BOLD, utf8 ? "↑↓" : "arrows");
	fprintf(c->f, " line %u of %zu", scroll + 1, rows);
}

char *canvas_cut(const char *picture, bool colour, unsigned columns, unsigned lines)
{
	struct canvas c = { .colour = colour };
	char *out = NULL;
	size_t len, n = 0;

	c.f = open_memstream(&out, &len);
	if (!c.f)
		return NULL;
	for (;;) {
		size_t line = strcspn(picture, "\n");

		canvas_put_cut(&c, picture, line, columns);
		picture += line;
		if (!*picture || (lines && ++n == lines))
			break;
		fputc(*picture++, c.f);
	}
	fclose(c.f);
	return out;
}

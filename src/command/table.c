/* SPDX-License-Identifier: Apache-2.0 */
#include "command/table.h"

#include <string.h>

#include "bits.h"

enum { GAP = 2 };

/* In characters of UTF-8. */
static int width_of(const char *text, size_t len)
{
	int width = 0;

	for (size_t i = 0; i < len; i++)
		width += ((unsigned char)text[i] & 0xc0) != 0x80;
	return width;
}

/* The cell behind the one at text, which is len long; NULL: that was the last of its row. */
static const char *next_cell(const char *text, size_t *len)
{
	const char *next = text[*len] == '\t' ? text + *len + 1 : NULL;

	*len = next ? strcspn(next, "\t\n") : 0;
	return next;
}

static void measure(const char *rows, int *widths)
{
	while (*rows) {
		size_t len = strcspn(rows, "\t\n"), i = 0;

		for (const char *cell = rows; cell; cell = next_cell(cell, &len), i++)
			widths[i] = MAX(widths[i], width_of(cell, len));
		rows += strcspn(rows, "\n");
		rows += *rows == '\n';
	}
}

static void put_row(const struct canvas *c, enum paint paint, const char *row, const int *widths,
		    const char *sides)
{
	size_t len = strcspn(row, "\t\n");
	int space = 0;
	char text[1024];

	for (unsigned i = 0; row; row = next_cell(row, &len), i++) {
		int room = widths[i] - width_of(row, len);

		snprintf(text, sizeof(text), "%.*s", (int)len, row);
		space += sides[i] == 'r' ? room : 0;
		if (len) {
			fprintf(c->f, "%*s", space, "");
			canvas_put(c, paint, text);
			space = 0;
		}
		space += GAP + (sides[i] == 'r' ? 0 : room);
	}
	fputc('\n', c->f);
}

void table_put(const struct canvas *c, const char *rows, const char *sides)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };
	enum paint paint = BOLD;

	measure(rows, widths);
	for (; *rows; rows += strcspn(rows, "\n"), rows += *rows == '\n') {
		put_row(c, paint, rows, widths, sides);
		paint = PLAIN;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "top_columns.h"
#include "top_draw.h"
#include "command/units.h"

enum { NAME_MIN = 8, NAME_MAX = 24, FRAME_LINES = 4 };

static int longest_name(struct vm_rates **vms, size_t n, const struct top_view *view)
{
	size_t longest = NAME_MIN;

	for (size_t i = 0; i < n; i++)
		longest = MAX(longest, strlen(vms[i]->name));
	return (int)(view->lines ? MIN(longest, NAME_MAX) : longest);
}

static double sum(struct vm_rates **vms, size_t n, size_t offset)
{
	double total = 0;

	for (size_t i = 0; i < n; i++) {
		double part = *(const double *)((const char *)vms[i] + offset);

		total += isnan(part) ? 0 : part;
	}
	return total;
}

#define SUM(m) sum(vms, n, offsetof(struct vm_rates, m))

/* The table: titles, and all rows whether there is room or not */

static bool show_vcpus(struct vm_rates **vms, size_t n, const struct top_view *view)
{
	size_t lines = n + FRAME_LINES;

	for (size_t i = 0; i < n; i++)
		lines += vms[i]->nvcpus;
	return view->vcpus == TOP_VCPUS_ON ||
	       (view->vcpus == TOP_VCPUS_FIT && (!view->lines || lines <= view->lines));
}

static void put_rows(const struct top_columns *c, struct vm_rates **vms, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		top_columns_vm(c, vms[i]);
		for (unsigned k = 0; c->view->vcpus_shown && k < vms[i]->nvcpus; k++)
			top_columns_vcpu(c, &vms[i]->vcpu[k]);
	}
	if (!n)
		fputs("No VM is running.\n", c->canvas.f);
}

static char *draw_table(struct vm_rates **vms, size_t n, struct top_view *view)
{
	struct top_columns c = { .canvas.colour = view->colour,
				 .view = view,
				 .any_throttled = SUM(throttled) > 0 };
	char *text = NULL;
	size_t len;

	c.canvas.f = open_memstream(&text, &len);
	if (!c.canvas.f)
		return NULL;
	view->vcpus_shown = show_vcpus(vms, n, view);
	top_columns_fit(&c, longest_name(vms, n, view));
	top_columns_titles(&c);
	put_rows(&c, vms, n);
	fclose(c.canvas.f);
	return text;
}

/* The frame: what all do together, and the keys */

static void put_bytes(FILE *f, const char *before, double bytes)
{
	char text[UNITS_TEXT];

	units_bytes(text, bytes);
	fprintf(f, "%s%s", before, text);
}

static void put_summary(const struct canvas *c, struct vm_rates **vms, size_t n,
			const struct top_view *view)
{
	canvas_put(c, BOLD, "godwit top");
	fprintf(c->f, "   %zu VM%s   CPU %.0f%%   steal %.0f%%", n, n == 1 ? "" : "s",
		SUM(cpu) * 100, SUM(steal) * 100);
	put_bytes(c->f, "   memory ", SUM(given));
	put_bytes(c->f, ", resident ", SUM(resident));
	if (SUM(swapped) > 0)
		put_bytes(c->f, ", swapped ", SUM(swapped));
	if (view->paused)
		canvas_put(c, WARNING, "   paused");
	fputs("\n\n", c->f);
}

static void put_keys(const struct canvas *c, size_t lines, size_t room, const struct top_view *view)
{
	static const char *const keys[][2] = { { "q", "quit" },     { "c", "CPU" },
					       { "m", "memory" },   { "d", "disk" },
					       { "n", "network" },  { "v", "vCPUs" },
					       { "space", "pause" } };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		fputs(i ? "   " : "", c->f);
		canvas_put(c, BOLD, keys[i][0]);
		fprintf(c->f, " %s", keys[i][1]);
	}
	if (lines <= room)
		return;
	fputs("   ", c->f);
	canvas_put(c, BOLD, view->utf8 ? "↑↓" : "arrows");
	fprintf(c->f, " line %u of %zu", view->scroll + 1, lines);
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

/* The table's titles and the rows that are scrolled to, then empty lines down to the keys. */
static void put_screen(const struct canvas *c, const char *table, struct vm_rates **vms, size_t n,
		       struct top_view *view)
{
	size_t room = MAX(view->lines, FRAME_LINES + 1) - FRAME_LINES;
	size_t lines = count_lines(table) - 1;
	const char *rows = skip_lines(table, 1), *from, *to;

	view->scroll = MIN(view->scroll, (unsigned)(lines - MIN(lines, room)));
	from = skip_lines(rows, view->scroll);
	to = skip_lines(from, room);
	put_summary(c, vms, n, view);
	fwrite(table, 1, (size_t)(rows - table), c->f);
	fwrite(from, 1, (size_t)(to - from), c->f);
	for (size_t i = MIN(lines, room); i < room; i++)
		fputc('\n', c->f);
	put_keys(c, lines, room, view);
}

static char *draw_screen(const char *table, struct vm_rates **vms, size_t n, struct top_view *view)
{
	struct canvas c = { .colour = view->colour };
	char *text = NULL;
	size_t len;

	c.f = open_memstream(&text, &len);
	if (!c.f)
		return NULL;
	put_screen(&c, table, vms, n, view);
	fclose(c.f);
	return text;
}

/* What fits in width and height; the last line does not end, as that would scroll. */
static char *cut(const char *text, const struct top_view *view)
{
	struct canvas c = { .colour = view->colour };
	char *out = NULL;
	size_t len, lines = 0;

	c.f = open_memstream(&out, &len);
	if (!c.f)
		return NULL;
	for (;;) {
		size_t line = strcspn(text, "\n");

		canvas_put_cut(&c, text, line, view->columns);
		text += line;
		if (!*text || (view->lines && ++lines == view->lines))
			break;
		fputc(*text++, c.f);
	}
	fclose(c.f);
	return out;
}

char *top_draw(struct vm_rates **vms, size_t n, struct top_view *view)
{
	CLEANUP(free) char *table = NULL, *screen = NULL;

	top_rates_sort(vms, n, view->order);
	table = draw_table(vms, n, view);
	if (!view->lines || !table)
		return table ? cut(table, view) : NULL;
	screen = draw_screen(table, vms, n, view);
	return screen ? cut(screen, view) : NULL;
}

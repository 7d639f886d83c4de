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

static const char *const keys[][2] = { { "q", "quit" },     { "c", "CPU" },     { "m", "memory" },
				       { "d", "disk" },     { "n", "network" }, { "v", "vCPUs" },
				       { "space", "pause" } };

/* The table's titles and the rows that are scrolled to, then empty lines down to the keys. */
static void put_screen(const struct canvas *c, const char *table, struct vm_rates **vms, size_t n,
		       struct top_view *view)
{
	size_t room = MAX(view->lines, FRAME_LINES + 1) - FRAME_LINES, lines;
	size_t titles = strcspn(table, "\n") + 1;

	put_summary(c, vms, n, view);
	fwrite(table, 1, titles, c->f);
	lines = canvas_put_rows(c, table + titles, room, &view->scroll);
	canvas_put_keys(c, keys, ARRAY_SIZE(keys));
	canvas_put_place(c, view->utf8, lines, room, view->scroll);
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

char *top_draw(struct vm_rates **vms, size_t n, struct top_view *view)
{
	CLEANUP(free) char *table = NULL, *screen = NULL;

	top_rates_sort(vms, n, view->order);
	table = draw_table(vms, n, view);
	if (!view->lines || !table)
		return table ? canvas_cut(table, view->colour, view->columns, 0) : NULL;
	screen = draw_screen(table, vms, n, view);
	return screen ? canvas_cut(screen, view->colour, view->columns, view->lines) : NULL;
}

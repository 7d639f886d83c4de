/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "bits.h"
#include "top_columns.h"
#include "command/units.h"

enum { LEVELS = 9, KINDS_SHOWN = 5, NO_ORDER = -1 };

enum cell { CELL_NAME, CELL_STATE, CELL_VCPUS, CELL_GRAPH, CELL_PART, CELL_COUNT, CELL_BYTES };

#define VM(m) offsetof(struct vm_rates, m), 0
#define BOTH(m) offsetof(struct vm_rates, m), offsetof(struct vcpu_rates, m)

static const struct column {
	const char *title;
	int width;
	unsigned rank; /* the higher are the first to go */
	enum cell cell;
	size_t vm, vcpu; /* where the number is; 0: there is none */
	int order; /* enum top_order: the number that sorts so */
} columns[] = {
	{ "NAME", 0, 0, CELL_NAME, 0, 0, NO_ORDER },
	{ "STATE", 9, 4, CELL_STATE, 0, 0, NO_ORDER },
	{ "VCPUS", 5, 8, CELL_VCPUS, 0, 0, NO_ORDER },
	{ "CPU%", 5, 0, CELL_PART, BOTH(cpu), TOP_BY_CPU },
	{ "", TOP_HISTORY, 6, CELL_GRAPH, 0, 0, NO_ORDER },
	{ "STEAL%", 6, 7, CELL_PART, BOTH(steal), NO_ORDER },
	{ "THROTTLED%", 10, 1, CELL_PART, BOTH(throttled), NO_ORDER },
	{ "EXITS/s", 7, 5, CELL_COUNT, BOTH(exits), NO_ORDER },
	{ "MEMORY", 6, 2, CELL_BYTES, VM(given), NO_ORDER },
	{ "RESIDENT", 8, 1, CELL_BYTES, VM(resident), TOP_BY_MEMORY },
	{ "SWAPPED", 7, 9, CELL_BYTES, VM(swapped), NO_ORDER },
	{ "DIRTY/s", 7, 9, CELL_BYTES, VM(dirty_rate), NO_ORDER },
	{ "READ/s", 6, 3, CELL_BYTES, VM(read_bytes), TOP_BY_DISK },
	{ "WRITE/s", 7, 3, CELL_BYTES, VM(write_bytes), TOP_BY_DISK },
	{ "READS/s", 7, 10, CELL_COUNT, VM(read_ops), NO_ORDER },
	{ "WRITES/s", 8, 10, CELL_COUNT, VM(write_ops), NO_ORDER },
	{ "RX/s", 5, 3, CELL_BYTES, VM(rx_bytes), TOP_BY_NET },
	{ "TX/s", 5, 3, CELL_BYTES, VM(tx_bytes), TOP_BY_NET },
};

static double number_at(const void *row, size_t offset)
{
	return *(const double *)((const char *)row + offset);
}

/* Cells: each as wide as its column */

static void put_right(const struct top_columns *c, const struct column *col, enum paint paint,
		      const char *text)
{
	char cell[UNITS_TEXT];

	snprintf(cell, sizeof(cell), "%*s", col->width, text);
	canvas_put(&c->canvas, paint, cell);
}

static void put_left(const struct top_columns *c, const struct column *col, enum paint paint,
		     const char *text)
{
	char cell[UNITS_TEXT];

	snprintf(cell, sizeof(cell), "%-*.*s", col->width, col->width, text);
	canvas_put(&c->canvas, paint, cell);
}

static void put_part(const struct top_columns *c, const struct column *col, double part)
{
	bool much = col->vm == offsetof(struct vm_rates, steal) && part >= 0.1;
	char text[UNITS_TEXT] = "-";

	if (!isnan(part))
		snprintf(text, sizeof(text), part < 9.9995 ? "%.1f" : "%.0f", part * 100);
	put_right(c, col, much ? WARNING : PLAIN, text);
}

static void put_number(const struct top_columns *c, const struct column *col, double n)
{
	char text[UNITS_TEXT];

	units_short(text, n, col->cell == CELL_BYTES ? 1024 : 1000);
	put_right(c, col, PLAIN, text);
}

static void put_history(const struct top_columns *c, const double *history)
{
	static const char *const levels[2][LEVELS] = {
		{ " ", ".", ":", "-", "=", "+", "*", "#", "@" },
		{ " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" },
	};
	char text[4 * TOP_HISTORY + 1] = "";

	for (unsigned i = 0; i < TOP_HISTORY; i++) {
		double part = isnan(history[i]) ? 0 : MIN(MAX(history[i], 0), 1);

		/* Little is not nothing. */
		strcat(text, levels[c->view->utf8][(int)ceil(part * (LEVELS - 1) - 0.05)]);
	}
	canvas_put(&c->canvas, GOOD, text);
}

static void put_bar(const struct top_columns *c, double part)
{
	static const char *const ends[] = { " ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };
	int eighths = isnan(part) ? 0 : (int)(MIN(MAX(part, 0), 1) * 8 * TOP_HISTORY + 0.5);
	char text[4 * TOP_HISTORY + 1] = "";

	for (unsigned i = 0; i < TOP_HISTORY; i++, eighths -= 8)
		strcat(text, c->view->utf8 ? ends[MIN(MAX(eighths, 0), 8)]
			     : eighths > 3 ? "#"
					   : " ");
	canvas_put(&c->canvas, GOOD, text);
}

static void put_name(const struct top_columns *c, enum paint paint, const char *name, int indent)
{
	char text[128];

	snprintf(text, sizeof(text), "%*s%-*.*s", indent, "", c->name_width - indent,
		 c->name_width - indent, name);
	canvas_put(&c->canvas, paint, text);
}

static void put_state(const struct top_columns *c, const struct column *col,
		      const struct vm_rates *vm)
{
	enum paint paint = strcmp(vm->state, "Running") ? WARNING : PLAIN;

	put_left(c, col, vm->answers ? paint : BAD, vm->answers ? vm->state : "No answer");
}

/* Which there is room for */

static bool is_shown(const struct top_columns *c, size_t i)
{
	return c->shown & BIT(i);
}

static int width_of(const struct top_columns *c)
{
	int width = c->name_width;

	for (size_t i = 1; i < ARRAY_SIZE(columns); i++)
		width += is_shown(c, i) ? c->gap + columns[i].width : 0;
	return width;
}

static bool fits(const struct top_columns *c)
{
	return !c->view->columns || width_of(c) <= (int)c->view->columns;
}

/* A plain table is one look, which has no history; and hardly ever is a VM being throttled. */
static bool says_something(const struct top_columns *c, const struct column *col)
{
	if (col->vm == offsetof(struct vm_rates, throttled))
		return c->any_throttled;
	return c->view->lines || col->cell != CELL_GRAPH;
}

static void show_to(struct top_columns *c, unsigned rank)
{
	c->shown = 0;
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (columns[i].rank <= rank && says_something(c, &columns[i]))
			c->shown |= (uint32_t)BIT(i);
}

void top_columns_fit(struct top_columns *c, int name_width)
{
	unsigned rank = ARRAY_SIZE(columns);

	c->name_width = name_width;
	c->gap = 1;
	do
		show_to(c, rank);
	while (!fits(c) && rank--);
	c->gap = 2;
	if (!fits(c))
		c->gap = 1;
}

/* Lines */

static void put_gap(const struct top_columns *c, size_t column)
{
	if (column)
		fprintf(c->canvas.f, "%*s", c->gap, "");
}

void top_columns_titles(const struct top_columns *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		const struct column *col = &columns[i];
		enum paint paint = col->order == (int)c->view->order ? CHOSEN : BOLD;

		if (!is_shown(c, i))
			continue;
		put_gap(c, i);
		if (col->cell == CELL_NAME)
			put_name(c, paint, col->title, 0);
		else if (col->cell == CELL_STATE)
			put_left(c, col, paint, col->title);
		else
			put_right(c, col, paint, col->title);
	}
	fputc('\n', c->canvas.f);
}

static void put_vm_cell(const struct top_columns *c, const struct column *col,
			const struct vm_rates *vm)
{
	switch (col->cell) {
	case CELL_NAME:
		put_name(c, BOLD, vm->name, 0);
		break;
	case CELL_STATE:
		put_state(c, col, vm);
		break;
	case CELL_VCPUS:
		put_number(c, col, vm->nvcpus ? vm->nvcpus : NAN);
		break;
	case CELL_GRAPH:
		put_history(c, vm->history);
		break;
	case CELL_PART:
		put_part(c, col, number_at(vm, col->vm));
		break;
	default:
		put_number(c, col, number_at(vm, col->vm));
	}
}

void top_columns_vm(const struct top_columns *c, const struct vm_rates *vm)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		if (!is_shown(c, i))
			continue;
		put_gap(c, i);
		put_vm_cell(c, &columns[i], vm);
	}
	fputc('\n', c->canvas.f);
}

static void put_vcpu_cell(const struct top_columns *c, const struct column *col,
			  const struct vcpu_rates *vcpu)
{
	switch (col->cell) {
	case CELL_NAME:
		put_name(c, FAINT, vcpu->id, 2);
		break;
	case CELL_GRAPH:
		put_bar(c, vcpu->cpu);
		break;
	case CELL_PART:
		put_part(c, col, number_at(vcpu, col->vcpu));
		break;
	case CELL_COUNT:
		put_number(c, col, number_at(vcpu, col->vcpu));
		break;
	default:
		put_right(c, col, PLAIN, "");
	}
}

static void put_kinds(const struct top_columns *c, const struct vcpu_rates *vcpu)
{
	char text[128], n[UNITS_TEXT];

	for (unsigned i = 0; i < MIN(vcpu->nkinds, KINDS_SHOWN) && vcpu->kind[i].rate > 0; i++) {
		units_short(n, vcpu->kind[i].rate, 1000);
		snprintf(text, sizeof(text), "  %s %s", vcpu->kind[i].kind, n);
		canvas_put(&c->canvas, FAINT, text);
	}
}

/* What a vCPU has no number for begins with the first bytes: there is room for its exits. */
void top_columns_vcpu(const struct top_columns *c, const struct vcpu_rates *vcpu)
{
	for (size_t i = 0; columns[i].cell != CELL_BYTES; i++) {
		if (!is_shown(c, i))
			continue;
		put_gap(c, i);
		put_vcpu_cell(c, &columns[i], vcpu);
	}
	put_kinds(c, vcpu);
	fputc('\n', c->canvas.f);
}

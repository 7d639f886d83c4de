/* SPDX-License-Identifier: Apache-2.0 */
#include "picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "bits.h"
#include "cleanup.h"
#include "command/table.h"
#include "command/units.h"
#include "status_text.h"

enum {
	NAME_MAX_WIDTH = 24,
	BAR_MIN = 10,
	BAR_WIDE = 60,
	BAR_MAX = 200,
	BESIDE_BAR = 34, /* what stands before and behind one */
	BESIDE_SHORT_BAR = 42, /* and the host's name */
	PROGRESS_WIDTH = 16,
	ALERTS_MAX = 3,
	FLIGHTS_MAX = 4,
	VMS_MIN = 3,
	VMS_MAX = 10,
	HOST_LINES = 3,
	FRAME_LINES = 3, /* the summary, an empty line, and keys */
};

struct drawing {
	struct canvas canvas;
	const struct status_view *s;
	const struct picture *p;
	unsigned name_width, vms_shown;
};

/* What a VM gets of what it asks for is good, less, or bad. */
static enum paint paint_of(double happiness, enum paint good, enum paint less, enum paint bad)
{
	if (isnan(happiness) || happiness >= 0.9)
		return good;
	return happiness >= 0.7 ? less : bad;
}

static void put_part(const struct drawing *d, const char *before, double part, enum paint paint)
{
	char text[16], padded[32];

	status_text_part(text, part);
	fputs(before, d->canvas.f);
	snprintf(padded, sizeof(padded), "%4s", text);
	canvas_put(&d->canvas, paint, padded);
}

static void put_units(const struct drawing *d, const char *before, double n, unsigned step)
{
	char text[UNITS_TEXT];

	units_short(text, n, step);
	fprintf(d->canvas.f, "%s%*s", before, UNITS_SHORT, text);
}

static void put_cores(const struct drawing *d, const char *before, double cores)
{
	char text[UNITS_TEXT];

	units_cores(text, cores);
	fprintf(d->canvas.f, "%s%*s", before, UNITS_SHORT, text);
}

/* Hosts */

static struct bar begin_bar(const struct drawing *d, unsigned beside, double whole)
{
	unsigned columns = d->p->columns ? d->p->columns : beside + BAR_WIDE;

	return (struct bar){ .canvas = &d->canvas,
			     .width = MIN(MAX(columns, beside + BAR_MIN) - beside,
					  (unsigned)BAR_MAX),
			     .utf8 = d->p->utf8,
			     .whole = whole };
}

static void put_cpu_bar(const struct drawing *d, const struct host_view *h, struct bar bar)
{
	const struct vm_view *vm = status_view_vms(d->s, h);

	for (unsigned i = 0; i < h->nvms; i++)
		bar_part(&bar, paint_of(vm[i].happiness, GOOD_BLOCK, WARNING_BLOCK, BAD_BLOCK),
			 vm[i].name, vm[i].vcpus * vm[i].run);
	if (h->use * h->cores > h->run)
		bar_part(&bar, FAINT_BLOCK, "host", h->use * h->cores - h->run);
	bar_end(&bar);
}

static void put_memory_bar(const struct drawing *d, const struct host_view *h, struct bar bar)
{
	const struct vm_view *vm = status_view_vms(d->s, h);
	double taken = h->memory - h->available;
	enum paint paint = h->available < h->reserve ? BAD_BLOCK : GOOD_BLOCK;

	for (unsigned i = 0; i < h->nvms; i++)
		bar_part(&bar, paint, vm[i].name, vm[i].resident);
	if (taken > h->resident)
		bar_part(&bar, FAINT_BLOCK, "host", taken - h->resident);
	bar_end(&bar);
}

static void put_name(const struct drawing *d, const struct host_view *h)
{
	char name[NAME_MAX_WIDTH + 1];

	snprintf(name, sizeof(name), "%-*.*s", (int)d->name_width, (int)d->name_width, h->id);
	canvas_put(&d->canvas, BOLD, name);
}

static void put_state(const struct drawing *d, const struct host_view *h)
{
	bool up = !strcmp(h->state, "up");

	fputs(up ? "" : "  ", d->canvas.f);
	canvas_put(&d->canvas, strcmp(h->state, "dead") ? WARNING : BAD, up ? "" : h->state);
}

static void put_host(const struct drawing *d, const struct host_view *h)
{
	FILE *f = d->canvas.f;

	put_name(d, h);
	put_cores(d, "  ", h->cores);
	put_units(d, " cores ", h->vcpus, 1000);
	fprintf(f, " vCPUs %4u VM%s", h->nvms, h->nvms == 1 ? " " : "s");
	put_part(d, "  happy ", h->happiness, paint_of(h->happiness, PLAIN, WARNING, BAD));
	put_state(d, h);
	fputs("\n  CPU ", f);
	put_cpu_bar(d, h, begin_bar(d, BESIDE_BAR, h->cores));
	put_part(d, " ", h->use, PLAIN);
	/* What they wait for, too: more than all is more than there is. */
	put_part(d, ", asked for ", (h->run + h->delay) / h->cores, PLAIN);
	fputs("\n  mem ", f);
	put_memory_bar(d, h, begin_bar(d, BESIDE_BAR, h->memory));
	put_units(d, " ", h->memory - h->available, 1024);
	put_units(d, " of ", h->memory, 1024);
	put_units(d, ", given ", h->given, 1024);
	fputc('\n', f);
}

static void put_short_host(const struct drawing *d, const struct host_view *h)
{
	put_name(d, h);
	fputc(' ', d->canvas.f);
	put_cpu_bar(d, h, begin_bar(d, BESIDE_SHORT_BAR + d->name_width, h->cores));
	put_part(d, " CPU ", h->use, PLAIN);
	put_part(d, "  mem ", (h->memory - h->available) / h->memory,
		 h->available < h->reserve ? BAD : PLAIN);
	put_part(d, "  happy ", h->happiness, paint_of(h->happiness, PLAIN, WARNING, BAD));
	put_state(d, h);
	fputc('\n', d->canvas.f);
}

static void put_hosts(const struct drawing *d)
{
	for (size_t i = 0; i < d->s->nhosts; i++)
		put_host(d, &d->s->host[i]);
}

static void put_short_hosts(const struct drawing *d)
{
	for (size_t i = 0; i < d->s->nhosts; i++)
		put_short_host(d, &d->s->host[i]);
}

/* What stands around them */

static void put_head(const struct drawing *d)
{
	FILE *f = d->canvas.f;
	char who[256];

	canvas_put(&d->canvas, BOLD, "godwit-agent top");
	if (d->p->paused)
		canvas_put(&d->canvas, WARNING, "   paused");
	else if (d->p->silent)
		canvas_put(&d->canvas, BAD, "   the agent does not answer");
	fprintf(f, "   %zu host%s   %zu VM%s", d->s->nhosts, d->s->nhosts == 1 ? "" : "s",
		d->s->nvms, d->s->nvms == 1 ? "" : "s");
	put_part(d, "   happy ", d->s->happiness, paint_of(d->s->happiness, PLAIN, WARNING, BAD));
	status_text_who(who, sizeof(who), d->s);
	fprintf(f, "   %s", who);
	fputc('\n', f);
	for (size_t i = 0; i < MIN(d->s->nalerts, (size_t)ALERTS_MAX); i++) {
		canvas_put(&d->canvas, WARNING, d->s->alert[i]);
		fputc('\n', f);
	}
	fputc('\n', f);
}

static void put_flight(const struct drawing *d, const struct flight_view *flight)
{
	struct bar bar = { .canvas = &d->canvas, .width = PROGRESS_WIDTH, .utf8 = d->p->utf8 };
	double took = MAX((double)d->p->now - flight->since, 0);
	char text[256];

	bar.whole = took + flight->left_s;
	fprintf(d->canvas.f, "  %-16s ", flight->vm);
	bar_part(&bar, GOOD_BLOCK, "", isnan(bar.whole) ? 0 : took);
	bar_end(&bar);
	status_text_flight(text, sizeof(text), flight, d->p->now);
	fprintf(d->canvas.f, "  %s\n", text);
}

static void put_flights(const struct drawing *d)
{
	size_t shown = MIN(d->s->nflights, (size_t)FLIGHTS_MAX);

	if (!shown)
		return;
	canvas_put(&d->canvas, BOLD, "\nON THEIR WAY");
	if (d->s->nflights > shown)
		fprintf(d->canvas.f, " (%zu of %zu)", shown, d->s->nflights);
	fputc('\n', d->canvas.f);
	for (size_t i = 0; i < shown; i++)
		put_flight(d, &d->s->flight[i]);
}

static int by_happiness(const void *a, const void *b)
{
	const struct vm_view *x = *(const struct vm_view *const *)a,
			     *y = *(const struct vm_view *const *)b;

	if (x->happiness != y->happiness)
		return x->happiness < y->happiness ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void put_least(const struct vm_view *v, FILE *f)
{
	const double parts[] = { v->happiness, v->run, v->delay, v->throttled };
	char text[UNITS_TEXT];

	fprintf(f, "%s\t%s", v->name, v->host);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		status_text_part(text, parts[i]);
		fprintf(f, "\t%s", text);
	}
	units_short(text, v->vcpus, 1000);
	fprintf(f, "\t%s\t%s\n", text, v->why);
}

/* Those that get least of what they ask for. */
static void put_vms(const struct drawing *d)
{
	CLEANUP(free) const struct vm_view **vm = calloc(d->s->nvms + 1, sizeof(*vm));
	CLEANUP(free) char *rows = NULL;
	size_t n = 0, len;
	FILE *f = open_memstream(&rows, &len);

	for (size_t i = 0; vm && i < d->s->nvms; i++)
		if (!isnan(d->s->vm[i].happiness))
			vm[n++] = &d->s->vm[i];
	if (n)
		qsort(vm, n, sizeof(*vm), by_happiness);
	if (f)
		fputs("LEAST HAPPY\tHOST\tHAPPY\tRUN\tDELAY\tTHROTTLED\tVCPUS\tWHY\n", f);
	for (size_t i = 0; f && i < MIN(n, (size_t)d->vms_shown); i++)
		put_least(vm[i], f);
	if (f)
		fclose(f);
	if (!f || !n)
		return;
	fputc('\n', d->canvas.f);
	table_put(&d->canvas, rows, "llrrrrrl");
}

/* All of it */

static char *draw_part(struct drawing *d, void (*put)(const struct drawing *))
{
	char *text = NULL;
	size_t len;

	d->canvas.f = open_memstream(&text, &len);
	if (!d->canvas.f)
		return NULL;
	put(d);
	fclose(d->canvas.f);
	return text;
}

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* VMs have what hosts leave, and never none. */
static unsigned vms_shown(const struct drawing *d, size_t other_lines)
{
	size_t taken = other_lines + FRAME_LINES + HOST_LINES * d->s->nhosts;

	if (!d->p->lines)
		return VMS_MAX;
	return (unsigned)MIN(MAX(d->p->lines, taken + VMS_MIN) - taken, (size_t)VMS_MAX);
}

static void put_screen(struct drawing *d, struct picture *p, const char *const parts[4], FILE *f)
{
	static const char *const keys[][2] = { { "q", "quit" }, { "space", "pause" } };
	size_t taken = lines_of(parts[0]) + lines_of(parts[2]) + lines_of(parts[3]) + 1;
	size_t room = MAX(p->lines, taken + 1) - taken, n;

	d->canvas.f = f;
	fputs(parts[0], f);
	n = canvas_put_rows(&d->canvas, parts[1], room, &p->scroll);
	fputs(parts[2], f);
	fputs(parts[3], f);
	canvas_put_keys(&d->canvas, keys, ARRAY_SIZE(keys));
	canvas_put_place(&d->canvas, p->utf8, n, room, p->scroll);
}

static char *compose(struct drawing *d, struct picture *p, const char *const parts[4])
{
	CLEANUP(free) char *whole = NULL;
	size_t len;
	FILE *f = open_memstream(&whole, &len);

	if (!f)
		return NULL;
	if (p->lines)
		put_screen(d, p, parts, f);
	else
		fprintf(f, "%s%s%s%s", parts[0], parts[1], parts[2], parts[3]);
	fclose(f);
	return whole ? canvas_cut(whole, p->colour, p->columns, p->lines) : NULL;
}

char *picture_draw(const struct status_view *s, struct picture *p)
{
	struct drawing d = { .canvas.colour = p->colour, .s = s, .p = p };
	CLEANUP(free) char *head = draw_part(&d, put_head), *flights = draw_part(&d, put_flights);
	CLEANUP(free) char *hosts = NULL, *vms = NULL;
	size_t others;
	bool fits;

	if (!head || !flights)
		return NULL;
	for (size_t i = 0; i < s->nhosts; i++)
		d.name_width = MAX(d.name_width,
				   (unsigned)MIN(strlen(s->host[i].id), NAME_MAX_WIDTH));
	others = lines_of(head) + lines_of(flights);
	d.vms_shown = vms_shown(&d, others);
	vms = draw_part(&d, put_vms);
	if (!vms)
		return NULL;
	fits = !p->lines || others + lines_of(vms) + 1 + HOST_LINES * s->nhosts <= p->lines;
	hosts = draw_part(&d, fits ? put_hosts : put_short_hosts);
	return hosts ? compose(&d, p, (const char *[]){ head, hosts, flights, vms }) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "status_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "command/table.h"
#include "command/units.h"

void status_text_part(char text[16], double part)
{
	if (isnan(part))
		strcpy(text, "-");
	else
		snprintf(text, 16, part > 0 && part < 0.0995 ? "%.1f%%" : "%.0f%%", part * 100);
}

static void put_part(FILE *f, double part)
{
	char text[16];

	status_text_part(text, part);
	fprintf(f, "\t%s", text);
}

static void put_number(FILE *f, double n, unsigned step)
{
	char text[UNITS_TEXT];

	units_short(text, n, step);
	fprintf(f, "\t%s", text);
}

static void put_cores(FILE *f, double cores)
{
	char text[UNITS_TEXT];

	units_cores(text, cores);
	fprintf(f, "\t%s", text);
}

static void put_host(FILE *f, const struct host_view *h)
{
	fprintf(f, "%s%s\t%s\t%u", h->id, h->here ? "*" : "", h->state, h->nvms);
	put_cores(f, h->cores);
	put_number(f, h->vcpus, 1000);
	put_part(f, h->use);
	put_part(f, h->happiness);
	put_number(f, h->memory, 1024);
	put_number(f, h->available, 1024);
	put_number(f, h->reserve, 1024);
	put_part(f, h->psi_cpu);
	put_part(f, h->psi_mem);
	put_part(f, h->psi_io);
	fputc('\n', f);
}

static void put_vm(FILE *f, const struct vm_view *v)
{
	fprintf(f, "%s\t%s\t%s", v->name, v->host, *v->state ? v->state : "-");
	put_number(f, v->vcpus, 1000);
	put_part(f, v->happiness);
	put_part(f, v->run);
	put_part(f, v->delay);
	put_part(f, v->throttled);
	put_number(f, v->memory, 1024);
	put_number(f, v->resident, 1024);
	put_number(f, v->dirty_rate, 1024);
	fprintf(f, "\t%s", v->spec ? "yes" : "no");
	put_number(f, v->restarts, 1000);
	fprintf(f, "\t%s\n", v->why);
}

static void put_hosts(FILE *f, const struct status_view *s)
{
	fputs("HOST\tSTATE\tVMS\tCORES\tVCPUS\tUSE\tHAPPY\tMEMORY\tFREE\tRESERVE\tPSI-CPU\tPSI-MEM"
	      "\tPSI-IO\n",
	      f);
	for (size_t i = 0; i < s->nhosts; i++)
		put_host(f, &s->host[i]);
}

static void put_vms(FILE *f, const struct status_view *s)
{
	fputs("VM\tHOST\tSTATE\tVCPUS\tHAPPY\tRUN\tDELAY\tTHROTTLED\tMEMORY\tRESIDENT\tDIRTY/s"
	      "\tSPEC\tRESTARTS\tWHY\n",
	      f);
	for (size_t i = 0; i < s->nvms; i++)
		put_vm(f, &s->vm[i]);
}

static void put_table(const struct canvas *c, const struct status_view *s,
		      void (*put)(FILE *, const struct status_view *), const char *sides)
{
	char *rows = NULL;
	size_t len;
	FILE *f = open_memstream(&rows, &len);

	if (!f)
		return;
	put(f, s);
	fclose(f);
	fputc('\n', c->f);
	table_put(c, rows, sides);
	free(rows);
}

void status_text_flight(char *text, size_t size, const struct flight_view *flight, uint64_t now)
{
	int n = snprintf(text, size, "%s to %s", flight->from, flight->to);

	if (*flight->phase && n < (int)size)
		n += snprintf(text + n, size - (size_t)n, ", %s", flight->phase);
	if (!isnan(flight->since) && n < (int)size)
		n += snprintf(text + n, size - (size_t)n, " for %.0f s",
			      MAX((double)now - flight->since, 0));
	if (!isnan(flight->left_s) && n < (int)size)
		snprintf(text + n, size - (size_t)n, ", %.0f s left", flight->left_s);
}

void status_text_who(char *text, size_t size, const struct status_view *s)
{
	if (*s->planner)
		snprintf(text, size, "mode %s, %s plans", s->mode, s->planner);
	else
		snprintf(text, size, "mode %s, nobody plans%s%s", s->mode, *s->why ? ": " : "",
			 s->why);
}

void status_text_put(const struct canvas *c, const struct status_view *s, uint64_t now)
{
	char text[512];

	status_text_who(text, sizeof(text), s);
	fprintf(c->f, "The agent of %s: %s\n", s->id, text);
	put_table(c, s, put_hosts, "llrrrrrrrrrrr");
	if (s->nvms)
		put_table(c, s, put_vms, "lllrrrrrrrrlrl");
	if (s->nflights)
		fputs("\nOn their way:\n", c->f);
	for (size_t i = 0; i < s->nflights; i++) {
		status_text_flight(text, sizeof(text), &s->flight[i], now);
		fprintf(c->f, "  %s: %s\n", s->flight[i].vm, text);
	}
	if (s->nalerts)
		fputs("\nAlerts:\n", c->f);
	for (size_t i = 0; i < s->nalerts; i++)
		fprintf(c->f, "  %s\n", s->alert[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"

enum { NS_PER_S = 1000000000, PARTS = 10000 };

const char *const metrics_content_type[] = {
	[METRICS_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
	[METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* Text */

static void print_label(FILE *f, const char *before, const char *name, const char *value)
{
	fprintf(f, "%s%s=\"", before, name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", f);
		else if (*value == '\\' || *value == '"')
			fprintf(f, "\\%c", *value);
		else
			fputc(*value, f);
	}
	fputc('"', f);
}

/* All of a sample but its value. */
static void print_name(FILE *f, const struct counter_reading *r, const struct counter *c,
		       const char *suffix, const char *le)
{
	/* "_" is only for readers of the JSON. */
	const char *device = r->id + r->table->is_machine;

	fprintf(f, "%s%s", c->metric, suffix);
	print_label(f, "{", "device", device);
	if (c->label)
		print_label(f, ",", c->label, c->label_value);
	if (le)
		print_label(f, ",", "le", le);
	fputs("} ", f);
}

static void print_value(FILE *f, enum counter_unit unit, uint64_t value)
{
	if (unit == COUNTER_SIGNED_NANOSECONDS && (int64_t)value < 0) {
		fputc('-', f);
		value = -value;
	}
	if (unit == COUNTER_NANOSECONDS || unit == COUNTER_SIGNED_NANOSECONDS)
		fprintf(f, "%llu.%09llu\n", (unsigned long long)value / NS_PER_S,
			(unsigned long long)value % NS_PER_S);
	else if (unit == COUNTER_TEN_THOUSANDTHS)
		fprintf(f, "%llu.%04llu\n", (unsigned long long)value / PARTS,
			(unsigned long long)value % PARTS);
	else
		fprintf(f, "%llu\n", (unsigned long long)value);
}

/* Buckets hold what is above the one before; in text they hold all that is up to their bound. */
static void print_histogram(FILE *f, const struct counter_reading *r, const struct counter *c)
{
	const struct latency *l = counter_latency(r, c);
	uint64_t ops = 0;

	for (unsigned i = 0; i <= LATENCY_BOUNDS; i++) {
		ops += counter_get(&l->bucket[i]);
		print_name(f, r, c, "_bucket",
			   i < LATENCY_BOUNDS ? latency_bounds[i].seconds : "+Inf");
		print_value(f, COUNTER_UNITS, ops);
	}
	print_name(f, r, c, "_sum", NULL);
	print_value(f, COUNTER_NANOSECONDS, counter_get(&l->total_ns));
	print_name(f, r, c, "_count", NULL);
	print_value(f, COUNTER_UNITS, ops);
}

static const char *suffix_of(const struct counter *c)
{
	return c->kind == COUNTER_TOTAL ? "_total" : "";
}

static void print_sample(FILE *f, const struct counter_reading *r, const struct counter *c)
{
	if (c->kind == COUNTER_LATENCY) {
		print_histogram(f, r, c);
		return;
	}
	print_name(f, r, c, suffix_of(c), NULL);
	print_value(f, c->unit, counter_value(r, c));
}

/* In OpenMetrics a family of totals is called without their suffix. */
static void print_head(FILE *f, enum metrics_format format, const struct counter *c)
{
	static const char *const types[] = { [COUNTER_TOTAL] = "counter",
					     [COUNTER_GAUGE] = "gauge",
					     [COUNTER_LATENCY] = "histogram" };
	static const char *const units[] = {
		[COUNTER_BYTES] = "bytes",
		[COUNTER_NANOSECONDS] = "seconds",
		[COUNTER_TEN_THOUSANDTHS] = "ratio",
		[COUNTER_SIGNED_NANOSECONDS] = "seconds",
	};
	const char *suffix = format == METRICS_PROMETHEUS ? suffix_of(c) : "";

	fprintf(f, "# HELP %s%s %s\n", c->metric, suffix, c->help);
	fprintf(f, "# TYPE %s%s %s\n", c->metric, suffix, types[c->kind]);
	if (format == METRICS_OPENMETRICS && c->unit != COUNTER_UNITS)
		fprintf(f, "# UNIT %s %s\n", c->metric, units[c->unit]);
}

static bool is_first_of_family(const struct counter_table *t, size_t row)
{
	for (size_t i = 0; i < row; i++)
		if (!strcmp(t->counter[i].metric, t->counter[row].metric))
			return false;
	return true;
}

/* All samples of a family stand together: of each reading the rows of that name. */
static void print_family(FILE *f, const struct counter_readings *all, const struct counter_table *t,
			 size_t row)
{
	const char *metric = t->counter[row].metric;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = row; all->reading[i].table == t && k < t->n; k++)
			if (!strcmp(t->counter[k].metric, metric))
				print_sample(f, &all->reading[i], &t->counter[k]);
}

static bool is_first_of_table(const struct counter_readings *all, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (all->reading[i].table == all->reading[at].table)
			return false;
	return true;
}

static void print_table(FILE *f, enum metrics_format format, const struct counter_readings *all,
			const struct counter_table *t)
{
	for (size_t row = 0; row < t->n; row++)
		if (is_first_of_family(t, row)) {
			print_head(f, format, &t->counter[row]);
			print_family(f, all, t, row);
		}
}

char *metrics_text(enum metrics_format format, const struct counter_readings *all)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed;

	if (!f)
		return NULL;
	for (size_t i = 0; i < all->n; i++)
		if (is_first_of_table(all, i))
			print_table(f, format, all, all->reading[i].table);
	if (format == METRICS_OPENMETRICS)
		fputs("# EOF\n", f);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* JSON */

struct members {
	json_t *object;
	bool failed;
};

static void add_member(void *arg, const char *name, uint64_t value)
{
	struct members *m = arg;

	if (json_object_set_new(m->object, name, json_integer((json_int_t)value)))
		m->failed = true;
}

static bool add_device(json_t *all, const struct counter_reading *r)
{
	struct members m = { .object = json_object() };

	counters_visit(r, add_member, &m);
	if (!m.failed)
		return !json_object_set_new(all, r->id, m.object);
	json_decref(m.object);
	return false;
}

json_t *metrics_json(const struct counter_readings *all)
{
	json_t *json = json_object();
	bool whole = json;

	for (size_t i = 0; whole && i < all->n; i++)
		whole = add_device(json, &all->reading[i]);
	if (whole)
		return json;
	json_decref(json);
	return NULL;
}

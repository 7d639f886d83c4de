/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "stats_text.h"
#include "command/units.h"

enum { WORD = 64, BUCKETS_MAX = 32 };

struct sample {
	char family[WORD], device[WORD];
	char which[WORD]; /* another label's value: one among several in the family */
	double le; /* of a bucket */
	double value;
};

struct samples {
	struct sample *sample;
	size_t n;
};

/* Reading */

static void copy(char to[WORD], const char *from, size_t len)
{
	snprintf(to, WORD, "%.*s", (int)MIN(len, WORD - 1), from);
}

/* name="value", or ,name="value"; returns what is behind it, NULL: there is none. */
static const char *take_label(const char *text, struct sample *s)
{
	size_t name = strcspn(text += *text == ',', "=\"}"), value;

	if (strncmp(text + name, "=\"", 2))
		return NULL;
	value = strcspn(text + name + 2, "\"\n");
	if (!strncmp(text, "device=", name + 1))
		copy(s->device, text + name + 2, value);
	else if (!strncmp(text, "le=", name + 1))
		s->le = strtod(text + name + 2, NULL);
	else
		copy(s->which, text + name + 2, value);
	text += name + 2 + value;
	return *text == '"' ? text + 1 : NULL;
}

static bool parse_line(const char *text, struct sample *s)
{
	size_t name = strcspn(text, "{ \n");

	*s = (struct sample){ 0 };
	if (*text == '#' || text[name] != '{')
		return false;
	copy(s->family, text, name);
	for (text += name + 1; text && *text != '}';)
		text = take_label(text, s);
	if (!text)
		return false;
	s->value = strtod(text + 1, NULL);
	return true;
}

/* False: out of memory. */
static bool parse(const char *text, struct samples *all)
{
	size_t lines = 1;

	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	all->sample = calloc(lines, sizeof(*all->sample));
	for (; all->sample && *text; text += *text == '\n') {
		all->n += parse_line(text, &all->sample[all->n]);
		text += strcspn(text, "\n");
	}
	return all->sample;
}

/* Names */

static bool ends_in(const char *text, const char *suffix)
{
	size_t len = strlen(text), end = strlen(suffix);

	return len >= end && !strcmp(text + len - end, suffix);
}

static bool cut_suffix(char *text, const char *suffix)
{
	if (!ends_in(text, suffix))
		return false;
	text[strlen(text) - strlen(suffix)] = '\0';
	return true;
}

/* "godwit_block_read_bytes_total" is the "read bytes" of a disk, which is known to be one. */
static void name_of(const struct sample *s, char name[2 * WORD], bool *is_time)
{
	const char *begin = s->family;
	char family[WORD];

	for (unsigned i = 0; i < 2 && strchr(begin, '_'); i++)
		begin = strchr(begin, '_') + 1;
	copy(family, begin, strlen(begin));
	cut_suffix(family, "_count");
	cut_suffix(family, "_total");
	*is_time = cut_suffix(family, "_seconds");
	for (char *c = family; *c; c++)
		if (*c == '_')
			*c = ' ';
	snprintf(name, 2 * WORD, "%s%s%s", family, *s->which ? " " : "", s->which);
}

/* Latencies */

struct histogram {
	struct {
		double le, count; /* of all up to le */
	} bucket[BUCKETS_MAX];
	size_t n;
	double sum;
};

/* Within a bucket all are thought to be spread evenly.  The first and the last say of what is in
 * them only that it is below or above. */
static double quantile(const struct histogram *h, double rank, const char **beyond)
{
	size_t i = 0;
	double from, to, below;

	while (i + 1 < h->n && h->bucket[i].count < rank)
		i++;
	*beyond = !i ? "under " : isinf(h->bucket[i].le) ? "over " : "";
	if (!i)
		return h->bucket[i].le;
	from = h->bucket[i - 1].le;
	to = h->bucket[i].le;
	below = h->bucket[i - 1].count;
	if (isinf(to))
		return from;
	return from + (to - from) * (rank - below) / (h->bucket[i].count - below);
}

static void print_quantile(FILE *f, const struct histogram *h, double count, unsigned percent,
			   bool utf8)
{
	const char *beyond;
	double seconds = quantile(h, count * percent / 100, &beyond);
	char text[UNITS_TEXT];

	units_seconds(text, seconds, utf8);
	fprintf(f, "  p%u %s%s", percent, beyond, text);
}

static void print_latency(FILE *f, const struct histogram *h, double count, bool utf8)
{
	static const unsigned percents[] = { 50, 95, 99 };
	char text[UNITS_TEXT];

	if (!count || !h->n) {
		fputs("  none yet\n", f);
		return;
	}
	units_seconds(text, h->sum / count, utf8);
	fprintf(f, "  average %s", text);
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++)
		print_quantile(f, h, count, percents[i], utf8);
	fputc('\n', f);
}

/* The table */

static void print_number(FILE *f, const char *name, bool is_time, double value, bool utf8)
{
	char text[UNITS_TEXT];

	if (is_time)
		units_seconds(text, value, utf8);
	else if (ends_in(name, "bytes") || strstr(name, "bytes per second"))
		units_bytes(text, value);
	else if (strstr(name, "ratio "))
		snprintf(text, sizeof(text), "%.2f %%", value * 100);
	else
		snprintf(text, sizeof(text), "%.0f", value);
	fprintf(f, "%14s\n", text);
}

/* A histogram's buckets come first, then its sum, then how many there were. */
static void print_sample(FILE *f, const struct sample *s, struct histogram *h, bool utf8)
{
	char name[2 * WORD];
	bool is_time;

	if (ends_in(s->family, "_bucket")) {
		h->bucket[h->n].le = s->le;
		h->bucket[h->n].count = s->value;
		h->n += h->n + 1 < BUCKETS_MAX;
		return;
	}
	if (ends_in(s->family, "_sum")) {
		h->sum = s->value;
		return;
	}
	name_of(s, name, &is_time);
	fprintf(f, "    %-22s", name);
	if (ends_in(s->family, "_count"))
		print_latency(f, h, s->value, utf8);
	else
		print_number(f, name, is_time, s->value, utf8);
	*h = (struct histogram){ 0 };
}

static bool is_first_of_device(const struct samples *all, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (!strcmp(all->sample[i].device, all->sample[at].device))
			return false;
	return true;
}

static void print_device(FILE *f, const struct samples *all, size_t first, bool utf8)
{
	struct histogram h = { 0 };

	fprintf(f, "  %s\n", all->sample[first].device);
	for (size_t i = first; i < all->n; i++)
		if (!strcmp(all->sample[i].device, all->sample[first].device))
			print_sample(f, &all->sample[i], &h, utf8);
}

void stats_text_print(FILE *f, const char *metrics, bool utf8)
{
	struct samples all = { 0 };

	if (!parse(metrics, &all))
		return;
	for (size_t i = 0; i < all.n; i++)
		if (is_first_of_device(&all, i))
			print_device(f, &all, i, utf8);
	free(all.sample);
}

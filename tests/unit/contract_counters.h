/* SPDX-License-Identifier: Apache-2.0 */
/* What a table of counters must be like, so that any of them can be told to anybody. */
#ifndef CONTRACT_COUNTERS_H
#define CONTRACT_COUNTERS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "counters.h"

/* Both formats take more; lower case, digits and "_" need no escapes anywhere. */
static inline bool is_counter_name(const char *s)
{
	return s && *s >= 'a' && *s <= 'z' &&
	       !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

static inline bool name_ends(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

/* https://prometheus.io/docs/practices/naming, and OpenMetrics 1.0: suffixes are the formatter's,
 * but a unit is the end of the name. */
static inline void check_metric_name(const struct counter *c)
{
	static const char *const reserved[] = { "_total",   "_count", "_sum",    "_bucket",
						"_created", "_info",  "_gcount", "_gsum" };
	static const char *const unit[] = {
		[COUNTER_BYTES] = "_bytes",
		[COUNTER_NANOSECONDS] = "_seconds",
		[COUNTER_TEN_THOUSANDTHS] = "_ratio",
	};

	ck_assert_msg(is_counter_name(c->metric) && !strncmp(c->metric, "godwit_", 7),
		      "%s: metric %s", c->name, c->metric);
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		ck_assert_msg(!name_ends(c->metric, reserved[i]), "%s ends in %s", c->metric,
			      reserved[i]);
	for (size_t i = 0; i < ARRAY_SIZE(unit); i++)
		if (unit[i])
			ck_assert_msg(name_ends(c->metric, unit[i]) == (c->unit == i),
				      "%s: its name and its unit differ", c->metric);
}

static inline void check_counter(const struct counter *c)
{
	size_t help = c->help ? strlen(c->help) : 0;

	ck_assert_msg(is_counter_name(c->name), "a counter is called %s", c->name);
	check_metric_name(c);
	ck_assert_msg(help && c->help[help - 1] == '.', "%s: help is no sentence", c->name);
	ck_assert_msg(!strpbrk(c->help, "\\\"\n"), "%s: help needs escapes", c->name);
	ck_assert_msg(!c->label == !c->label_value, "%s: half a label", c->name);
	ck_assert_msg(!c->label || is_counter_name(c->label), "%s: label %s", c->name, c->label);
	ck_assert_msg(c->kind != COUNTER_LATENCY || c->unit == COUNTER_NANOSECONDS,
		      "%s: a latency is a time", c->name);
}

/* One family is one thing, told apart by a label; names are unique also with their suffixes. */
static inline void check_pair(const struct counter *a, const struct counter *b)
{
	size_t n = strlen(a->name);

	ck_assert_msg(strcmp(a->name, b->name), "two counters %s", a->name);
	if (a->kind == COUNTER_LATENCY && !strncmp(a->name, b->name, n))
		ck_assert_msg(!name_ends(b->name, "_min") && !name_ends(b->name, "_max") &&
				      !name_ends(b->name, "_avg"),
			      "%s is of %s", b->name, a->name);
	if (strcmp(a->metric, b->metric))
		return;
	ck_assert_msg(a->label && b->label && !strcmp(a->label, b->label) &&
			      strcmp(a->label_value, b->label_value),
		      "%s and %s are the same sample", a->name, b->name);
	ck_assert_msg(a->kind == b->kind && a->unit == b->unit && !strcmp(a->help, b->help),
		      "%s and %s are of one family and differ", a->name, b->name);
}

/* Every member has one row: a counter that nobody can see is forgotten. */
static inline void check_coverage(const char *kind, const struct counter_table *t)
{
	CLEANUP(free) uint8_t *rows = calloc(1, t->block_bytes);

	for (size_t i = 0; i < t->n; i++) {
		const struct counter *c = &t->counter[i];
		size_t bytes = c->kind == COUNTER_LATENCY ? sizeof(struct latency)
							  : sizeof(uint64_t);

		ck_assert_msg(c->offset + bytes <= t->block_bytes, "%s: outside", c->name);
		for (size_t k = 0; k < bytes; k++)
			rows[c->offset + k]++;
	}
	for (size_t i = 0; i < t->block_bytes; i++)
		ck_assert_msg(rows[i] == 1, "%s: %u rows tell byte %zu of its counters", kind,
			      rows[i], i);
}

static inline void check_counter_table(const char *kind, const struct counter_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		check_counter(&t->counter[i]);
	for (size_t i = 0; i < t->n; i++)
		for (size_t k = 0; k < t->n; k++)
			if (i != k)
				check_pair(&t->counter[i], &t->counter[k]);
	check_coverage(kind, t);
}

/* A family is in one table. */
static inline void check_families_apart(const struct counter_table *a,
					const struct counter_table *b)
{
	for (size_t i = 0; b && a != b && i < a->n; i++)
		for (size_t k = 0; k < b->n; k++)
			ck_assert_msg(strcmp(a->counter[i].metric, b->counter[k].metric),
				      "%s is in two tables", a->counter[i].metric);
}

#endif

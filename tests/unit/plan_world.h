/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots for tests of the planner, written as lines of JSON with ' in place of ".  They are
 * read as any file is, so that no test stands on data that a file could not have.
 */
#ifndef PLAN_WORLD_H
#define PLAN_WORLD_H

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/planner.h"
#include "planner/snapshot.h"

enum { NOW = 1700000000 };

struct world {
	char *text;
	size_t bytes;
	FILE *file; /* while lines are added */
	struct snapshot snapshot;
	struct plan plan;
	struct err e;
};

static inline void world_begin(struct world *w)
{
	*w = (struct world){ 0 };
	w->file = open_memstream(&w->text, &w->bytes);
	ck_assert_ptr_nonnull(w->file);
}

__attribute__((format(printf, 2, 3))) static inline void world_line(struct world *w,
								    const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_lt(vsnprintf(line, sizeof(line), fmt, ap), (int)sizeof(line));
	va_end(ap);
	for (char *c = line; *c; c++)
		fputc(*c == '\'' ? '"' : *c, w->file);
	fputc('\n', w->file);
}

static inline void world_head(struct world *w, const char *mode)
{
	world_begin(w);
	world_line(w, "{'snapshot':{'version':1,'time':%d,'mode':'%s'}}", NOW, mode);
}

/* more: further members, each with a comma before it. */
static inline void world_host(struct world *w, const char *id, double cores, const char *more)
{
	world_line(w,
		   "{'host':{'id':'%s','at':%d,'cores':%g,'memory':100000000000,"
		   "'reserve':10000000000,'available':90000000000,'link':1e9%s}}",
		   id, NOW, cores, more);
}

/* A VM of one vCPU and 1 GB that waits for this share of the time, in all five windows. */
static inline void world_vm(struct world *w, const char *id, const char *host, double delay,
			    const char *more)
{
	double run = 1 - delay;

	world_line(w,
		   "{'vm':{'id':'%s','host':'%s','at':%d,'vcpus':1,'memory':1000000000,"
		   "'resident':500000000,'run':[%g,%g,%g,%g,%g],'delay':[%g,%g,%g,%g,%g],"
		   "'cpu_mean':%g%s}}",
		   id, host, NOW, run, run, run, run, run, delay, delay, delay, delay, delay, run,
		   more);
}

#define WORLD_NO_BUDGET "'budget_day':10"

/* Host a has five busy VMs on four cores, b has none; b_more are further members of b. */
static inline void world_hot_host(struct world *w, const char *mode, const char *policy,
				  const char *vm_more, const char *b_more)
{
	world_head(w, mode);
	world_line(w, "{'policy':{%s}}", policy);
	world_host(w, "a", 4, "");
	world_host(w, "b", 4, b_more);
	for (int i = 1; i <= 5; i++) {
		char id[8];

		snprintf(id, sizeof(id), "v%d", i);
		world_vm(w, id, "a", 0.2, i == 1 ? vm_more : ",'pinned':true");
	}
}

static inline int world_try_read(struct world *w)
{
	FILE *f;
	int r;

	fclose(w->file);
	f = fmemopen(w->text, w->bytes, "r");
	ck_assert_ptr_nonnull(f);
	r = snapshot_read(&w->snapshot, f, &w->e);
	fclose(f);
	return r;
}

static inline void world_plan(struct world *w)
{
	ck_assert_msg(!world_try_read(w), "%s", w->e.text);
	ck_assert_int_eq(plan_make(&w->plan, &w->snapshot, &w->e), 0);
}

static inline void world_end(struct world *w)
{
	plan_free(&w->plan);
	snapshot_free(&w->snapshot);
	free(w->text);
	*w = (struct world){ 0 };
}

/* What a function writes; to be freed. */
static inline char *world_written(void (*write)(const void *, FILE *), const void *arg)
{
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	ck_assert_ptr_nonnull(f);
	write(arg, f);
	fclose(f);
	return text;
}

static inline void write_snapshot(const void *s, FILE *f)
{
	snapshot_write(s, f);
}

static inline void write_plan(const void *plan, FILE *f)
{
	plan_write(plan, f);
}

static inline const char *world_name(const struct world *w, uint32_t name)
{
	return names_text(&w->snapshot.names, name);
}

/* The move of a VM in the plan, or NULL. */
static inline const struct plan_move *world_move(const struct world *w, const char *vm)
{
	for (uint32_t i = 0; i < w->plan.nmove; i++)
		if (!strcmp(world_name(w, w->snapshot.vm[w->plan.move[i].vm].name), vm))
			return &w->plan.move[i];
	return NULL;
}

static inline void world_goes(const struct world *w, const char *vm, const char *to)
{
	const struct plan_move *m = world_move(w, vm);

	ck_assert_msg(m != NULL, "VM %s stays", vm);
	ck_assert_str_eq(world_name(w, w->snapshot.host[m->to].name), to);
}

/* The rule that keeps a VM, as the plan lists it. */
static inline const char *world_rule(const struct world *w, const char *vm)
{
	ck_assert_msg(!world_move(w, vm), "VM %s goes", vm);
	for (uint32_t i = 0; i < w->plan.nrefusal; i++)
		if (!strcmp(world_name(w, w->snapshot.vm[w->plan.refusal[i].vm].name), vm))
			return rule_word(w->plan.refusal[i].judged.rule);
	return "none was looked for";
}

#endif

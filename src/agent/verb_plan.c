/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent plan" and "explain": what the planner makes of a snapshot. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "load.h"
#include "log.h"
#include "planner/explain.h"
#include "planner/planner.h"
#include "planner/snapshot.h"
#include "planner/what_if.h"
#include "verbs.h"

/* Options of plan; explain has the first two. */
enum { SNAPSHOT, WHAT_IF, SAVE, JSON };

static int load(struct snapshot *s, const struct verb_args *args, struct err *e)
{
	int r = load_snapshot(s, args->value[SNAPSHOT], e);

	for (unsigned i = 0; !r && i < args->nmany; i++) {
		r = what_if_apply(s, args->many[i], e);
		if (r)
			err_prefix(e, r, "--what-if %.64s", args->many[i]);
	}
	return r;
}

static int save(const struct plan *plan, const char *path, struct err *e)
{
	CLEANUP(file) FILE *f = fopen(path, "we");

	if (!f)
		return err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	snapshot_write(plan->snapshot, f);
	fputs("{\"plan\":", f);
	plan_write(plan, f);
	fputs("}\n", f);
	if (fflush(f) || ferror(f))
		return err_set(e, -EIO, "%.200s: cannot be written", path);
	return 0;
}

static int show_plan(const struct snapshot *s, const struct verb_args *args, struct err *e)
{
	struct plan plan;
	int r = plan_make(&plan, s, e);

	if (r)
		return r;
	if (args->value[SAVE])
		r = save(&plan, args->value[SAVE], e);
	if (!r && args->value[JSON]) {
		plan_write(&plan, stdout);
		putchar('\n');
	} else if (!r) {
		explain_plan(&plan, stdout);
	}
	plan_free(&plan);
	return r;
}

static int show_name(const struct snapshot *s, const struct verb_args *args, struct err *e)
{
	return args->nrest ? explain_name(s, args->rest[0], stdout, e) : show_plan(s, args, e);
}

static int show(const struct verb_args *args,
		int (*print)(const struct snapshot *, const struct verb_args *, struct err *))
{
	struct snapshot s;
	struct err e;
	int r = load(&s, args, &e);

	r = r ? r : print(&s, args, &e);
	snapshot_free(&s);
	if (r)
		log_error("%s", e.text);
	return r ? CLI_FAILED : CLI_OK;
}

int plan_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return show(args, show_plan);
}

int explain_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return show(args, show_name);
}

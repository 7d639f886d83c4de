/* SPDX-License-Identifier: Apache-2.0 */
#include "lessons.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "planner/fields.h"
#include "planner/learn.h"
#include "planner/snapshot.h"
#include "record.h"

enum { PROMISES_MAX = 256 };

static const char file[] = "lessons.json";

/* A move that was ordered, until its gain is known. */
struct promise {
	struct list node;
	char vm[65], from[65], to[65];
	double loss; /* vCPUs that VMs of both hosts missed before it */
	uint64_t over_at; /* seconds since 1970; 0: not yet */
};

struct lessons {
	int store;
	struct corrections corrections;
	json_t *curves; /* array of the planner's records */
	struct list promises;
	unsigned npromises;
};

static void keep(const struct lessons *l)
{
	const struct corrections *c = &l->corrections;
	json_auto_t *all = json_pack("{s:f, s:f, s:f, s:f, s:O}", "rate", c->rate, "setup_s",
				     c->setup_s, "fixed_s", c->fixed_s, "slowdown", c->slowdown,
				     "curves", l->curves);
	int r = all ? record_write(l->store, file, 0600, all) : -ENOMEM;

	if (r)
		log_error("the agent's %s cannot be written: %s", file, strerror(-r));
}

static void take_kept(struct lessons *l, const json_t *kept)
{
	json_auto_t *head = json_object();
	struct names names = { 0 };
	struct snapshot s;
	struct err e;

	fields_default(&snapshot_fields, &s);
	json_object_update(head, (json_t *)kept);
	json_object_del(head, "curves");
	json_object_set_new(head, "time", json_integer(0));
	if (kept && fields_read(&snapshot_fields, &names, head, &s, &e))
		fields_default(&snapshot_fields, &s);
	names_free(&names);
	l->corrections = s.corrections;
	/* The snapshot's reader looks at each of them. */
	if (json_is_array(json_object_get(kept, "curves")))
		json_array_extend(l->curves, json_object_get(kept, "curves"));
}

int lessons_new(struct lessons **out, int store, struct err *e)
{
	struct lessons *l = calloc(1, sizeof(*l));
	json_auto_t *kept = NULL;
	int r = l ? record_read(store, file, &kept) : -ENOMEM;

	if (r && r != -ENOENT) {
		free(l);
		return err_set(e, r, "the agent's %s is damaged; remove it to begin anew", file);
	}
	l->store = store;
	l->curves = json_array();
	list_init(&l->promises);
	take_kept(l, kept);
	*out = l;
	return 0;
}

static void promise_free(struct lessons *l, struct promise *p)
{
	list_remove(&p->node);
	l->npromises--;
	free(p);
}

void lessons_free(struct lessons *l)
{
	if (!l)
		return;
	while (!list_empty(&l->promises))
		promise_free(l, list_item(l->promises.next, struct promise, node));
	json_decref(l->curves);
	free(l);
}

void lessons_head(const struct lessons *l, json_t *head)
{
	json_object_set_new(head, "rate", json_real(l->corrections.rate));
	json_object_set_new(head, "setup_s", json_real(l->corrections.setup_s));
	json_object_set_new(head, "fixed_s", json_real(l->corrections.fixed_s));
	json_object_set_new(head, "slowdown", json_real(l->corrections.slowdown));
}

void lessons_curves(const struct lessons *l, FILE *f)
{
	json_t *curve;
	size_t i;

	json_array_foreach(l->curves, i, curve)
	{
		json_auto_t *line = json_pack("{s:O}", "curve", curve);

		if (line && !json_dumpf(line, f, JSON_COMPACT))
			fputc('\n', f);
	}
}

static json_t *curve_json(const struct snapshot *s, const struct curve *c)
{
	json_t *delay = json_array();

	for (unsigned i = 0; i < CURVE_POINTS; i++)
		json_array_append_new(delay, json_real(c->delay[i]));
	if (c->class == NAME_NONE)
		return json_pack("{s:o}", "delay", delay);
	return json_pack("{s:s, s:o}", "class", names_text(&s->names, c->class), "delay", delay);
}

void lessons_see(struct lessons *l, struct snapshot *s)
{
	struct err e;

	if (learn_curves(s, &e)) {
		log_error("%s", e.text);
		return;
	}
	json_array_clear(l->curves);
	for (uint32_t i = 0; i < s->ncurve; i++)
		json_array_append_new(l->curves, curve_json(s, &s->curve[i]));
	keep(l);
}

/* What the VMs of two hosts miss, in vCPUs. */
static double loss_of(const struct snapshot *s, uint32_t one, uint32_t other)
{
	double loss = 0;

	for (uint32_t i = 0; i < s->nvm; i++)
		if (s->vm[i].host == one || s->vm[i].host == other)
			loss += (double)s->vm[i].vcpus * (1 - happiness(&s->vm[i], 0));
	return loss;
}

static struct promise *promise_of(struct lessons *l, const char *vm)
{
	struct promise *p;

	list_for_each (p, &l->promises, node)
		if (!strcmp(p->vm, vm) && !p->over_at)
			return p;
	return NULL;
}

/* What became of some is never told: their agent ended. */
static void make_room(struct lessons *l, const char *vm)
{
	struct promise *p = promise_of(l, vm);

	if (!p && l->npromises == PROMISES_MAX)
		p = list_item(l->promises.next, struct promise, node);
	if (p)
		promise_free(l, p);
}

void lessons_promise(struct lessons *l, const struct plan *plan, const struct plan_move *m)
{
	const struct snapshot *s = plan->snapshot;
	const struct vm *v = &s->vm[m->vm];
	struct promise *p = calloc(1, sizeof(*p));

	if (!p)
		return;
	make_room(l, names_text(&s->names, v->name));
	snprintf(p->vm, sizeof(p->vm), "%s", names_text(&s->names, v->name));
	snprintf(p->from, sizeof(p->from), "%s", names_text(&s->names, s->host[m->from].name));
	snprintf(p->to, sizeof(p->to), "%s", names_text(&s->names, s->host[m->to].name));
	p->loss = loss_of(s, m->from, m->to);
	list_append(&l->promises, &p->node);
	l->npromises++;
}

static void learn(struct lessons *l, const json_t *outcome)
{
	const struct move_outcome o = {
		.time_s = json_number_value(json_object_get(outcome, "time_s")),
		.blackout_s = json_number_value(json_object_get(outcome, "blackout_s")),
		.bytes = json_number_value(json_object_get(outcome, "bytes")),
		.sending_s = json_number_value(json_object_get(outcome, "sending_s")),
		.slowdown = -1,
	};

	move_cost_learn(&l->corrections, json_number_value(json_object_get(outcome, "last_bytes")),
			json_number_value(json_object_get(outcome, "rate")), &o);
	keep(l);
}

void lessons_outcome(struct lessons *l, const char *vm, const char *from, const json_t *outcome,
		     uint64_t now)
{
	bool moved = json_is_true(json_object_get(outcome, "moved"));
	struct promise *p = promise_of(l, vm);

	if (moved)
		learn(l, outcome);
	if (!p || strcmp(p->from, from))
		return;
	if (moved)
		p->over_at = now;
	else
		promise_free(l, p);
}

bool lessons_gain(struct lessons *l, const struct snapshot *s, struct lesson_gain *g)
{
	/* Both hosts' windows are about the time behind the move then. */
	double wait_s = (s->policy.freeze_windows + 1) * s->policy.window_s;
	struct promise *p;

	list_for_each (p, &l->promises, node) {
		uint32_t from = snapshot_host(s, names_find(&s->names, p->from)),
			 to = snapshot_host(s, names_find(&s->names, p->to));

		if (!p->over_at || (double)s->time < (double)p->over_at + wait_s)
			continue;
		memcpy(g->vm, p->vm, sizeof(g->vm));
		memcpy(g->to, p->to, sizeof(g->to));
		g->gain = p->loss - loss_of(s, from, to);
		promise_free(l, p);
		return true;
	}
	return false;
}

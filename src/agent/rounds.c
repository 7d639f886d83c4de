/* SPDX-License-Identifier: Apache-2.0 */
#include "rounds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "lessons.h"
#include "moves.h"
#include "past.h"
#include "peers.h"
#include "planner/snapshot.h"
#include "state.h"

enum { ORDER_MS = 5000, PAUSE_S = 2 };

static const char *host_name(const struct snapshot *s, uint32_t host)
{
	return names_text(&s->names, s->host[host].name);
}

static const char *vm_name(const struct snapshot *s, uint32_t vm)
{
	return names_text(&s->names, s->vm[vm].name);
}

static json_t *predicted(const struct judged *j)
{
	return json_pack("{s:f, s:f, s:f, s:f}", "time_s", j->move.time_s, "blackout_s",
			 j->move.blackout_s, "bytes", j->move.bytes, "gain", j->gain);
}

/* The host that the VM is on is told; its refusal is said, and the next round sees what is. */
static void order(struct agent *a, const struct plan *plan, const struct plan_move *m)
{
	const struct snapshot *s = plan->snapshot;
	const char *from = host_name(s, m->from), *to = host_name(s, m->to),
		   *vm = vm_name(s, m->vm);
	json_auto_t *question = json_pack("{s:{s:s, s:s, s:s, s:o}}", "move", "vm", vm, "to", to,
					  "why", why_word(m->why), "predicted",
					  predicted(&m->judged));
	json_auto_t *answer = NULL;
	struct err e;
	int r;

	pthread_mutex_lock(&a->lock);
	lessons_promise(a->lessons, plan, m);
	if (!strcmp(from, a->options->id)) {
		r = moves_begin(a, json_object_get(question, "move"), a->options->id, &e);
	} else {
		pthread_mutex_unlock(&a->lock);
		r = peers_ask(a, from, question, &answer, ORDER_MS, &e);
		pthread_mutex_lock(&a->lock);
	}
	if (r) {
		json_auto_t *outcome = json_object();

		agent_say(a, "order-refused", vm, "%s will not move it to %s: %s", from, to,
			  e.text);
		lessons_outcome(a->lessons, vm, from, outcome, agent_now());
	}
	pthread_mutex_unlock(&a->lock);
}

/* A VM of a host that is dead is started elsewhere by a person, who knows that the host is. */
static bool is_ordered(const struct plan_move *m)
{
	return m->execute && m->why != WHY_DEAD;
}

static void say_plan(struct agent *a, const struct plan *plan)
{
	const struct snapshot *s = plan->snapshot;

	for (uint32_t i = 0; i < plan->nmove; i++) {
		const struct plan_move *m = &plan->move[i];

		if (!m->wave)
			agent_say(a, is_ordered(m) ? "orders" : "recommends", vm_name(s, m->vm),
				  "from %s to %s (%s): %.3g vCPUs more, %.2g s, standing still "
				  "for %.0f ms",
				  host_name(s, m->from), host_name(s, m->to), why_word(m->why),
				  m->judged.gain, m->judged.move.time_s,
				  m->judged.move.blackout_s * 1000);
	}
}

static json_t *plan_json(const struct plan *plan)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_t *json;

	if (!f)
		return NULL;
	plan_write(plan, f);
	fclose(f);
	json = json_loadb(text, len, 0, NULL);
	free(text);
	return json;
}

/* One that is not heard is not told again: it is a hint for whoever looks. */
static void tell_gain(struct agent *a, const struct lesson_gain *g)
{
	json_auto_t *question = NULL, *answer = NULL;
	struct err e;

	if (!strcmp(g->to, a->options->id)) {
		pthread_mutex_lock(&a->lock);
		past_gain(a, g->vm, g->gain);
		pthread_mutex_unlock(&a->lock);
		return;
	}
	question = json_pack("{s:{s:s, s:f}}", "gain", "vm", g->vm, "gain", g->gain);
	peers_ask(a, g->to, question, &answer, ORDER_MS, &e);
}

/* What earlier moves won is told to the hosts that their VMs are on. */
static void tell_gains(struct agent *a, const struct snapshot *s)
{
	struct lesson_gain g;
	bool more = true;

	while (more) {
		pthread_mutex_lock(&a->lock);
		more = lessons_gain(a->lessons, s, &g);
		pthread_mutex_unlock(&a->lock);
		if (more)
			tell_gain(a, &g);
	}
}

static void carry_out(struct agent *a, struct snapshot *s, const struct plan *plan)
{
	pthread_mutex_lock(&a->lock);
	json_decref(a->plan);
	a->plan = plan_json(plan);
	say_plan(a, plan);
	lessons_see(a->lessons, s);
	pthread_mutex_unlock(&a->lock);
	for (uint32_t i = 0; i < plan->nmove; i++)
		if (is_ordered(&plan->move[i]))
			order(a, plan, &plan->move[i]);
}

static void round_make(struct agent *a)
{
	struct snapshot s = { 0 };
	struct plan plan;
	struct err e;
	int rc = state_read(a, &s, &e);

	if (!rc) {
		tell_gains(a, &s);
		rc = plan_make(&plan, &s, &e);
	}
	if (!rc) {
		carry_out(a, &s, &plan);
		plan_free(&plan);
	}
	snapshot_free(&s);
	if (!rc)
		return;
	pthread_mutex_lock(&a->lock);
	agent_say(a, "no-plan", a->options->id, "%s", e.text);
	pthread_mutex_unlock(&a->lock);
}

static void round_if_planner(struct agent *a)
{
	struct election election;
	bool mine;

	pthread_mutex_lock(&a->lock);
	peers_election(a, &election);
	mine = election.planner && !strcmp(election.planner, a->options->id);
	pthread_mutex_unlock(&a->lock);
	if (mine)
		round_make(a);
}

static double interval_s(const struct agent *a)
{
	return a->settings.policy.interval_s;
}

const struct pulse_job rounds_job = { "rounds", round_if_planner, interval_s, PAUSE_S };

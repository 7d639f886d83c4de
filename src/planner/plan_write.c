/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as JSON. */
#include <inttypes.h>

#include "planner/fields.h"
#include "planner/planner.h"

static const char *vm_text(const struct plan *plan, uint32_t vm)
{
	return names_text(&plan->snapshot->names, plan->snapshot->vm[vm].name);
}

static const char *host_text(const struct plan *plan, uint32_t host)
{
	return names_text(&plan->snapshot->names, plan->snapshot->host[host].name);
}

static void number(const char *key, double v, FILE *f)
{
	fprintf(f, ",\"%s\":%.6g", key, v);
}

static void write_judged(const struct judged *j, FILE *f)
{
	number("happy_here", j->happy_here, f);
	number("happy_there", j->happy_there, f);
	number("use_from", j->use_from, f);
	number("use_to", j->use_to, f);
	number("gain", j->gain, f);
	number("lasts_s", j->lasts_s, f);
	number("benefit", j->benefit, f);
	number("cost", j->cost, f);
	number("time_s", j->move.time_s, f);
	number("blackout_s", j->move.blackout_s, f);
	number("bytes", j->move.bytes, f);
	fprintf(f, ",\"converges\":%s", j->move.converges ? "true" : "false");
}

static void write_move(const struct plan *plan, const struct plan_move *m, FILE *f)
{
	fprintf(f,
		"{\"vm\":\"%s\",\"from\":\"%s\",\"to\":\"%s\",\"wave\":%" PRIu32 ",\"why\":\"%s\"",
		vm_text(plan, m->vm), host_text(plan, m->from), host_text(plan, m->to), m->wave,
		why_word(m->why));
	fprintf(f, ",\"kind\":\"%s\",\"execute\":%s",
		m->why == WHY_DEAD ? "start"
		: m->parks         ? "park"
				   : "move",
		m->execute ? "true" : "false");
	write_judged(&m->judged, f);
	fputc('}', f);
}

static void write_refusal(const struct plan *plan, const struct plan_refusal *r, FILE *f)
{
	fprintf(f, "{\"vm\":\"%s\",\"why\":\"%s\",\"rule\":\"%s\"", vm_text(plan, r->vm),
		why_word(r->why), rule_word(r->judged.rule));
	if (r->to != NOWHERE) {
		fprintf(f, ",\"to\":\"%s\"", host_text(plan, r->to));
		write_judged(&r->judged, f);
	}
	fputc('}', f);
}

static void write_counts(const struct plan *plan, FILE *f)
{
	const char *before = "";

	for (enum rule r = RULE_NONE + 1; r < RULES; r++) {
		if (!plan->refused[r])
			continue;
		fprintf(f, "%s\"%s\":%" PRIu32, before, rule_word(r), plan->refused[r]);
		before = ",";
	}
}

/* A sentence of the snapshot may quote what was in it. */
static void write_text(const char *text, FILE *f)
{
	json_t *v = json_string(text);

	json_dumpf(v, f, JSON_ENCODE_ANY);
	json_decref(v);
}

static void write_sentences(const struct plan *plan, FILE *f)
{
	const struct snapshot *s = plan->snapshot;

	for (uint32_t i = 0; i < s->nrefused && i < s->policy.explain_max; i++) {
		fprintf(f, "%s{\"rule\":\"%s\",\"text\":", i ? "," : "",
			s->refused[i].absurd ? "absurd" : "stale");
		write_text(s->refused[i].sentence, f);
		fputc('}', f);
	}
}

void plan_why_nothing(const struct plan *plan, FILE *f)
{
	const struct policy *p = &plan->snapshot->policy;
	enum rule most = RULE_NONE;

	for (enum rule r = RULE_NONE + 1; r < RULES; r++)
		if (plan->refused[r] > plan->refused[most])
			most = r;
	if (!plan->snapshot->nvm)
		fputs("there are no VMs", f);
	else if (most == RULE_NONE)
		fprintf(f,
			"every VM gets what it wants: no host was hot, above %g of its cores or "
			"with VMs below %g, in any window, none is short of memory and none is to "
			"be emptied",
			p->use_high, p->happy_low);
	else
		fprintf(f,
			"of %" PRIu32 " VMs that a move was looked for none is to go, %" PRIu32
			" of them by rule %s: %s",
			plan->wanted, plan->refused[most], rule_word(most), rule_sentence(most));
}

static void write_alerts(const struct plan *plan, FILE *f)
{
	const char *before = "\"";

	if (plan->audit_failed) {
		fprintf(f,
			"%sthe last moves won %.2f of what they promised: moves are only "
			"recommended\"",
			before, plan->audit_kept);
		before = ",\"";
	}
	if (plan->short_hosts) {
		fprintf(f, "%s%" PRIu32 " hosts do not get their reserve of memory back\"", before,
			plan->short_hosts);
		before = ",\"";
	}
	if (plan->spare_missing > 0) {
		fprintf(f, "%sif %g hosts failed, %.0f bytes of VMs would have no place\"", before,
			plan->snapshot->policy.hosts_in_reserve, plan->spare_missing);
		before = ",\"";
	}
	if (plan->stuck)
		fprintf(f, "%s%" PRIu32 " VMs that must leave their hosts cannot\"", before,
			plan->stuck);
}

void plan_write(const struct plan *plan, FILE *f)
{
	fprintf(f, "{\"version\":1,\"time\":%" PRIu64, plan->snapshot->time);
	fprintf(f, ",\"happiness\":{\"vms\":%" PRIu32 ",\"low\":%" PRIu32, plan->now.vms,
		plan->now.low);
	number("mean", plan->now.mean, f);
	number("percentile_1", plan->now.percentile_1, f);
	fputc('}', f);
	number("load_cv", plan->now.load_cv, f);
	number("loss_before", plan->loss_before, f);
	number("loss_after", plan->loss_after, f);
	fprintf(f, ",\"wanted\":%" PRIu32 ",\"alerts\":[", plan->wanted);
	write_alerts(plan, f);
	fputs("],\"moves\":[", f);
	for (uint32_t i = 0; i < plan->nmove; i++) {
		fputs(i ? "," : "", f);
		write_move(plan, &plan->move[i], f);
	}
	fputc(']', f);
	if (!plan->nmove) {
		fputs(",\"nothing\":\"", f);
		plan_why_nothing(plan, f);
		fputc('"', f);
	}
	fputs(",\"refused\":{", f);
	write_counts(plan, f);
	fputs("},\"refusals\":[", f);
	for (uint32_t i = 0; i < plan->nrefusal; i++) {
		fputs(i ? "," : "", f);
		write_refusal(plan, &plan->refusal[i], f);
	}
	fprintf(f, "],\"left_out\":%" PRIu32 ",\"sentences\":[", plan->snapshot->nrefused);
	write_sentences(plan, f);
	fputs("]}", f);
}

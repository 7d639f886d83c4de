/* SPDX-License-Identifier: Apache-2.0 */
#include "planner/explain.h"

#include <errno.h>
#include <inttypes.h>

#include "bits.h"
#include "planner_internal.h"
#include "planner/snapshot.h"

static const double GIB_BYTES = 1073741824;

static const char *name_of(const struct snapshot *s, uint32_t name)
{
	return names_text(&s->names, name);
}

static void explain_summary(const struct plan *plan, FILE *f)
{
	const struct happiness_summary *now = &plan->now;

	fprintf(f,
		"%" PRIu32 " VMs on %" PRIu32
		" hosts get %.3f of what they want, 1 in 100 less than "
		"%.3f; %" PRIu32 " less than %g\n",
		now->vms, plan->snapshot->nhost, now->mean, now->percentile_1, now->low,
		plan->snapshot->policy.happy_low);
	if (plan->nmove)
		fprintf(f, "expected loss: %.2f vCPUs, after the plan %.2f\n", plan->loss_before,
			plan->loss_after);
	if (plan->audit_failed)
		fprintf(f, "the last moves won %.2f of what they promised: only recommended\n",
			plan->audit_kept);
	if (plan->short_hosts)
		fprintf(f, "%" PRIu32 " hosts do not get their reserve of memory back\n",
			plan->short_hosts);
	if (plan->spare_missing > 0)
		fprintf(f, "if %g hosts failed, %.1f GiB of VMs would have no place\n",
			plan->snapshot->policy.hosts_in_reserve, plan->spare_missing / GIB_BYTES);
	if (plan->stuck)
		fprintf(f, "%" PRIu32 " VMs that must leave their hosts cannot\n", plan->stuck);
}

static void explain_moves(const struct plan *plan, FILE *f)
{
	const struct snapshot *s = plan->snapshot;

	fprintf(f, "\n%-4s  %-20s  %-16s  %-16s  %-11s  %6s  %6s  %8s  %8s  %7s  %8s\n", "WAVE",
		"VM", "FROM", "TO", "WHY", "HERE", "THERE", "BENEFIT", "COST", "TIME", "BLACKOUT");
	for (uint32_t i = 0; i < plan->nmove; i++) {
		const struct plan_move *m = &plan->move[i];
		const struct judged *j = &m->judged;

		fprintf(f,
			"%-4" PRIu32 "  %-20s  %-16s  %-16s  %-11s  %6.3f  %6.3f  %8.1f  %8.1f"
			"  %5.1f s  %5.0f ms%s%s\n",
			m->wave, name_of(s, s->vm[m->vm].name), name_of(s, s->host[m->from].name),
			name_of(s, s->host[m->to].name), why_word(m->why), j->happy_here,
			j->happy_there, j->benefit, j->cost, j->move.time_s,
			j->move.blackout_s * 1000, m->parks ? "  parked" : "",
			m->execute ? "  now" : "");
	}
}

void explain_plan(const struct plan *plan, FILE *f)
{
	const struct snapshot *s = plan->snapshot;
	const char *before = "\n";

	explain_summary(plan, f);
	if (plan->nmove) {
		explain_moves(plan, f);
	} else {
		fputs("nothing to do: ", f);
		plan_why_nothing(plan, f);
		fputc('\n', f);
	}
	for (enum rule r = RULE_NONE + 1; r < RULES; r++) {
		if (!plan->refused[r])
			continue;
		fprintf(f, "%s%" PRIu32 " stay by rule %s: %s\n", before, plan->refused[r],
			rule_word(r), rule_sentence(r));
		before = "";
	}
	for (uint32_t i = 0; i < s->nrefused && i < s->policy.explain_max; i++)
		fprintf(f, "%s\n", s->refused[i].sentence);
}

static void explain_places(struct planner *p, uint32_t vm, FILE *f)
{
	const struct snapshot *s = p->snapshot;

	fprintf(f, "\n%-16s  %6s  %6s  %8s  %8s  %7s  %8s  %s\n", "TO", "THERE", "USE", "BENEFIT",
		"COST", "TIME", "BLACKOUT", "RULE");
	for (uint32_t i = 0; i < s->nhost; i++) {
		struct judged j;

		if (i == p->fleet.vm[vm].host)
			continue;
		judge_move(p, vm, i, &j);
		if (!j.rule && !why_is_must(p->why[vm]) && spare_breaks(p, vm, i))
			j.rule = RULE_RESERVE_HOST;
		fprintf(f, "%-16s  %6.3f  %6.3f  %8.1f  %8.1f  %5.1f s  %5.0f ms  %s: %s\n",
			name_of(s, s->host[i].name), j.happy_there, j.use_to, j.benefit, j.cost,
			j.move.time_s, j.move.blackout_s * 1000, rule_word(j.rule),
			rule_sentence(j.rule));
	}
}

static void explain_vm(struct planner *p, uint32_t vm, FILE *f)
{
	const struct snapshot *s = p->snapshot;
	const struct vm *v = &s->vm[vm];
	enum why why = p->why[vm];

	fprintf(f, "VM %s: %" PRIu64 " vCPUs, %.1f GiB, on host %s\n", name_of(s, v->name),
		v->vcpus, (double)v->memory / GIB_BYTES, name_of(s, v->host_name));
	fprintf(f, "gets %.3f of what it wants, the newest window first:", happiness(v, 0));
	for (uint32_t i = 0; i < v->run.n; i++)
		fprintf(f, " %.3f", happiness(v, i));
	fprintf(f, "\nuses %.2f cores, give or take %.2f", v->cpu_mean, v->cpu_deviation);
	if (v->cpu_yesterday >= 0)
		fprintf(f, "; its days are alike, from this hour on it used %.2f yesterday",
			v->cpu_yesterday);
	fputc('\n', f);
	fprintf(f, "%s: %s\n", why_word(why), why_sentence(why));
	if (p->barred[vm])
		fprintf(f, "stays by rule %s: %s\n", rule_word(p->barred[vm]),
			rule_sentence(p->barred[vm]));
	if (v->past.n)
		fprintf(f,
			"moved %" PRIu32 " times, last %" PRIu64
			" s ago; stays for %.0f s after it\n",
			v->past.n, s->time > v->past.move[0].at ? s->time - v->past.move[0].at : 0,
			damping_cooldown_s(s, v));
	if (v->host != NOWHERE)
		explain_places(p, vm, f);
}

static void explain_host(const struct planner *p, uint32_t host, FILE *f)
{
	const struct snapshot *s = p->snapshot;
	const struct host *h = &s->host[host];
	const struct fleet_host *now = &p->fleet.host[host];

	fprintf(f, "host %s: %g cores, expected use %.3f, expected loss %.2f vCPUs\n",
		name_of(s, h->name), h->cores, now->use, now->loss);
	fprintf(f, "memory: %.1f GiB, %.1f to be kept free; %.1f free now, %.1f not promised\n",
		(double)h->memory / GIB_BYTES, (double)h->reserve / GIB_BYTES,
		(double)h->available / GIB_BYTES, fleet_room(&p->fleet, host) / GIB_BYTES);
	if (p->damping.frozen[host])
		fputs("a move has just changed it: it is not judged\n", f);
	if (now->blind)
		fputs("something of it is not known: nothing goes there\n", f);
	fprintf(f, "\n%-20s  %6s  %8s  %-11s  %s\n", "VM", "GETS", "CORES", "WHY", "RULE");
	for (uint32_t i = now->first; i != NOWHERE; i = p->fleet.vm[i].next)
		fprintf(f, "%-20s  %6.3f  %8.2f  %-11s  %s\n", name_of(s, s->vm[i].name),
			happiness(&s->vm[i], 0), s->vm[i].cpu_mean, why_word(p->why[i]),
			rule_word(p->barred[i]));
}

/* Of what is known, but makes no sense. */
static const char *why_refused(const struct snapshot *s, const char *name)
{
	static const char *const kinds[] = { "VM ", "host " };
	const size_t len = strlen(name);

	for (uint32_t i = 0; i < s->nrefused; i++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			const char *sentence = s->refused[i].sentence;
			const size_t n = strlen(kinds[k]);

			if (!strncmp(sentence, kinds[k], n) && !strncmp(sentence + n, name, len) &&
			    sentence[n + len] == ' ')
				return sentence;
		}
	return NULL;
}

int explain_name(const struct snapshot *s, const char *name, FILE *f, struct err *e)
{
	uint32_t number = names_find(&s->names, name);
	uint32_t vm = snapshot_vm(s, number), host = snapshot_host(s, number);
	const char *refused = why_refused(s, name);
	struct planner p;
	int r;

	if (vm == NOWHERE && host == NOWHERE)
		return refused ? err_set(e, -EINVAL, "%s", refused)
			       : err_set(e, -ENOENT, "there is no VM and no host %.64s", name);
	r = planner_new(&p, s, e);
	if (r)
		return r;
	if (vm != NOWHERE)
		explain_vm(&p, vm, f);
	if (host != NOWHERE)
		explain_host(&p, host, f);
	planner_free(&p);
	return 0;
}

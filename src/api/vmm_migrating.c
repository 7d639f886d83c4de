/* SPDX-License-Identifier: Apache-2.0 */
/* What may be asked of a VM that is being migrated, and what its users are told. */
#include <stdio.h>

#include "hub.h"
#include "machine.h"
#include "migration_asks.h"
#include "option.h"

bool vmm_is_handed_over(const struct vmm *v)
{
	struct migration *m = vmm_migration(v);

	return m && migration_is_past_token(m);
}

bool vmm_is_undecided(const struct vmm *v)
{
	struct migration *m = vmm_migration(v);

	return m && migration_is_undecided(m);
}

/* A guest that stands still, or has not come yet, is pressed no button. */
static bool reaches_guest(const struct vmm *v, const struct vmm_request *q)
{
	return (q->run == vmm_power_button || q->run == vmm_nmi || q->run == vmm_balloon_stats) &&
	       !vmm_migration_holds(v);
}

bool vmm_migration_refuses(struct vmm *v, const struct vmm_request *q, struct err *e)
{
	struct migration *m = vmm_migration(v);

	if (!m || reaches_guest(v, q))
		return false;
	if (migration_is_past_token(m))
		err_set(e, 0,
			"the VM was handed over to %s and may run there; if that is not to be had "
			"any more: godwit resolve %s",
			migration_url(m), v->config.name);
	else
		err_set(e, 0,
			"the VM is being migrated; wait for its end, or call it off with "
			"vm.cancel-migration");
	return true;
}

bool vmm_call_off(struct vmm *v)
{
	struct migration *m = vmm_migration(v);

	if (m)
		migration_cancel(m);
	return m && migration_is_incoming(m);
}

bool vmm_is_held(const struct vmm *v)
{
	return vmm_is_migrating(v) && vmm_migration_holds(v);
}

void vmm_tell_ports(struct vmm *v, const char *url)
{
	char line[MIGRATION_URL_MAX + 64];
	struct device *dev;
	int n = snprintf(line, sizeof(line), "\r\n[godwit: this VM runs at %s now]\r\n", url);

	list_for_each (dev, &machine_vm(v->machine)->devices, node)
		if (dev->port)
			hub_write(dev->port, (const uint8_t *)line, (size_t)n);
}

static const char *or_none(const json_t *text)
{
	const char *s = json_string_value(text);

	return s && *s ? s : "none";
}

static const char *outcome_of(const json_t *progress)
{
	json_t *state = json_object_get(progress, "state");

	if (json_object_get(state, "Finished"))
		return "finished";
	if (json_object_get(state, "Cancelled"))
		return "cancelled";
	return "failed";
}

void vmm_note_migration(struct vmm_migration *g, bool settled, const char *why)
{
	const struct vmm_hooks *h = &g->vmm->hooks;
	json_auto_t *p = NULL;

	if (!h->moved || g->noted)
		return;
	g->noted = true;
	p = migration_progress(g->m);
	h->moved(h->arg, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s*}", "event",
				   "migration", "direction", g->incoming ? "in" : "out", "url",
				   migration_url(g->m), "peer", or_none(json_object_get(p, "peer")),
				   "identity", or_none(json_object_get(p, "peer_identity")),
				   "outcome", settled ? outcome_of(p) : "undecided", "duration_us",
				   (json_int_t)(loop_now_ns() - g->began_ns) / 1000, "error",
				   why && *why ? why : NULL));
}

struct verdict {
	bool run;
};

static const struct option verdict_keys[] = { OPTION(struct verdict, run, .required = true) };
static const struct option_table verdict_table = OPTION_TABLE(verdict_keys);

void vmm_resolve_migration(struct vmm *v, struct vmm_request *q)
{
	struct migration *m = vmm_migration(v);
	struct verdict verdict;

	if (option_load(&verdict_table, "vm.resolve-migration", q->in, &verdict, &q->e))
		q->fault = VMM_INVALID;
	else if (!m)
		vmm_refuse_idle(q);
	else if (migration_resolve(m, verdict.run, &q->e))
		q->fault = VMM_FAILED;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What may be asked of a VM that is being migrated, and what its users are told. */
#include <stdio.h>

#include "hub.h"
#include "machine.h"
#include "migration.h"
#include "option.h"
#include "vmm_internal.h"

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

/* SPDX-License-Identifier: Apache-2.0 */
/* What the VM counts: read on main, written down on the API's thread. */
#include <string.h>

#include "api_internal.h"
#include "machine.h"
#include "metrics.h"

/* Before it is booted a VM counts nothing. */
void read_counters(struct vmm *v, struct vmm_request *q)
{
	struct call *c = q->arg;

	if (!vmm_config(v))
		vmm_refuse_none(q);
	else if (vmm_machine(v) &&
		 (counters_read(machine_vm(vmm_machine(v)), &c->counters) ||
		  vmm_count_migration(v, &c->counters) || vmm_count_signals(v, &c->counters)))
		q->fault = VMM_FAILED;
	if (q->fault == VMM_FAILED)
		err_set(&q->e, 0, "out of memory");
}

void route_counters(struct call *c)
{
	json_t *json = audit_log_count(&c->api->log, &c->counters) ? NULL
								   : metrics_json(&c->counters);

	if (json)
		call_answer_json(c, json);
	else
		call_fail(c, 500, "out of memory");
}

void route_metrics(struct call *c)
{
	enum metrics_format format = strstr(c->http->accept, "application/openmetrics-text")
					     ? METRICS_OPENMETRICS
					     : METRICS_PROMETHEUS;
	char *text = audit_log_count(&c->api->log, &c->counters)
			     ? NULL
			     : metrics_text(format, &c->counters);

	if (text)
		call_answer(c, 200, metrics_content_type[format], text);
	else
		call_fail(c, 500, "out of memory");
}

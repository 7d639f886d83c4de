/* SPDX-License-Identifier: Apache-2.0 */
/* How a move would go: what main knows of the guest, over a link that the client knows. */
#include "api_internal.h"
#include "vmm_signals.h"

static uint64_t number(const json_t *in, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(in, key));
}

void route_predict_migration(struct call *c)
{
	struct check_estimate estimate = {
		.bytes = number(c->vmm.out, "memory_bytes"),
		.written = number(c->vmm.out, "memory_dirty_bps"),
		.write_set = number(c->vmm.out, "memory_write_set"),
		.rate = number(c->vmm.out, "memory_transmission_bps"),
	};

	if (!http_query_number(c->http->query, "rate", &estimate.rate) || !estimate.rate ||
	    estimate.rate > INT64_MAX) {
		call_fail(c, 400,
			  "rate is a number of bytes a second: "
			  "vm.predict-migration?rate=1250000000");
		return;
	}
	vmm_default_estimate(&estimate);
	call_answer_json(c, check_estimate_json(&estimate));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a VM's balloon, and what its guest says of its memory: vm.balloon-stats. */
#include <stdlib.h>

#include "balloon.h"
#include "cleanup.h"
#include "machine.h"
#include "vmm_internal.h"

enum { NS_PER_MS = 1000000 };

struct look {
	struct vmm_request *q;
	struct device *balloon;
	struct balloon_ask ask;
};

static json_t *all_of(const struct balloon_reading *now)
{
	json_t *stats = json_object(), *times = json_object();

	for (unsigned i = 0; i < BALLOON_STATISTICS; i++) {
		const char *name = now->statistic[i].name;

		if (!now->statistic[i].at_ns)
			continue;
		json_object_set_new(stats, name, json_integer((json_int_t)now->statistic[i].value));
		json_object_set_new(
			times, name,
			json_integer((json_int_t)(now->statistic[i].at_ns / NS_PER_MS)));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "balloon_target",
			 (json_int_t)now->target_bytes, "balloon_actual",
			 (json_int_t)now->actual_bytes, "balloon_given",
			 (json_int_t)now->given_bytes, "balloon_touched",
			 (json_int_t)now->touched_bytes, "stats", stats, "times_ms", times);
}

static void asked(void *arg)
{
	CLEANUP(free) struct look *look = arg;
	struct balloon_reading now;

	balloon_read(look->balloon, &now);
	look->q->out = all_of(&now);
	look->q->fault = VMM_OK;
	look->q->done(look->q);
}

/* The guest has a second to answer; others need not wait for that. */
void vmm_balloon_stats(struct vmm *v, struct vmm_request *q)
{
	struct look *look;

	if (!vmm_check_booted(v))
		return;
	look = malloc(sizeof(*look));
	if (!look) {
		vmm_fail(v, VMM_FAILED, "out of memory");
		return;
	}
	*look = (struct look){ .q = q,
			       .balloon = balloon_device(machine_vm(v->machine)),
			       .ask = { .done = asked, .arg = look } };
	if (!look->balloon) {
		free(look);
		vmm_fail(v, VMM_NO_VM, "the VM \"%s\" has no balloon", v->config.name);
		return;
	}
	vmm_release(v);
	balloon_ask(look->balloon, &look->ask);
}

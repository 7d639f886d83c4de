/* SPDX-License-Identifier: Apache-2.0 */
/* What completion knows of running VMs. */
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "rundir.h"

enum { ANSWER_LIMIT_MS = 1000 };

static void offer_vm(void *arg, const char *name, int dir, pid_t pid)
{
	(void)dir;
	(void)pid;
	complete_offer(arg, name);
}

void offer_vms(const struct completion *c)
{
	rundir_each(geteuid(), offer_vm, (void *)c);
}

/* Those that can be taken away. */
void offer_devices(const struct completion *completion)
{
	json_t *info = NULL, *config, *device;
	struct client c;
	struct err e;
	size_t at;

	if (!client_open(&c, completion->operand, &e)) {
		client_set_limit(&c, ANSWER_LIMIT_MS);
		client_get(&c, "vm.info", &info, &e);
	}
	client_close(&c);
	config = json_object_get(info, "config");
	for (size_t i = 0; i < nconfig_sections; i++) {
		if (!config_sections[i].hotplug)
			continue;
		json_array_foreach(json_object_get(config, config_sections[i].key), at, device)
		{
			const char *id = json_string_value(json_object_get(device, "id"));

			if (id)
				complete_offer(completion, id);
		}
	}
	json_decref(info);
}

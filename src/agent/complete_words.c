/* SPDX-License-Identifier: Apache-2.0 */
/* What completion knows: edits of a snapshot, and the hosts and VMs of the running agent. */
#include <stdio.h>

#include "ask.h"
#include "bits.h"
#include "command/complete.h"
#include "verbs.h"

enum { ANSWER_LIMIT_MS = 1000 };

static void offer_key(void *arg, const struct option_key *k)
{
	char text[64];

	snprintf(text, sizeof(text), "%s=", k->key);
	complete_offer(arg, text);
}

void offer_edits(const struct completion *c)
{
	static const char *const edits[] = {
		"add-host=", "remove-host=", "maintenance=",   "drain=",        "up=",
		"dead=",     "mode=auto",    "mode=recommend", "mode=emergency"
	};

	for (size_t i = 0; i < ARRAY_SIZE(edits); i++)
		complete_offer(c, edits[i]);
	policy_keys(offer_key, (void *)c);
}

static void offer_each(const struct completion *c, const char *list, const char *key)
{
	json_t *status, *item;
	struct err e;
	size_t i;

	ask_get("status", ANSWER_LIMIT_MS, &status, &e);
	json_array_foreach(json_object_get(status, list), i, item)
	{
		const char *name = json_string_value(json_object_get(item, key));

		if (name)
			complete_offer(c, name);
	}
	json_decref(status);
}

void offer_hosts(const struct completion *c)
{
	offer_each(c, "hosts", "id");
}

void offer_vms(const struct completion *c)
{
	offer_each(c, "vms", "name");
}

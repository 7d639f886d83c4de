/* SPDX-License-Identifier: Apache-2.0 */
#include "strays.h"

#include <string.h>

#include "arrivals.h"
#include "client.h"
#include "days.h"
#include "past.h"
#include "peers.h"
#include "process.h"
#include "specs.h"
#include "supervise.h"

enum { ANSWER_MS = 2000 };

/* An agent of this host started it, and none watches it. */
static bool is_stray(struct agent *a, const char *name, pid_t pid)
{
	bool stray;

	pthread_mutex_lock(&a->lock);
	stray = !agent_vm(a, name) && !arrivals_awaits(a, name) && process_last(a, name) == pid;
	pthread_mutex_unlock(&a->lock);
	return stray;
}

/* What has begun to come may come. */
static bool waits(struct client *c)
{
	json_auto_t *progress = NULL;
	struct err e;

	client_set_limit(c, ANSWER_MS);
	return !client_get(c, "vm.migration-progress", &progress, &e) &&
	       json_is_true(json_object_get(progress, "incoming")) &&
	       !json_string_length(json_object_get(progress, "session"));
}

void strays_end(struct agent *a, const char *name, pid_t pid)
{
	struct client c;
	struct err e;

	if (!is_stray(a, name, pid))
		return;
	if (!client_open(&c, name, &e) && waits(&c) &&
	    !client_put(&c, "vm.cancel-migration", NULL, NULL, &e)) {
		pthread_mutex_lock(&a->lock);
		agent_say(a, "not-arrived", name,
			  "process %d waited for it, and the agent that had it wait has ended",
			  (int)pid);
		pthread_mutex_unlock(&a->lock);
	}
	client_close(&c);
}

struct search {
	const char *uuid, *host;
};

static void look_for(void *arg, const struct peer_view *view)
{
	struct search *s = arg;
	const json_t *vm;
	size_t i;

	if (!view->heard)
		return;
	json_array_foreach(json_object_get(view->state, "vms"), i, vm)
	{
		const char *uuid = json_string_value(json_object_get(vm, "uuid"));

		if (uuid && !strcmp(uuid, s->uuid) && json_object_get(vm, "record") &&
		    json_is_true(json_object_get(vm, "spec")))
			s->host = view->id;
	}
}

static void leave_if_there(struct agent *a, const struct spec *s)
{
	struct search search = { .uuid = s->values.uuid };
	char name[SPEC_NAME_MAX + 1];
	struct err e;

	if (s->pid || s->job || s->moves || agent_vm(a, s->name) || arrivals_awaits(a, s->name))
		return;
	peers_each(a, look_for, &search);
	if (!search.host || !supervise_is_elsewhere(s))
		return;
	strcpy(name, s->name);
	past_forget(a, name);
	days_set(a->days, name, NULL);
	if (specs_leave(a, name, &e))
		agent_say(a, "spec-kept", name, "%s", e.text);
}

void strays_leave(struct agent *a)
{
	struct list *node = a->specs->list.next;

	while (node != &a->specs->list) {
		const struct spec *s = list_item(node, struct spec, node);

		node = node->next;
		leave_if_there(a, s);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "planner/what_if.h"

#include <errno.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "planner/fields.h"
#include "grow.h"
#include "planner/snapshot.h"

static int find_host(const struct snapshot *s, const char *name, uint32_t *host, struct err *e)
{
	*host = snapshot_host(s, names_find(&s->names, name));
	return *host != NOWHERE ? 0 : err_set(e, -ENOENT, "there is no host %.64s", name);
}

static int add_host(struct snapshot *s, char *text, struct err *e)
{
	static const char like[] = "like=";
	char *name = strsep(&text, ",");
	struct host h;
	uint32_t model = 0;
	int r = 0;

	if (!name_is_valid(name) || (text && strncmp(text, like, strlen(like))))
		return err_set(e, -EINVAL, "a new host is given as NAME or NAME,like=HOST");
	if (snapshot_host(s, names_find(&s->names, name)) != NOWHERE)
		return err_set(e, -EEXIST, "there is a host %s already", name);
	if (text)
		r = find_host(s, text + strlen(like), &model, e);
	else if (!s->nhost)
		r = err_set(e, -EINVAL, "there is no host that a new one could be like");
	if (r)
		return r;
	h = s->host[model];
	h.name = names_add(&s->names, name);
	if (!h.name || grow(&s->host, s->nhost, &s->host_room))
		return err_set(e, -ENOMEM, "out of memory");
	h.at = s->time;
	h.state = HOST_UP;
	h.available = h.memory;
	h.link_used = h.psi_cpu = h.psi_mem = h.psi_io = 0;
	h.maintenance_at = 0;
	memset(h.use.value, 0, sizeof(h.use.value));
	s->host[s->nhost++] = h;
	return snapshot_index(s, e);
}

int what_if_apply(struct snapshot *s, const char *edit, struct err *e)
{
	static const struct {
		const char *word;
		enum host_state state;
	} states[] = { { "remove-host", HOST_DRAINING },
		       { "drain", HOST_DRAINING },
		       { "maintenance", HOST_MAINTENANCE },
		       { "up", HOST_UP },
		       { "dead", HOST_DEAD } };
	CLEANUP(free) char *copy = strdup(edit);
	char *value = copy, *key;
	uint32_t host;
	int r;

	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	key = strsep(&value, "=");
	if (!value)
		return err_set(e, -EINVAL, "an edit is given as KEY=VALUE");
	if (!strcmp(key, "add-host"))
		return add_host(s, value, e);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (strcmp(states[i].word, key))
			continue;
		r = find_host(s, value, &host, e);
		if (!r)
			s->host[host].state = states[i].state;
		return r;
	}
	if (!strcmp(key, "mode"))
		return fields_set(&snapshot_fields, key, value, s, e);
	r = fields_set(&policy_fields, key, value, &s->policy, e);
	return r ? r : snapshot_index(s, e); /* what is stale may have changed */
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "specs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "process.h"
#include "record.h"
#include "supervise.h"
#include "uuid.h"

static const char file_end[] = ".json";

static void place(char path[SPEC_NAME_MAX + 8], const char *name)
{
	snprintf(path, SPEC_NAME_MAX + 8, "%.*s%s", SPEC_NAME_MAX, name, file_end);
}

struct spec *specs_find(const struct agent *a, const char *name)
{
	struct spec *s;

	list_for_each (s, &a->specs->list, node)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

int spec_keep(struct spec *s, struct err *e)
{
	json_auto_t *record = json_pack("{s:O, s:b, s:b, s:b, s:s}", "spec", s->json, "comes",
					s->comes, "over", s->over, "failed", s->failed, "why",
					s->why);
	char file[SPEC_NAME_MAX + 8];
	int r = -ENOMEM;

	place(file, s->name);
	if (record)
		r = record_write(s->agent->specs->dir, file, 0600, record);
	return r ? err_set(e, r, "the spec of \"%s\" cannot be kept: %s", s->name, strerror(-r))
		 : 0;
}

static void drop(struct spec *s)
{
	supervise_forget(s);
	list_remove(&s->node);
	json_decref(s->json);
	free(s);
}

static struct spec *add(struct agent *a, json_t *json, const struct spec_values *v)
{
	struct spec *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->agent = a;
	s->json = json_incref(json);
	s->values = *v;
	snprintf(s->name, sizeof(s->name), "%s", v->name);
	list_append(&a->specs->list, &s->node);
	return s;
}

static int remove_file(struct agent *a, const char *name, struct err *e)
{
	char file[SPEC_NAME_MAX + 8];

	place(file, name);
	if ((unlinkat(a->specs->dir, file, 0) && errno != ENOENT) || fsync(a->specs->dir))
		return err_set(e, -errno, "the spec of \"%.64s\" cannot be removed: %s", name,
			       strerror(errno));
	return 0;
}

static int load(struct agent *a, const char *file)
{
	json_auto_t *record = NULL;
	struct spec_values v;
	const char *why = "";
	struct spec *s;
	json_t *json;
	struct err e;
	int r = record_read(a->specs->dir, file, &record), comes, over, failed;

	if (!r && json_unpack(record, "{s:o, s:b, s:b, s:b, s:s}", "spec", &json, "comes", &comes,
			      "over", &over, "failed", &failed, "why", &why))
		r = -EBADMSG;
	if (!r)
		r = spec_read(json, &v, &e);
	if (!r &&
	    (strncmp(file, v.name, strlen(v.name)) || strcmp(file + strlen(v.name), file_end)))
		r = -EBADMSG;
	if (r)
		return r;
	s = add(a, json, &v);
	if (!s)
		return -ENOMEM;
	s->comes = comes;
	s->over = over;
	s->failed = failed;
	snprintf(s->why, sizeof(s->why), "%s", why);
	return 0;
}

/* One that is damaged keeps no other from being looked after. */
static int load_all(struct agent *a)
{
	DIR *dir = fdopendir(openat(a->specs->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	int r;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		const char *end = strrchr(entry->d_name, '.');

		if (!end || strcmp(end, file_end))
			continue;
		r = load(a, entry->d_name);
		if (r)
			log_error("the agent's specs/%s is damaged and left out; apply it again",
				  entry->d_name);
	}
	closedir(dir);
	return 0;
}

int specs_new(struct specs **out, struct agent *a, struct err *e)
{
	struct specs *specs = calloc(1, sizeof(*specs));
	int r = 0;

	if (!specs)
		return err_set(e, -ENOMEM, "out of memory");
	list_init(&specs->list);
	list_init(&specs->jobs);
	*out = specs;
	if (mkdirat(a->store, "specs", 0700) && errno != EEXIST)
		r = -errno;
	specs->dir = openat(a->store, "specs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!r && specs->dir < 0)
		r = -errno;
	r = r ? r : load_all(a);
	return r ? err_set(e, r, "the agent's directory of specs cannot be opened: %s",
			   strerror(-r))
		 : 0;
}

void specs_free(struct agent *a)
{
	struct specs *specs = TAKE(a->specs);

	if (!specs)
		return;
	a->specs = specs;
	supervise_end(a);
	while (!list_empty(&specs->list))
		drop(list_item(specs->list.next, struct spec, node));
	cleanup_fd(&specs->dir);
	free(specs);
	a->specs = NULL;
}

json_t *specs_of(const struct agent *a, const char *name)
{
	const struct spec *s = specs_find(a, name);

	return s ? json_incref(s->json) : NULL;
}

/* One that is not said stays as it was; it is that of a VM that runs already. */
static int choose_uuid(struct agent *a, json_t *json, const struct spec_values *v, struct err *e)
{
	const struct spec *old = specs_find(a, v->name);
	const struct agent_vm *vm = agent_vm(a, v->name);
	char uuid[37] = "";
	int r = 0;

	if (v->uuid)
		return 0;
	if (old)
		snprintf(uuid, sizeof(uuid), "%s", old->values.uuid);
	else if (vm)
		snprintf(uuid, sizeof(uuid), "%s", vm->uuid);
	if (!*uuid)
		r = uuid_new(uuid, e);
	return r ? r : spec_set_uuid(json, uuid, e);
}

static void say(json_t *says, const char *sentence)
{
	json_array_append_new(says, json_string(sentence));
}

static void explain_change(const struct agent *a, const char *name, const json_t *old,
			   const json_t *new, json_t *says)
{
	const struct agent_vm *vm = agent_vm(a, name);

	if (!old)
		say(says, vm ? "A VM of that name runs already, and is looked after from now on."
			     : "The spec is new.");
	else if (json_equal(old, new))
		say(says, "The spec is as it was.");
	else
		say(says, "The spec has changed.");
	if (old && vm && !json_equal(json_object_get(old, "vm"), json_object_get(new, "vm")))
		say(says, "What is new in \"vm\" takes effect when it is started the next time.");
}

/* Takes the place of what is there; the old one is as it was if that fails. */
static int put(struct agent *a, json_t *json, bool comes, struct spec **out, struct err *e)
{
	struct spec_values v;
	struct spec *s, old;
	int r = spec_read(json, &v, e);

	if (r)
		return r;
	s = specs_find(a, v.name);
	*out = s ? s : add(a, json, &v);
	if (!*out)
		return err_set(e, -ENOMEM, "out of memory");
	old = **out;
	(*out)->json = json;
	(*out)->values = v;
	(*out)->comes = comes;
	(*out)->over = (*out)->failed = false;
	(*out)->why[0] = '\0';
	r = spec_keep(*out, e);
	if (!r) {
		json_incref(json);
		json_decref(old.json);
	} else if (s) {
		**out = old;
	} else {
		(*out)->json = old.json;
		drop(*out);
	}
	return r;
}

static int settle(struct spec *s, const struct asker *asker, struct err *e)
{
	if (s->values.runs)
		return supervise_start(s, asker, e);
	return supervise_stop(s, asker, e);
}

static int refuse_busy(const struct spec *s, struct err *e)
{
	if (s->moves)
		return err_set(e, -EBUSY, "\"%s\" is on its way to another host", s->name);
	if (s->job)
		return err_set(e, -EBUSY, "\"%s\" is being started or stopped; try again", s->name);
	return 0;
}

int specs_apply(struct agent *a, const json_t *given, json_t *says, const struct asker *asker,
		struct err *e)
{
	json_auto_t *json = json_deep_copy(given), *old = NULL;
	struct spec_values v;
	struct spec *s;
	struct err why;
	int r = json ? spec_read(json, &v, e) : err_set(e, -ENOMEM, "out of memory");

	if (r)
		return r;
	s = specs_find(a, v.name);
	old = specs_of(a, v.name);
	r = s ? refuse_busy(s, e) : 0;
	r = r ? r : choose_uuid(a, json, &v, e);
	r = r ? r : put(a, json, s && s->comes, &s, e);
	if (r)
		return r;
	explain_change(a, s->name, old, json, says);
	agent_say(a, "spec-applied", s->name, "it is to be %s",
		  s->values.runs ? "running" : "stopped");
	r = settle(s, asker, &why);
	if (r)
		asker->told(asker->arg, r, &why);
	return 0;
}

static int find(struct agent *a, const char *name, struct spec **s, struct err *e)
{
	*s = name ? specs_find(a, name) : NULL;
	return *s ? 0 : err_set(e, -ENOENT, "there is no spec \"%.64s\"", name ? name : "");
}

int specs_delete(struct agent *a, const char *name, struct err *e)
{
	struct spec *s;
	int r = find(a, name, &s, e);

	r = r ? r : refuse_busy(s, e);
	r = r ? r : remove_file(a, name, e);
	if (r)
		return r;
	agent_say(a, "spec-deleted", name, "%s",
		  s->pid ? "its VM goes on, and nobody starts it again" : "its VM does not run");
	if (!s->pid)
		process_forget(a, name);
	drop(s);
	return 0;
}

static int want(struct agent *a, const char *name, bool runs, const struct asker *asker,
		struct err *e)
{
	json_auto_t *json = NULL;
	struct spec *s;
	int r = find(a, name, &s, e);

	r = r ? r : refuse_busy(s, e);
	if (r)
		return r;
	json = json_deep_copy(s->json);
	if (json_object_set_new(json, "state", json_string(runs ? "running" : "stopped")))
		return err_set(e, -ENOMEM, "out of memory");
	r = put(a, json, s->comes, &s, e);
	return r ? r : settle(s, asker, e);
}

int specs_start(struct agent *a, const char *name, const struct asker *asker, struct err *e)
{
	return want(a, name, true, asker, e);
}

int specs_stop(struct agent *a, const char *name, const struct asker *asker, struct err *e)
{
	return want(a, name, false, asker, e);
}

void specs_moves(struct agent *a, const char *name, bool moves)
{
	struct spec *s = specs_find(a, name);

	if (s)
		s->moves = moves;
}

json_t *specs_take(const struct agent *a, const char *name)
{
	const struct spec *s = specs_find(a, name);

	return s ? json_deep_copy(s->json) : NULL;
}

int specs_adopt(struct agent *a, const json_t *given, struct err *e)
{
	json_auto_t *json = json_deep_copy(given);
	struct spec_values v;
	struct spec *s;
	int r = json ? spec_read(json, &v, e) : err_set(e, -ENOMEM, "out of memory");

	if (!r && !v.uuid)
		r = err_set(e, -EINVAL, "the spec of \"%s\" comes without the uuid of its VM",
			    v.name);
	if (r)
		return r;
	s = specs_find(a, v.name);
	if (s && (strcmp(s->values.uuid, v.uuid) || !supervise_is_elsewhere(s)))
		return err_set(e, -EBUSY, "the host has a spec \"%s\" of its own", v.name);
	r = put(a, json, !agent_vm(a, v.name), &s, e);
	if (r)
		return r;
	if (s->comes)
		snprintf(s->why, sizeof(s->why), "it has not come from the other host yet");
	agent_say(a, "spec-adopted", s->name, "it came from another host");
	return 0;
}

int specs_leave(struct agent *a, const char *name, struct err *e)
{
	struct spec *s = specs_find(a, name);
	int r = remove_file(a, name, e);

	if (r)
		return r;
	process_forget(a, name);
	if (!s)
		return 0;
	agent_say(a, "spec-left", name, "it is another host's");
	drop(s);
	return 0;
}

void specs_add_to_record(const struct agent *a, const char *name, json_t *record)
{
	const struct spec *s = specs_find(a, name);

	if (s && record)
		spec_add_to_record(s->json, record);
}

void specs_add_to_state(const struct agent *a, const char *name, json_t *state)
{
	const struct spec *s = specs_find(a, name);

	json_object_set_new(state, "spec", json_boolean(s));
	if (!s)
		return;
	json_object_set_new(state, "restarts", json_integer(s->restarts));
	json_object_set_new(state, "why", json_string(s->why));
}

const char *spec_state(const struct spec *s)
{
	if (s->job || s->pid)
		return s->values.runs ? "starting" : "stopping";
	return s->failed ? "failed" : "stopped";
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock is on a file of its own, as the journal's file is a new one after each write.  Lock
 * files stay: to remove one that is not locked would race with who is about to lock it.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "record.h"
#include "statedir.h"
#include "uuid.h"

enum { ACCEPTED_MAX = 64, NAME_BYTES = 64 };

struct history {
	bool any; /* last is there */
	struct journal_entry last;
	struct journal_entry accepted[ACCEPTED_MAX]; /* oldest first */
	unsigned naccepted;
};

struct journal {
	int dir, lock;
	char name[NAME_BYTES];
	enum journal_role role;
	struct history history;
};

static const char *const roles[] = {
	[JOURNAL_SOURCE] = "source", [JOURNAL_DESTINATION] = "destination"
};
static const char *const arbiters[] = {
	[ARBITER_NONE] = "none", [ARBITER_LOCK] = "lock", [ARBITER_LEASE] = "lease"
};
static const struct {
	const char *name;
	enum journal_role role;
} states[] = {
	[JOURNAL_RUNNING] = { "running", JOURNAL_SOURCE },
	[JOURNAL_OFFERED] = { "offered", JOURNAL_SOURCE },
	[JOURNAL_ANSWERED] = { "answered", JOURNAL_SOURCE },
	[JOURNAL_GIVEN] = { "given", JOURNAL_SOURCE },
	[JOURNAL_EXPECTS] = { "expects", JOURNAL_DESTINATION },
	[JOURNAL_PROVEN] = { "proven", JOURNAL_DESTINATION },
	[JOURNAL_ACCEPTED] = { "accepted", JOURNAL_DESTINATION },
	[JOURNAL_REFUSED] = { "refused", JOURNAL_DESTINATION },
};

const char *journal_state_name(enum journal_state state)
{
	return states[state].name;
}

/* Text */

static int parse_entry(json_t *json, enum journal_role role, struct journal_entry *out)
{
	const char *state, *session, *peer, *arbiter;
	json_int_t generation;
	size_t s = 0, a = 0;

	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s, s:I, s:s, s:s}", "state", &state,
			   "session", &session, "generation", &generation, "peer", &peer, "arbiter",
			   &arbiter) ||
	    (*session && !uuid_is(session)) || !record_is_text(peer, sizeof(out->peer)) ||
	    (generation && !record_is_generation(generation)))
		return -EBADMSG;
	while (s < ARRAY_SIZE(states) && (states[s].role != role || strcmp(states[s].name, state)))
		s++;
	while (a < ARRAY_SIZE(arbiters) && strcmp(arbiters[a], arbiter))
		a++;
	if (s == ARRAY_SIZE(states) || a == ARRAY_SIZE(arbiters))
		return -EBADMSG;
	*out = (struct journal_entry){ .state = (enum journal_state)s,
				       .generation = (uint64_t)generation,
				       .arbiter = (enum arbiter)a };
	snprintf(out->session, sizeof(out->session), "%s", session);
	snprintf(out->peer, sizeof(out->peer), "%s", peer);
	return 0;
}

static json_t *print_entry(const struct journal_entry *entry)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s}", "state", states[entry->state].name, "session",
			 entry->session, "generation", (json_int_t)entry->generation, "peer",
			 entry->peer, "arbiter", arbiters[entry->arbiter]);
}

static int parse(json_t *json, enum journal_role role, struct history *h)
{
	json_t *last, *accepted, *entry;
	size_t i;

	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:o, s:o}", "last", &last, "accepted",
			   &accepted) ||
	    !json_is_array(accepted) || json_array_size(accepted) > ACCEPTED_MAX ||
	    parse_entry(last, role, &h->last))
		return -EBADMSG;
	json_array_foreach(accepted, i,
			   entry) if (parse_entry(entry, role, &h->accepted[i])) return -EBADMSG;
	h->naccepted = (unsigned)json_array_size(accepted);
	h->any = true;
	return 0;
}

static json_t *print(const struct history *h)
{
	json_t *accepted = json_array();

	for (unsigned i = 0; i < h->naccepted; i++)
		json_array_append_new(accepted, print_entry(&h->accepted[i]));
	return json_pack("{s:o, s:o}", "last", print_entry(&h->last), "accepted", accepted);
}

/* Files */

static int name_of(char name[NAME_BYTES], const char *uuid, enum journal_role role,
		   const char *kind, struct err *e)
{
	if (!uuid_is(uuid))
		return err_set(e, -EINVAL, "\"%.64s\" is not the uuid of a VM", uuid);
	snprintf(name, NAME_BYTES, "%s-%s.%s", uuid, roles[role], kind);
	return 0;
}

static int load(int dir, const char *name, enum journal_role role, struct history *h, struct err *e)
{
	json_auto_t *json = NULL;
	int r = record_read(dir, name, &json);

	if (!r)
		r = parse(json, role, h);
	if (r == -EBADMSG)
		return err_set(e, r,
			       "%s in the state directory of this host is damaged; if the VM runs "
			       "nowhere else, remove that file",
			       name);
	return r ? err_set(e, r, "%s in the state directory of this host cannot be read: %s", name,
			   strerror(-r))
		 : 0;
}

static int take_lock(struct journal *j, const char *uuid, struct err *e)
{
	char name[NAME_BYTES];
	int r = name_of(name, uuid, j->role, "lock", e);

	if (r)
		return r;
	j->dir = statedir_open(true, e);
	if (j->dir < 0)
		return j->dir;
	j->lock = openat(j->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (j->lock >= 0 && !flock(j->lock, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, -EBUSY,
			       "another migration of the VM %s is under way on this host; wait for "
			       "its end or cancel it",
			       uuid);
	return err_set(e, -errno, "%s in the state directory of this host cannot be locked: %s",
		       name, strerror(errno));
}

int journal_open(struct journal **out, const char *uuid, enum journal_role role, struct err *e)
{
	struct journal *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return err_set(e, -ENOMEM, "out of memory");
	*j = (struct journal){ .role = role, .dir = -1, .lock = -1 };
	r = name_of(j->name, uuid, role, "json", e);
	if (!r)
		r = take_lock(j, uuid, e);
	if (!r) {
		r = load(j->dir, j->name, role, &j->history, e);
		r = r == -ENOENT ? 0 : r;
	}
	if (r) {
		journal_close(j);
		return r;
	}
	*out = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	cleanup_fd(&j->lock);
	cleanup_fd(&j->dir);
	free(j);
}

void journal_unlock(struct journal *j)
{
	cleanup_fd(&j->lock);
	j->lock = -1;
}

/* The oldest gives way. */
static void keep_accepted(struct history *h)
{
	if (h->naccepted == ACCEPTED_MAX)
		memmove(h->accepted, h->accepted + 1, --h->naccepted * sizeof(h->accepted[0]));
	h->accepted[h->naccepted++] = h->last;
}

int journal_write(struct journal *j, const struct journal_entry *entry, struct err *e)
{
	CLEANUP(free) struct history *next = malloc(sizeof(*next));
	json_auto_t *json = NULL;
	struct journal_entry check;
	int r = -ENOMEM;

	if (next) {
		*next = j->history;
		next->last = *entry;
		next->any = true;
		if (entry->state == JOURNAL_ACCEPTED)
			keep_accepted(next);
		json = print(next);
	}
	if (json)
		r = parse_entry(json_object_get(json, "last"), j->role, &check) ? -EINVAL : 0;
	if (!r)
		r = record_write(j->dir, j->name, 0600, json);
	if (r) {
		/* After a failure either may be there, the old one or the new one. */
		if (next && !load(j->dir, j->name, j->role, next, e))
			j->history = *next;
		return err_set(e, r, "%s in the state directory of this host cannot be written: %s",
			       j->name, strerror(-r));
	}
	j->history = *next;
	return 0;
}

int journal_last(const struct journal *j, struct journal_entry *out)
{
	if (!j->history.any)
		return -ENOENT;
	*out = j->history.last;
	return 0;
}

int journal_find(const struct journal *j, const char *session, struct journal_entry *out)
{
	const struct history *h = &j->history;
	unsigned i = h->naccepted;

	if (h->any && !strcmp(h->last.session, session)) {
		*out = h->last;
		return 0;
	}
	while (i && strcmp(h->accepted[i - 1].session, session))
		i--;
	if (!i)
		return -ENOENT;
	*out = h->accepted[i - 1];
	return 0;
}

int journal_read(const char *uuid, enum journal_role role, struct journal_entry *out, struct err *e)
{
	CLEANUP(free) struct history *h = calloc(1, sizeof(*h));
	CLEANUP(fd) int dir = statedir_open(false, e);
	char name[NAME_BYTES];
	int r = name_of(name, uuid, role, "json", e);

	if (r || dir < 0)
		return r ? r : dir;
	if (!h)
		return err_set(e, -ENOMEM, "out of memory");
	r = load(dir, name, role, h, e);
	if (!r)
		*out = h->last;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A holder is named HOST/PLACE/PROCESS.  PLACE is a random uuid in this host's state directory: two
 * hosts with one name are still two.  PROCESS is one too, or the session of the migration by which
 * the process got the VM, as a crash leaves that in its journal.
 */
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "cleanup.h"
#include "lease_ask.h"
#include "owner.h"
#include "record.h"
#include "statedir.h"
#include "uuid.h"

#define PLACE_FILE "lease.json"
#define PLACE_LOCK "lease.lock"

struct lease {
	struct sockaddr_un server;
	char uuid[37]; /* of the VM */
	char host[104]; /* HOST/PLACE */
	char process[37];
	int lock; /* -1: not held */
};

int lease_check_url(const char *url, struct err *e)
{
	struct sockaddr_un a;

	return lease_address(url, &a, e);
}

/* An fd with the lock.  -EWOULDBLOCK: another has it, if how says not to wait. */
static int lock_file(int dir, const char *name, int how)
{
	CLEANUP(fd) int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 || flock(fd, LOCK_EX | how) ? -errno : TAKE_FD(fd);
}

static int read_place(int dir, char place[37])
{
	json_auto_t *json = NULL;
	const char *text;
	int r = record_read(dir, PLACE_FILE, &json);

	if (r)
		return r;
	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s}", "place", &text) || !uuid_is(text))
		return -EBADMSG;
	memcpy(place, text, 37);
	return 0;
}

static int make_place(int dir, char place[37], struct err *e)
{
	json_auto_t *json = NULL;
	int r = uuid_new(place, e);

	if (r)
		return r;
	json = json_pack("{s:s}", "place", place);
	r = json ? record_write(dir, PLACE_FILE, 0600, json) : -ENOMEM;
	return r ? err_set(e, r,
			   "%s in the state directory of this host cannot be written, and without "
			   "it this host cannot hold a lease: %s",
			   PLACE_FILE, strerror(-r))
		 : 0;
}

/* Made once, by whoever needs it first. */
static int find_place(char place[37], struct err *e)
{
	CLEANUP(fd) int dir = statedir_open(true, e);
	CLEANUP(fd) int lock = -1;
	int r;

	if (dir < 0)
		return dir;
	lock = lock_file(dir, PLACE_LOCK, 0);
	r = lock < 0 ? lock : read_place(dir, place);
	if (r == -ENOENT && lock >= 0)
		return make_place(dir, place, e);
	return r ? err_set(e, r,
			   "%s in the state directory of this host cannot be read, and without it "
			   "this host cannot hold a lease: %s",
			   PLACE_FILE, strerror(-r))
		 : 0;
}

int lease_new(struct lease **out, const char *url, const char *uuid, struct err *e)
{
	struct lease *l = calloc(1, sizeof(*l));
	char host[65], place[37];
	int r;

	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->lock = -1;
	snprintf(l->uuid, sizeof(l->uuid), "%s", uuid);
	r = lease_address(url, &l->server, e);
	if (!r)
		r = find_place(place, e);
	if (!r)
		r = uuid_new(l->process, e);
	if (r) {
		free(l);
		return r;
	}
	owner_this_host(host);
	snprintf(l->host, sizeof(l->host), "%s/%s", host, place);
	*out = l;
	return 0;
}

void lease_free(struct lease *l)
{
	if (!l)
		return;
	lease_let_go(l);
	free(l);
}

void lease_name(struct lease *l, const char *session)
{
	snprintf(l->process, sizeof(l->process), "%s", session);
}

int lease_lock(struct lease *l, struct err *e)
{
	CLEANUP(fd) int dir = -1;
	char name[64];

	if (l->lock >= 0)
		return 0;
	dir = statedir_open(true, e);
	if (dir < 0)
		return dir;
	snprintf(name, sizeof(name), "%s-lease.lock", l->uuid);
	l->lock = lock_file(dir, name, LOCK_NB);
	if (l->lock == -EWOULDBLOCK)
		return err_set(e, -EAGAIN, "another process of this host runs the VM %s", l->uuid);
	return l->lock < 0 ? err_set(e, l->lock,
				     "%s in the state directory of this host cannot be locked: %s",
				     name, strerror(-l->lock))
			   : 0;
}

void lease_let_go(struct lease *l)
{
	cleanup_fd(&l->lock);
	l->lock = -1;
}

static int nonsense(const struct lease *l, const char *answer, struct err *e)
{
	return err_set(e, -EBADMSG, "the lease server at %s answers \"%.80s\", which is no answer",
		       l->server.sun_path, answer);
}

/* The two answers that both questions have; 0: neither. */
static int check_answer(const struct lease *l, const char *answer, struct err *e)
{
	if (!strcmp(answer, "unknown"))
		return err_set(e, -ENODATA, "the lease server at %s does not know who has the VM",
			       l->server.sun_path);
	return record_is_text(answer, LEASE_LINE_MAX) ? 0 : nonsense(l, "", e);
}

int lease_take(struct lease *l, uint64_t generation, struct err *e)
{
	char line[LEASE_LINE_MAX], answer[LEASE_LINE_MAX];
	int r;

	snprintf(line, sizeof(line), "take %s %" PRIu64 " %s/%s\n", l->uuid, generation, l->host,
		 l->process);
	r = lease_ask(&l->server, line, answer, e);
	if (!r)
		r = check_answer(l, answer, e);
	if (r)
		return r;
	if (!strcmp(answer, "yes"))
		return 1;
	return strcmp(answer, "no") ? nonsense(l, answer, e) : 0;
}

/* "yes GENERATION HOLDER", a number as it is printed here. */
static bool parse_holder(const char *answer, struct lease_holder *h)
{
	char again[LEASE_LINE_MAX + 32], *end;

	if (strncmp(answer, "yes ", 4))
		return false;
	h->generation = strtoull(answer + 4, &end, 10);
	if (!record_is_generation((json_int_t)h->generation) || *end != ' ' || !end[1] ||
	    strlen(end + 1) >= sizeof(h->name))
		return false;
	strcpy(h->name, end + 1);
	snprintf(again, sizeof(again), "yes %" PRIu64 " %s", h->generation, h->name);
	return !strcmp(again, answer);
}

int lease_who(struct lease *l, struct lease_holder *out, struct err *e)
{
	char line[LEASE_LINE_MAX], answer[LEASE_LINE_MAX];
	struct lease_holder h = { 0 };
	int r;

	snprintf(line, sizeof(line), "who %s\n", l->uuid);
	r = lease_ask(&l->server, line, answer, e);
	if (!r)
		r = check_answer(l, answer, e);
	if (!r && strcmp(answer, "no") && !parse_holder(answer, &h))
		r = nonsense(l, answer, e);
	if (!r)
		*out = h;
	return r;
}

/* What names its process; NULL: it is one of another host. */
static const char *process_here(const struct lease *l, const struct lease_holder *h)
{
	size_t len = strlen(l->host);

	return !strncmp(h->name, l->host, len) && h->name[len] == '/' ? h->name + len + 1 : NULL;
}

bool lease_is(const struct lease *l, const struct lease_holder *h, const char *session)
{
	const char *process = process_here(l, h);

	return process && !strcmp(process, session);
}

/* For people: its host alone. */
static int held(const struct lease_holder *h, int code, struct err *e)
{
	return err_set(e, code,
		       "the lease of this VM is held by host %.*s, and so it may run there; start "
		       "it there, or move it here with godwit migrate",
		       (int)strcspn(h->name, "/"), h->name);
}

static int take_next(struct lease *l, struct err *e)
{
	struct lease_holder h;
	int r = lease_who(l, &h, e);

	if (!r && h.generation && strcmp(h.name, "-") && !process_here(l, &h))
		return held(&h, -EBUSY, e);
	if (!r)
		r = lease_take(l, h.generation + 1, e);
	if (r < 0)
		return err_prefix(e, r, "it is not known whether this VM runs elsewhere");
	return r ? 0 : err_set(e, -EBUSY, "another host took the lease of this VM just now");
}

int lease_begin(struct lease *l, struct err *e)
{
	int r;

	if (l->lock >= 0)
		return 0;
	r = lease_lock(l, e);
	if (!r)
		r = take_next(l, e);
	else if (r == -EAGAIN)
		r = -EBUSY;
	if (r)
		lease_let_go(l);
	return r;
}

int lease_raise(struct lease *l, uint64_t *generation, struct err *e)
{
	struct lease_holder h;
	int r = lease_who(l, &h, e);

	if (r)
		return r;
	if (!lease_is(l, &h, l->process))
		return err_set(e, -ESTALE,
			       "the lease of this VM is held by \"%s\" and not by this process, "
			       "which must not run it",
			       h.name);
	if (h.generation >= *generation) {
		*generation = h.generation;
		return 0;
	}
	r = lease_take(l, *generation, e);
	if (r < 0)
		return r;
	return r ? 0 : err_set(e, -ESTALE, "another host took the lease of this VM");
}

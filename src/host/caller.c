/* SPDX-License-Identifier: Apache-2.0 */
#include "caller.h"

#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "cleanup.h"
#include "log.h"
#include "loop.h"

enum { GROUP_BYTES = 65536 }; /* of its entry, with the names of all members */

static const uint64_t tell_ns = 60 * UINT64_C(1000000000);

int caller_group_find(struct caller_group *out, const char *text, struct err *e)
{
	CLEANUP(free) char *room = malloc(GROUP_BYTES);
	struct group group, *found = NULL;
	unsigned long number;
	char *end;
	int r;

	if (!room)
		return err_set(e, -ENOMEM, "out of memory");
	r = getgrnam_r(text, &group, room, GROUP_BYTES, &found);
	if (found) {
		*out = (struct caller_group){ true, found->gr_gid };
		return 0;
	}
	errno = 0;
	number = strtoul(text, &end, 10);
	/* The last number is none: chown() has it for "as it is". */
	if (*text < '0' || *text > '9' || *end || errno || number >= (gid_t)-1)
		return err_set(e, -EINVAL, "there is no group \"%.64s\" on this host%s%s", text,
			       r ? ": " : "", r ? strerror(r) : "");
	*out = (struct caller_group){ true, (gid_t)number };
	return 0;
}

static bool has_other_group(int fd, gid_t wanted)
{
	CLEANUP(free) gid_t *groups = NULL;
	socklen_t len = 0;

	/* None at all is no error; else it is told how many there are. */
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) || errno != ERANGE)
		return false;
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool is_let_in(int fd, const struct ucred *peer, const struct caller_group *group)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return group->given && (peer->gid == group->id || has_other_group(fd, group->id));
}

/* An end of a connection to a socket that has a name, which the other end of one that this process
 * made has not. */
static bool is_accepted(int fd)
{
	struct sockaddr_un own = { .sun_family = AF_UNSPEC };
	socklen_t len = sizeof(own);

	return !getsockname(fd, (struct sockaddr *)&own, &len) && own.sun_family == AF_UNIX &&
	       len > offsetof(struct sockaddr_un, sun_path);
}

/* {"group": 1} or {}, with the connection: {"pid": 1, "uid": 2, "gid": 3, "let_in": true} */
static int serve_caller(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
			struct err *e)
{
	const json_t *id = json_object_get(ask, "group");
	const struct caller_group group = { id != NULL, (gid_t)json_integer_value(id) };
	struct ucred peer;
	socklen_t len = sizeof(peer);
	bool let_in;

	if (nfds != 1 || getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return err_set(e, nfds == 1 ? -errno : -EINVAL, "there is no peer");
	let_in = is_let_in(*fd, &peer, &group);
	if (let_in && is_accepted(*fd))
		broker_let_name();
	out->json = json_pack("{s:I, s:I, s:I, s:b}", "pid", (json_int_t)peer.pid, "uid",
			      (json_int_t)peer.uid, "gid", (json_int_t)peer.gid, "let_in", let_in);
	return 0;
}

const struct broker_service caller_service = { "caller", false, serve_caller };

int caller_let_in(int fd, const struct caller_group *group, struct ucred *peer)
{
	json_t *ask = group->given ? json_pack("{s:I}", "group", (json_int_t)group->id)
				   : json_object();
	json_int_t pid, uid, gid;
	struct broker_answer a;
	struct err ignored;
	int let_in, r = broker_ask(&caller_service, ask, &fd, 1, &a, &ignored);

	if (r)
		return r;
	if (json_unpack(a.json, "{s:I, s:I, s:I, s:b}", "pid", &pid, "uid", &uid, "gid", &gid,
			"let_in", &let_in))
		r = -EBADMSG;
	else
		*peer = (struct ucred){ (pid_t)pid, (uid_t)uid, (gid_t)gid };
	broker_answer_free(&a);
	return r ? r : let_in;
}

void caller_refused(struct caller_refusals *all, const struct ucred *peer)
{
	uint64_t now = loop_now_ns();
	char more[48] = "";

	if (all->told_ns && now - all->told_ns < tell_ns) {
		all->untold++;
		return;
	}
	if (all->untold)
		snprintf(more, sizeof(more), ", and %u more before", all->untold);
	log_warn("process %d of user %u, group %u is not let in at a control socket%s",
		 (int)peer->pid, (unsigned)peer->uid, (unsigned)peer->gid, more);
	*all = (struct caller_refusals){ .told_ns = now };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "caller.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int caller_of(int fd, struct ucred *peer)
{
	socklen_t len = sizeof(*peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) < 0 ? -errno : 0;
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

bool caller_is_let_in(int fd, const struct ucred *peer, const struct caller_group *group)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return group->given && (peer->gid == group->id || has_other_group(fd, group->id));
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

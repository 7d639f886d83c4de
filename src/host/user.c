/* SPDX-License-Identifier: Apache-2.0 */
#include "user.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "cleanup.h"

enum { USER_BYTES = 65536 }; /* of its entry */

/* 0; 1: it is a number that has no name. */
static int find_entry(struct user *out, const char *name, struct err *e)
{
	CLEANUP(free) char *room = malloc(USER_BYTES);
	struct passwd user, *found = NULL;
	unsigned long number;
	char *end;

	if (!room)
		return err_set(e, -ENOMEM, "out of memory");
	getpwnam_r(name, &user, room, USER_BYTES, &found);
	errno = 0;
	number = strtoul(name, &end, 10);
	if (!found && *name >= '0' && *name <= '9' && !*end && !errno && number < (uid_t)-1) {
		*out = (struct user){ .given = true, .uid = (uid_t)number };
		getpwuid_r((uid_t)number, &user, room, USER_BYTES, &found);
		if (!found)
			return 1;
	}
	if (!found)
		return err_set(e, -EINVAL, "there is no user \"%.64s\" on this host", name);
	*out = (struct user){ true, found->pw_uid, found->pw_gid };
	return 0;
}

int user_find(struct user *out, const char *text, struct err *e)
{
	const size_t len = strcspn(text, ":");
	CLEANUP(free) char *name = strndup(text, len);
	struct caller_group group;
	int r;

	if (!name)
		return err_set(e, -ENOMEM, "out of memory");
	r = find_entry(out, name, e);
	if (r < 0)
		return r;
	if (!text[len])
		return r ? err_set(e, -EINVAL, "user %s has no group of its own here: %s:GROUP",
				   name, name)
			 : 0;
	r = caller_group_find(&group, text + len + 1, e);
	out->gid = group.id;
	return r;
}

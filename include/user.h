/* SPDX-License-Identifier: Apache-2.0 */
/* A user of this host that a process of root's is to become. */
#ifndef USER_H
#define USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

struct user {
	bool given;
	uid_t uid;
	gid_t gid;
};

/* "NAME", or "NAME:GROUP", each a name or a number; a number that has no name needs the group. */
int user_find(struct user *, const char *text, struct err *);

#endif

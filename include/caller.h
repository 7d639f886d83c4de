/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a Unix socket, as the kernel knows it from when they connected, and
 * whether they are let in: the user of this process, root, and the members of a group if one is
 * given.  The file of a socket says who may connect; this holds also where somebody else made
 * the socket, or changed its file.  Any thread.
 */
#ifndef CALLER_H
#define CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "err.h"

struct caller_group {
	bool given;
	gid_t id;
};

/* By name or number. */
int caller_group_find(struct caller_group *, const char *text, struct err *);

extern const struct broker_service
	caller_service; /* broker.h: other users have no names in a sandbox */

/* 1: who is at the other end is let in; 0: not; -errno: it cannot be told who that is. */
int caller_let_in(int fd, const struct caller_group *, struct ucred *);

/* Those who were not, for the log: the first, then a line a minute at most. */
struct caller_refusals {
	uint64_t told_ns; /* 0: never */
	unsigned untold;
};

void caller_refused(struct caller_refusals *, const struct ucred *);

#endif

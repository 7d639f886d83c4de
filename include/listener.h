/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Unix stream socket that is listened on: made at a path, or inherited.  The file of a dead
 * process is replaced; one that somebody answers on is not.  Any thread.
 *
 * Who accepts there asks caller_is_let_in(): the mode of the file is not all that there is to it.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <sys/types.h>
#include <sys/un.h>

#include "caller.h"

extern const struct broker_service listener_service; /* broker.h */

struct listener {
	int fd; /* non-blocking, closed on exec */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": inherited */
	dev_t dev; /* of the file that is ours to remove */
	ino_t ino; /* 0: below an open directory (file_below()), which is all ours */
	struct caller_group group; /* is let in, too */
};

/* Untouched on failure. */
int listener_open(struct listener *, const char *path, mode_t, struct err *);
/* Takes fd over if it is a Unix stream socket that listens. */
int listener_adopt(struct listener *, int fd, struct err *);
/* The group is let in; the file, if it was made here, is opened to it. */
int listener_let_in(struct listener *, const struct caller_group *, struct err *);
/* And removes the file, if it is still ours; fd -1 is fine. */
void listener_close(struct listener *);

#endif

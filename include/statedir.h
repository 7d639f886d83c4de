/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host must still know after a reboot: $GODWIT_STATE_DIR; else /var/lib/godwit for root;
 * else $XDG_STATE_HOME/godwit or ~/.local/state/godwit.  No other user may read what is
 * there.
 */
#ifndef STATEDIR_H
#define STATEDIR_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* -ENOENT: the environment says nothing of it; -ENAMETOOLONG. */
int statedir_path(char *path, size_t size, struct err *);
/* An fd; make: it is made if it is not there, with its parents.  -ENOENT: there is none, or none
 * that this user can enter and could have written to. */
int statedir_open(bool make, struct err *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the running VMs of a user are written down: DIR/NAME/pid holds the process id of VM
 * NAME in decimal, and the sockets of the VM are beside it.  DIR is /run/godwit for root, else
 * godwit below the user's runtime directory.  The command writes it; whoever has a process id
 * can ask for the name, and whoever has a name for the directory.  A VM runs while its
 * directory is locked (flock); a directory that is not was left behind.
 */
#ifndef RUNDIR_H
#define RUNDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RUNDIR_API_SOCKET "api.sock"

/* -ENAMETOOLONG: it does not fit. */
int rundir_path(uid_t uid, char *path, size_t size);
int rundir_open_user(uid_t uid); /* DIR; -errno */
/* The name of the VM that is process pid, of that user; false: none runs, or not written down. */
bool rundir_name(uid_t uid, pid_t pid, char *name, size_t size);

/* The directory of the VM of that name and user, if it runs; -ENOENT: none does; -errno. */
int rundir_open(uid_t uid, const char *name);
/* Each VM of that user that runs, in no order; dir is open during the call, pid -1: not written
 * down yet.  -errno; to have no DIR is to run none. */
int rundir_each(uid_t uid, void (*each)(void *arg, const char *name, int dir, pid_t pid),
		void *arg);
/* A connection to the stream socket of that name in a directory, however long the path to the
 * directory is; -errno. */
int rundir_connect(int dir, const char *name);

#endif

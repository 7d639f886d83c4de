/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the running VMs of a user are written down: DIR/NAME/pid holds the process id of VM
 * NAME in decimal.  DIR is /run/godwit for root, else godwit below the user's runtime
 * directory.  The command writes it; whoever has a process id can ask for the name.
 */
#ifndef RUNDIR_H
#define RUNDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* -ENAMETOOLONG: it does not fit. */
int rundir_path(uid_t uid, char *path, size_t size);
/* The name of the VM that is process pid, of that user; false: not written down. */
bool rundir_name(uid_t uid, pid_t pid, char *name, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control groups that this process is in: cgroups(7), proc(5); Linux,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.  root: "", or where a test has a tree
 * of its own.  controller: of version 1, such as "cpu"; NULL: version 2.  Any thread.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

/* Its path in that hierarchy; false: there is none. */
bool cgroup_path(const char *root, const char *controller, char path[PATH_MAX]);
/* The folder of that path where the hierarchy is mounted; a mount of a part of the tree shows that
 * part only. */
bool cgroup_folder(const char *root, const char *controller, const char *path,
		   char folder[PATH_MAX]);
bool cgroup_is_alone(const char *folder); /* no other process is in it */
/* A file of it, to be read; NULL: errno. */
FILE *cgroup_open(const char *folder, const char *file);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control groups that a process is in: cgroups(7), proc(5); Linux,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.  root: "", or where a test has a tree
 * of its own.  pid 0: this process.  controller: of version 1, such as "cpu"; NULL: version 2.  Any
 * thread.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum { CGROUP_TEXT_BYTES = 64 };

/* Its path in that hierarchy; false: there is none. */
bool cgroup_path(const char *root, pid_t pid, const char *controller, char path[PATH_MAX]);
/* The folder of that path where the hierarchy is mounted; a mount of a part of the tree shows that
 * part only. */
bool cgroup_folder(const char *root, const char *controller, const char *path,
		   char folder[PATH_MAX]);
bool cgroup_is_alone(const char *folder,
		     pid_t pid); /* none is in it but the process and its broker */
/* Where the process is alone in its group of that hierarchy, the group's folder. */
bool cgroup_of_own(const char *root, pid_t pid, const char *controller, char folder[PATH_MAX]);
/* A file of it, to be read; NULL: errno. */
FILE *cgroup_open(const char *folder, const char *file);
/* The first line of one. */
bool cgroup_read(const char *folder, const char *file, char text[CGROUP_TEXT_BYTES]);
/* 0 or -errno, as the kernel takes it. */
int cgroup_write(const char *folder, const char *file, const char *text);

#endif

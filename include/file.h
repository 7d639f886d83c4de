/* SPDX-License-Identifier: Apache-2.0 */
/* What a file is, also to a process in a sandbox, which cannot look itself (broker.h). */
#ifndef FILE_H
#define FILE_H

#include <sys/stat.h>

extern const struct broker_service file_service;

/* As stat(2), and fstatat(2) with AT_SYMLINK_NOFOLLOW: -1 and errno.  Of the result there are mode,
 * owner, device and inode. */
int file_stat(const char *path, struct stat *);
int file_lstat(int dir, const char *path, struct stat *);

/* Of "/proc/self/fd/5/x", where 5 is the process's own, the number and "x"; NULL: it begins in
 * another way. */
const char *file_below(const char *path, int *dir);

#endif

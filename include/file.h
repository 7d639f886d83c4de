/* SPDX-License-Identifier: Apache-2.0 */
/* What a file is, also to a process in a sandbox, which cannot look itself (broker.h). */
#ifndef FILE_H
#define FILE_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

extern const struct broker_service file_service;

/* As stat(2), and fstatat(2) with AT_SYMLINK_NOFOLLOW: -1 and errno.  Of the result there are mode,
 * owner, device and inode. */
int file_stat(const char *path, struct stat *);
int file_lstat(int dir, const char *path, struct stat *);

/* Of "/proc/self/fd/5/x", where 5 is the process's own, the number and "x"; NULL: it begins in
 * another way. */
const char *file_below(const char *path, int *dir);

/* As pread(2) and pwrite(2), by the calls that a sandbox has. */
ssize_t file_read_at(int fd, void *data, size_t len, off_t at);
ssize_t file_write_at(int fd, const void *data, size_t len, off_t at);

/* A file of /proc that fits, as a string; "": it cannot be read.  *fd is -1 before the first time,
 * and then the caller's to close: to open it anew takes a sandboxed process far longer. */
void file_read_again(int *fd, const char *path, char *text, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "rundir.h"

int rundir_path(uid_t uid, char *path, size_t size)
{
	const char *runtime = uid == geteuid() ? getenv("XDG_RUNTIME_DIR") : NULL;
	int n;

	if (!uid)
		n = snprintf(path, size, "/run/godwit");
	else if (runtime && *runtime)
		n = snprintf(path, size, "%s/godwit", runtime);
	else
		n = snprintf(path, size, "/run/user/%u/godwit", (unsigned)uid);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static pid_t read_pid(int dir, const char *name)
{
	char path[300], text[16];
	CLEANUP(fd) int fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/pid", name) >= (int)sizeof(path))
		return -1;
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = 0;
	return (pid_t)strtol(text, NULL, 10);
}

bool rundir_name(uid_t uid, pid_t pid, char *name, size_t size)
{
	char path[256];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (rundir_path(uid, path, sizeof(path)))
		return false;
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= size)
			continue;
		found = read_pid(dirfd(dir), entry->d_name) == pid;
		if (found)
			memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
	}
	closedir(dir);
	return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "cleanup.h"
#include "rundir.h"

int rundir_path(uid_t uid, char *path, size_t size)
{
	const char *runtime = uid == broker_owner() ? getenv("XDG_RUNTIME_DIR") : NULL;
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

int rundir_open_user(uid_t uid)
{
	char path[256];
	int fd, r = rundir_path(uid, path, sizeof(path));

	if (r)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Shared, so that those who look do not see each other. */
static int open_running(int parent, const char *name)
{
	CLEANUP(fd) int fd = -1;

	if (*name == '.' || strchr(name, '/'))
		return -ENOENT;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (!flock(fd, LOCK_SH | LOCK_NB))
		return -ENOENT;
	return errno == EWOULDBLOCK ? TAKE_FD(fd) : -errno;
}

int rundir_open(uid_t uid, const char *name)
{
	CLEANUP(fd) int parent = rundir_open_user(uid);

	return parent < 0 ? parent : open_running(parent, name);
}

int rundir_each(uid_t uid, void (*each)(void *arg, const char *name, int dir, pid_t pid), void *arg)
{
	int parent = rundir_open_user(uid);
	struct dirent *entry;
	DIR *dir;

	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	dir = fdopendir(parent);
	if (!dir) {
		close(parent);
		return -ENOMEM;
	}
	while ((entry = readdir(dir))) {
		CLEANUP(fd) int fd = open_running(parent, entry->d_name);

		if (fd >= 0)
			each(arg, entry->d_name, fd, read_pid(parent, entry->d_name));
	}
	closedir(dir);
	return 0;
}

struct search {
	pid_t pid;
	char *name;
	size_t size;
	bool found;
};

static void compare(void *arg, const char *name, int dir, pid_t pid)
{
	struct search *s = arg;

	(void)dir;
	if (pid != s->pid || s->found || strlen(name) >= s->size)
		return;
	s->found = true;
	memcpy(s->name, name, strlen(name) + 1);
}

/* Among those that run: what was left behind may have the number of a process of today. */
bool rundir_name(uid_t uid, pid_t pid, char *name, size_t size)
{
	struct search s = { .pid = pid, .name = name, .size = size };

	rundir_each(uid, compare, &s);
	return s.found;
}

int rundir_connect(int dir, const char *name)
{
	CLEANUP(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, name);

	if (n >= (int)sizeof(a.sun_path))
		return -ENAMETOOLONG;
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return TAKE_FD(fd);
}

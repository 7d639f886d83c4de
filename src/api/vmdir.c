/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock is on the directory itself, so it goes with the process however that ends, and a
 * directory left behind is taken over.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker.h"
#include "cleanup.h"
#include "file.h"
#include "rundir.h"
#include "vmdir.h"

/*
 * In root's, which others may pass through, root makes directories for other users: who finds a
 * directory of his there is found by root under its name.
 */
static int open_parent(int *fd, struct err *e)
{
	CLEANUP(fd) int opened = -1;
	char path[256];
	struct stat st;

	if (rundir_path(broker_owner(), path, sizeof(path)))
		return err_set(e, -ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
	opened = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (opened < 0 && errno == ENOENT) {
		if (mkdir(path, broker_owner() ? 0700 : 0755) && errno != EEXIST)
			return err_set(e, -errno,
				       "%s cannot be made: %s; set XDG_RUNTIME_DIR to a directory "
				       "of yours",
				       path, strerror(errno));
		opened = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (opened < 0 || fstat(opened, &st))
		return err_set(e, -errno, "%s cannot be opened: %s", path, strerror(errno));
	if (st.st_uid && st.st_uid != broker_owner())
		return err_set(e, -EPERM,
			       "%s belongs to another user; set XDG_RUNTIME_DIR to a directory of "
			       "yours",
			       path);
	*fd = TAKE_FD(opened);
	return 0;
}

/* -ESTALE: its last owner removed the directory meanwhile, try again. */
static int lock_directory(int parent, const char *name, int *fd, bool *made)
{
	CLEANUP(fd) int opened = -1;
	struct stat locked, there;

	*made = !mkdirat(parent, name, 0700);
	if (!*made && errno != EEXIST)
		return -errno;
	opened = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (opened < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	/* Whoever only looks whether it is locked shares the lock for a moment. */
	if (flock(opened, LOCK_EX | LOCK_NB))
		return flock(opened, LOCK_SH | LOCK_NB) ? -errno : -ESTALE;
	if (fstat(opened, &locked) || file_lstat(parent, name, &there) ||
	    locked.st_ino != there.st_ino)
		return -ESTALE;
	*fd = TAKE_FD(opened);
	return 0;
}

static int refuse_taken(const struct vmdir *d, struct err *e)
{
	char path[80], text[16] = "?";
	CLEANUP(fd) int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/pid", d->name);
	fd = openat(d->parent_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (n > 0)
		text[n] = '\0';
	return err_set(
		e, -EBUSY,
		"VM \"%s\" is running already (process %.*s); choose another --name, or stop "
		"that one first",
		d->name, (int)strcspn(text, "\n"), text);
}

/* The pid, sockets; also those of an owner that was killed. */
static void remove_files(const struct vmdir *d)
{
	DIR *dir = fdopendir(openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.') /* there are none of ours */
			unlinkat(d->fd, entry->d_name, 0);
	if (dir)
		closedir(dir);
}

static int write_pid(const struct vmdir *d)
{
	CLEANUP(fd)
	int fd = openat(d->fd, "pid", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return -errno;
	return 0;
}

static int fill(struct vmdir *d, bool made)
{
	if (!made) {
		remove_files(d);
		if (fchmod(d->fd, 0700)) /* a group may have been let through */
			return -errno;
	}
	snprintf(d->path, sizeof(d->path), "/proc/self/fd/%d", d->fd);
	return write_pid(d);
}

int vmdir_new(struct vmdir *d, const char *name, struct err *e)
{
	bool made;
	int rc;

	*d = (struct vmdir){ .parent_fd = -1, .fd = -1 };
	snprintf(d->name, sizeof(d->name), "%s", name);
	rc = open_parent(&d->parent_fd, e);
	if (rc)
		return rc;
	do
		rc = lock_directory(d->parent_fd, d->name, &d->fd, &made);
	while (rc == -ESTALE);
	if (rc == -EWOULDBLOCK)
		rc = refuse_taken(d, e);
	else if (rc || (rc = fill(d, made)))
		err_set(e, rc, "the run directory of VM \"%s\" cannot be made: %s", d->name,
			strerror(-rc));
	if (rc)
		vmdir_free(d);
	return rc;
}

void vmdir_free(struct vmdir *d)
{
	if (d->fd >= 0) {
		/* In this order a new owner finds either a locked directory or none. */
		remove_files(d);
		unlinkat(d->parent_fd, d->name, AT_REMOVEDIR);
	}
	cleanup_fd(&d->fd);
	cleanup_fd(&d->parent_fd);
	d->fd = d->parent_fd = -1;
}

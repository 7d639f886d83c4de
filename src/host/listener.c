/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker.h"
#include "cleanup.h"
#include "file.h"
#include "listener.h"

enum { BACKLOG = 64 };

/* 0: nobody listens at the socket, and its file is gone now. */
static int remove_stale(const struct sockaddr_un *a, struct err *e)
{
	CLEANUP(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
	if (file_lstat(AT_FDCWD, a->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST,
			       "%s is there already and is not a socket; choose another path",
			       a->sun_path);
	/* EAGAIN: it has more clients waiting than it takes. */
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN)
		return err_set(e, -EADDRINUSE,
			       "socket %s is in use by another process; choose another path",
			       a->sun_path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return err_set(e, -errno, "cannot tell whether socket %s is in use: %s",
			       a->sun_path, strerror(errno));
	if (unlink(a->sun_path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "cannot replace socket %s: %s", a->sun_path,
			       strerror(errno));
	return 0;
}

static int bind_socket(int fd, const struct sockaddr_un *a, struct err *e)
{
	int r = bind(fd, (const struct sockaddr *)a, sizeof(*a));

	if (r < 0 && errno == EADDRINUSE) {
		r = remove_stale(a, e);
		if (r)
			return r;
		r = bind(fd, (const struct sockaddr *)a, sizeof(*a));
	}
	return r < 0 ? err_set(e, -errno, "cannot make socket %s: %s", a->sun_path, strerror(errno))
		     : 0;
}

int listener_open(struct listener *l, const char *path, mode_t mode, struct err *e)
{
	CLEANUP(fd) int fd = -1;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st = { .st_ino = 0 };
	int dir, r;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG,
			       "socket path %s is too long; at most %zu characters fit", path,
			       sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* bind() gives the file this mode, so that it is never open to others. */
	if (fd < 0 || fchmod(fd, mode) < 0)
		return err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
	r = bind_socket(fd, &a, e);
	if (r)
		return r;
	if ((!file_below(path, &dir) && file_lstat(AT_FDCWD, path, &st) < 0) ||
	    listen(fd, BACKLOG) < 0)
		return err_set(e, -errno, "cannot listen at %s: %s", path, strerror(errno));
	*l = (struct listener){ .fd = TAKE_FD(fd), .dev = st.st_dev, .ino = st.st_ino };
	memcpy(l->path, a.sun_path, sizeof(l->path));
	return 0;
}

static int socket_number(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

int listener_adopt(struct listener *l, int fd, struct err *e)
{
	if (socket_number(fd, SO_DOMAIN) != AF_UNIX || socket_number(fd, SO_TYPE) != SOCK_STREAM ||
	    socket_number(fd, SO_ACCEPTCONN) != 1)
		return err_set(e, -EINVAL,
			       "file descriptor %d is not a Unix stream socket that listens; "
			       "pass one, or give a path",
			       fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_set(e, -errno, "cannot use file descriptor %d: %s", fd, strerror(errno));
	*l = (struct listener){ .fd = fd };
	return 0;
}

/* By way of a descriptor, so that it is this file whatever the path leads to meanwhile. */
static int open_to(int dir, const char *path, dev_t dev, ino_t ino, gid_t group)
{
	CLEANUP(fd) int fd = openat(dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char own[32];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((ino && (st.st_dev != dev || st.st_ino != ino)) || !S_ISSOCK(st.st_mode))
		return -ESTALE;
	snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
	return fchownat(fd, "", (uid_t)-1, group, AT_EMPTY_PATH) < 0 || chmod(own, 0660) < 0
		       ? -errno
		       : 0;
}

/* {"path": "p", "device": 1, "inode": 2, "group": 3}: of a socket; with the directory where it
 * begins, or none. */
static int serve_let_in(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
			struct err *e)
{
	json_int_t dev, ino, group;
	char path[PATH_MAX];
	int r;

	(void)out;
	if (json_unpack((json_t *)ask, "{s:I, s:I, s:I}", "device", &dev, "inode", &ino, "group",
			&group))
		return err_set(e, -EINVAL, "no socket is named");
	broker_take_bytes(json_object_get(ask, "path"), path, sizeof(path));
	if (nfds ? strchr(path, '/') != NULL : !broker_knows(path))
		return err_set(e, -EACCES, "it is not the VM's");
	r = open_to(nfds ? *fd : AT_FDCWD, path, (dev_t)dev, (ino_t)ino, (gid_t)group);
	return r ? err_set(e, r, "%s", strerror(-r)) : 0;
}

const struct broker_service listener_service = { "listener", false, serve_let_in };

static int ask_to_open(const struct listener *l, gid_t group, struct err *e)
{
	struct broker_answer a;
	int dir = AT_FDCWD, r;
	const char *below = file_below(l->path, &dir);

	r = broker_ask(&listener_service,
		       json_pack("{s:o, s:I, s:I, s:I}", "path",
				 broker_bytes(below ? below : l->path), "device",
				 (json_int_t)l->dev, "inode", (json_int_t)l->ino, "group",
				 (json_int_t)group),
		       &dir, dir != AT_FDCWD, &a, e);

	if (!r)
		broker_answer_free(&a);
	return r;
}

int listener_let_in(struct listener *l, const struct caller_group *group, struct err *e)
{
	struct err why;
	int r = group->given && *l->path ? ask_to_open(l, group->id, &why) : 0;

	if (r)
		return err_set(e, r, "socket %s cannot be opened to group %u: %s%s", l->path,
			       (unsigned)group->id, strerror(-r),
			       r == -EPERM ? "; only root opens it to one that it is not in" : "");
	l->group = *group;
	return 0;
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	/* Another process may have taken the path since.  While the socket is open the number of
	 * its file is not given to another. */
	if (*l->path && (!l->ino || (file_lstat(AT_FDCWD, l->path, &st) == 0 &&
				     st.st_dev == l->dev && st.st_ino == l->ino)))
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}

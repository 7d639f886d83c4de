/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's calls, made in its stead: what they say is read once, from its memory, and then
 * neither the monitor nor anything else can change it.  None has an answer but a number, so nothing
 * is ever written there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bits.h"
#include "broker_internal.h"
#include "cleanup.h"

/* Of a call: what comes back, and what the monitor gets an fd of. */
struct outcome {
	long result; /* or -errno */
	int fd; /* -1: none */
	int remember; /* the broker's of the same, or -1 */
	char path[PATH_MAX]; /* of a place to remember */
};

typedef const __u64 arguments[6];

static void cleanup_place(struct broker_place *p)
{
	broker_place_free(p);
}

static int read_text(const struct broker *b, uint64_t at, char *text, size_t size)
{
	ssize_t n = pread(b->memory, text, size, (off_t)at);

	if (n <= 0)
		return -EFAULT;
	return memchr(text, '\0', (size_t)n) ? 0 : n == (ssize_t)size ? -ENAMETOOLONG : -EFAULT;
}

static int find(struct broker *b, int dir, uint64_t path, bool write, struct broker_place *p)
{
	char text[PATH_MAX];
	int r = read_text(b, path, text, sizeof(text));

	*p = (struct broker_place){ .parent = -1 };
	return r ? r : broker_find(b, dir, text, write, p);
}

/* By a path of this process: for calls that take no number of a place without a name. */
static void path_of(const struct broker_place *p, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "/proc/self/fd/%d%s%s", p->parent, *p->name ? "/" : "", p->name);
}

/* Memory of machines and processes, with which any policy would be in vain: however the path leads
 * there, over links too. */
static bool is_harmless(const struct broker_place *p, int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return false;
	if (S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 &&
	    (minor(st.st_rdev) < 3 || minor(st.st_rdev) == 4))
		return false;
	return p->is_kernels || (fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC &&
				 fs.f_type != DEBUGFS_MAGIC && fs.f_type != TRACEFS_MAGIC);
}

static bool is_pagemap(const struct broker *b, const char *path)
{
	char own[64];

	snprintf(own, sizeof(own), "/proc/%d/pagemap", (int)b->monitor);
	return !strcmp(path, own);
}

static void open_file(struct broker *b, int dir, uint64_t path, int flags, mode_t mode,
		      struct outcome *o)
{
	const bool write = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
	__attribute__((cleanup(cleanup_place))) struct broker_place p;
	char full[PATH_MAX];

	o->result = find(b, dir, path, write && !(flags & O_PATH), &p);
	if (o->result)
		return;
	if (is_pagemap(b, p.path)) {
		o->fd = fcntl(b->pagemap, F_DUPFD_CLOEXEC, 0);
	} else if (*p.name) {
		o->fd = openat(p.parent, p.name,
			       flags | O_CLOEXEC | O_NOCTTY | (p.beneath ? O_NOFOLLOW : 0), mode);
	} else {
		path_of(&p, full);
		o->fd = open(full, flags | O_CLOEXEC | O_NOCTTY);
	}
	o->result = o->fd < 0 ? -errno : 0;
	if (o->fd >= 0 && !is_harmless(&p, o->fd)) {
		cleanup_fd(&o->fd);
		o->fd = -1;
		o->result = -EACCES;
	}
	if (o->fd < 0 || !(flags & (O_DIRECTORY | O_PATH)))
		return;
	o->remember = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
	memcpy(o->path, p.path, sizeof(o->path));
	/* The kernel hands over none that is only a place: a number that stands for it will do. */
	if (flags & O_PATH) {
		cleanup_fd(&o->fd);
		o->fd = eventfd(0, EFD_CLOEXEC);
	}
}

static void serve_openat(struct broker *b, arguments a, struct outcome *o)
{
	open_file(b, (int)a[0], a[1], (int)a[2], (mode_t)a[3], o);
}

static void serve_access(struct broker *b, arguments a, struct outcome *o)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place p;

	o->result = find(b, AT_FDCWD, a[0], false, &p);
	if (!o->result && faccessat(p.parent, *p.name ? p.name : ".", (int)a[1], 0))
		o->result = -errno;
}

static void make_directory(struct broker *b, int dir, uint64_t path, mode_t mode, struct outcome *o)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place p;

	o->result = find(b, dir, path, true, &p);
	if (!o->result && mkdirat(p.parent, p.name, mode))
		o->result = -errno;
}

static void serve_mkdir(struct broker *b, arguments a, struct outcome *o)
{
	make_directory(b, AT_FDCWD, a[0], (mode_t)a[1], o);
}

static void serve_mkdirat(struct broker *b, arguments a, struct outcome *o)
{
	make_directory(b, (int)a[0], a[1], (mode_t)a[2], o);
}

static void remove_file(struct broker *b, int dir, uint64_t path, int flags, struct outcome *o)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place p;

	o->result = find(b, dir, path, true, &p);
	if (!o->result && unlinkat(p.parent, p.name, flags))
		o->result = -errno;
	if (!o->result && flags & AT_REMOVEDIR)
		broker_removed(b, p.path);
}

static void serve_unlink(struct broker *b, arguments a, struct outcome *o)
{
	remove_file(b, AT_FDCWD, a[0], 0, o);
}

static void serve_unlinkat(struct broker *b, arguments a, struct outcome *o)
{
	remove_file(b, (int)a[0], a[1], (int)a[2], o);
}

static void serve_rmdir(struct broker *b, arguments a, struct outcome *o)
{
	remove_file(b, AT_FDCWD, a[0], AT_REMOVEDIR, o);
}

static void serve_renameat(struct broker *b, arguments a, struct outcome *o)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place from;
	__attribute__((cleanup(cleanup_place))) struct broker_place to = { .parent = -1 };

	o->result = find(b, (int)a[0], a[1], true, &from);
	if (!o->result)
		o->result = find(b, (int)a[2], a[3], true, &to);
	if (!o->result && renameat(from.parent, from.name, to.parent, to.name))
		o->result = -errno;
}

static void serve_symlinkat(struct broker *b, arguments a, struct outcome *o)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place p;
	char text[PATH_MAX];

	o->result = find(b, (int)a[1], a[2], true, &p);
	/* Elsewhere links are followed. */
	if (!o->result && !p.beneath && !b->config.log)
		o->result = -EACCES;
	if (!o->result)
		o->result = read_text(b, a[0], text, sizeof(text));
	if (!o->result && symlinkat(text, p.parent, p.name))
		o->result = -errno;
}

static void serve_fchmodat(struct broker *b, arguments a, struct outcome *o)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place p;
	CLEANUP(fd) int fd = -1;
	char full[32];

	o->result = find(b, (int)a[0], a[1], true, &p);
	if (!o->result && p.is_kernels && !b->config.log)
		o->result = -EACCES;
	if (o->result)
		return;
	/* Not of what a link leads to. */
	fd = openat(p.parent, *p.name ? p.name : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	snprintf(full, sizeof(full), "/proc/self/fd/%d", fd);
	if (fd < 0 || chmod(full, (mode_t)a[2] & 0777))
		o->result = -errno;
}

/* What the monitor has under that number, if it is its own: its run directory, or a socket that has
 * no address yet. */
static const struct broker_seen *find_own(struct broker *b, int number)
{
	const struct broker_seen *s = broker_seen(b, number);

	return s && (!s->path || broker_is_own(b, s->path)) ? s : NULL;
}

static void serve_fchmod(struct broker *b, arguments a, struct outcome *o)
{
	const struct broker_seen *s = find_own(b, (int)a[0]);
	const mode_t mode = (mode_t)a[1] & 0777;
	char full[32];

	if (!s) {
		o->result = -EACCES;
		return;
	}
	snprintf(full, sizeof(full), "/proc/self/fd/%d", s->fd);
	if (s->path ? chmod(full, mode) : fchmod(s->fd, mode))
		o->result = -errno;
}

/* To a group, not to another user. */
static void serve_fchown(struct broker *b, arguments a, struct outcome *o)
{
	const struct broker_seen *s = find_own(b, (int)a[0]);

	if ((uid_t)a[1] != (uid_t)-1 || !s)
		o->result = -EACCES;
	else if (fchownat(s->fd, "", (uid_t)-1, (gid_t)a[2], AT_EMPTY_PATH))
		o->result = -errno;
}

/* Of the families that there is an address for, and what tells of taps. */
static bool is_wanted(int family, int type, int protocol)
{
	type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	switch (family) {
	case AF_UNIX:
		return true;
	case AF_INET:
	case AF_INET6:
		return type == SOCK_STREAM;
	case AF_NETLINK:
		return protocol == NETLINK_ROUTE;
	default:
		return false;
	}
}

static void serve_socket(struct broker *b, arguments a, struct outcome *o)
{
	if (!is_wanted((int)a[0], (int)a[1], (int)a[2]) && !b->config.log) {
		o->result = -EACCES;
		return;
	}
	o->fd = socket((int)a[0], (int)a[1] | SOCK_CLOEXEC, (int)a[2]);
	o->result = o->fd < 0 ? -errno : 0;
	o->remember = o->fd < 0 ? -1 : fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
}

/* A socket's file as this process reaches it, in place of the path in its address. */
static int find_socket(struct broker *b, struct sockaddr_un *to, socklen_t *len, int *parent)
{
	__attribute__((cleanup(cleanup_place))) struct broker_place p = { .parent = -1 };
	char text[sizeof(to->sun_path) + 1] = "";
	int n, r;

	if (*len <= offsetof(struct sockaddr_un, sun_path))
		return -EACCES;
	memcpy(text, to->sun_path, *len - offsetof(struct sockaddr_un, sun_path));
	if (!*text)
		*text = '@'; /* of no file; as configurations write it */
	r = broker_find(b, AT_FDCWD, text, true, &p);
	if (r || !to->sun_path[0])
		return r;
	n = snprintf(to->sun_path, sizeof(to->sun_path), "/proc/self/fd/%d/%s", p.parent, p.name);
	*len = sizeof(*to);
	*parent = p.parent;
	p.parent = -1;
	return n < (int)sizeof(to->sun_path) ? 0 : -ENAMETOOLONG;
}

static int read_address(struct broker *b, uint64_t at, uint64_t size, struct sockaddr_storage *a)
{
	memset(a, 0, sizeof(*a));
	if (size > sizeof(*a) || size < sizeof(a->ss_family))
		return -EINVAL;
	return pread(b->memory, a, size, (off_t)at) == (ssize_t)size ? 0 : -EFAULT;
}

static void address_socket(struct broker *b, arguments a, struct outcome *o,
			   int (*call)(int, const struct sockaddr *, socklen_t))
{
	const int number = (int)a[0];
	const struct broker_seen *s = broker_seen(b, number);
	struct sockaddr_storage address;
	CLEANUP(fd) int parent = -1;
	socklen_t len = (socklen_t)a[2];
	int r;

	if (!s) {
		o->result = -EISCONN;
		return;
	}
	r = read_address(b, a[1], a[2], &address);
	if (!r && address.ss_family == AF_UNIX)
		r = find_socket(b, (struct sockaddr_un *)&address, &len, &parent);
	else if (!r && address.ss_family != AF_NETLINK && !broker_may_name() && !b->config.log)
		r = -EACCES;
	if (!r && call(s->fd, (struct sockaddr *)&address, len))
		r = -errno;
	o->result = r;
	/* The last to close it is the monitor.  Who did not get the address may try another. */
	if (r != -EADDRINUSE && r != -EINTR && r != -EAGAIN)
		broker_forget(b, number);
}

static void serve_bind(struct broker *b, arguments a, struct outcome *o)
{
	address_socket(b, a, o, bind);
}

static void serve_connect(struct broker *b, arguments a, struct outcome *o)
{
	address_socket(b, a, o, connect);
}

static const struct {
	int number;
	void (*serve)(struct broker *, arguments, struct outcome *);
} calls[] = {
	{ SYS_openat, serve_openat },       { SYS_access, serve_access },
	{ SYS_mkdir, serve_mkdir },         { SYS_mkdirat, serve_mkdirat },
	{ SYS_unlink, serve_unlink },       { SYS_unlinkat, serve_unlinkat },
	{ SYS_rmdir, serve_rmdir },         { SYS_renameat, serve_renameat },
	{ SYS_symlinkat, serve_symlinkat }, { SYS_fchmodat, serve_fchmodat },
	{ SYS_fchmod, serve_fchmod },       { SYS_fchown, serve_fchown },
	{ SYS_socket, serve_socket },       { SYS_bind, serve_bind },
	{ SYS_connect, serve_connect },
};

void broker_be_user(const struct broker *b)
{
	if (!b->config.user.given)
		return;
	setfsgid(b->config.user.gid);
	setfsuid(b->config.user.uid);
}

static void be_oneself(const struct broker *b)
{
	if (!b->config.user.given)
		return;
	setfsuid(geteuid());
	setfsgid(getegid());
}

/* The number that the monitor has it under; -1: it is no more, or cannot have more. */
static int hand_over(const struct broker *b, uint64_t id, int fd)
{
	struct seccomp_notif_addfd add = { .id = id, .srcfd = (__u32)fd, .newfd_flags = O_CLOEXEC };

	return ioctl(b->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
}

static void remember(struct broker *b, int number, struct outcome *o)
{
	struct broker_seen *s = o->remember < 0 ? NULL : broker_see(b, number);

	if (!s) {
		broker_forget(b, number);
		return;
	}
	s->fd = TAKE_FD(o->remember);
	s->path = *o->path ? strdup(o->path) : NULL;
}

void broker_serve_call(struct broker *b, const struct seccomp_notif *n)
{
	union {
		struct seccomp_notif_resp answer;
		char room[512];
	} u;
	struct outcome o = { .result = -ENOSYS, .fd = -1, .remember = -1 };

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].number == n->data.nr) {
			o.result = 0;
			calls[i].serve(b, n->data.args, &o);
			be_oneself(b);
		}
	if (o.fd >= 0) {
		o.result = hand_over(b, n->id, o.fd);
		if (o.result < 0)
			o.result = -errno;
		else
			remember(b, (int)o.result, &o);
	}
	memset(&u, 0, sizeof(u));
	u.answer = (struct seccomp_notif_resp){ .id = n->id };
	if (o.result < 0)
		u.answer.error = (__s32)o.result;
	else
		u.answer.val = o.result;
	ioctl(b->listener, SECCOMP_IOCTL_NOTIF_SEND, &u.answer);
	cleanup_fd(&o.fd);
	cleanup_fd(&o.remember);
}

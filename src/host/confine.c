/* SPDX-License-Identifier: Apache-2.0 */
/* What a process gives away for good, stage by stage, in this order. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "log.h"
#include "sandbox_internal.h"

static int write_text(const char *path, const char *text)
{
	CLEANUP(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* With a user namespace of its own anybody may have the others.  It is still the same user. */
static int own_user(void)
{
	char map[64];
	int r;

	if (!geteuid())
		return 0;
	snprintf(map, sizeof(map), "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
	if (unshare(CLONE_NEWUSER))
		return -errno;
	r = write_text("/proc/self/setgroups", "deny");
	r = r ? r : write_text("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
	return r ? r : write_text("/proc/self/gid_map", map);
}

/* No network but what the broker's sockets reach, and none of the host's queues and shared memory.
 * All files are there still. */
static int own_namespaces(void)
{
	return unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) ? -errno : 0;
}

/* The first file system of a host cannot be put away, only hidden (pivot_root(2)): nothing leads
 * back for who has no capability. */
static int hide_root(void)
{
	return mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ? -errno : 0;
}

/* An empty directory that cannot be written to is all there is: files are those that are open. */
static int empty_root(void)
{
	static const char any[] = "/proc"; /* a directory that is always there */
	const unsigned long nothing = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	int r = 0;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", any, "tmpfs", nothing, "size=4k,nr_inodes=1,mode=0555") || chdir(any))
		return -errno;
	if (syscall(SYS_pivot_root, ".", "."))
		r = hide_root();
	else if (umount2(".", MNT_DETACH))
		r = -errno;
	if (r)
		return r;
	return chdir("/") || mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | nothing,
				   NULL)
		       ? -errno
		       : 0;
}

/* Nothing that only root may is left, nor can it come back: no program is executed with more. */
static int no_capabilities(const struct user *user)
{
	const capng_flags_t flags = CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (user->given)
		return capng_change_id((int)user->uid, (int)user->gid, flags) ? -EPERM : 0;
	return capng_apply(CAPNG_SELECT_BOTH) ? -EPERM : 0;
}

/* Its memory, which is the guest's, is nobody's to read: neither the user's other processes attach
 * to it, nor does a crash leave it in a file. */
static int no_memory_for_others(void)
{
	const struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none) || setrlimit(RLIMIT_MSGQUEUE, &none) ||
			       prctl(PR_SET_DUMPABLE, 0)
		       ? -errno
		       : 0;
}

/* Once more for files, should one of the above have failed: none is opened, made or removed
 * (landlock(7); Linux 5.13).  All that is left is what the filters of calls allow. */
static int no_files(void)
{
	const struct landlock_ruleset_attr all = { .handled_access_fs =
							   (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };
	CLEANUP(fd) int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

	if (fd < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	return syscall(SYS_landlock_restrict_self, fd, 0) ? -errno : 0;
}

static int refused(const char *what, int r, struct err *e)
{
	return err_set(e, r,
		       "the sandbox cannot have %s here: %s; --sandbox off runs the VM without it",
		       what, strerror(-r));
}

int confine_user(bool *may, struct err *e)
{
	int r = own_user();

	/* Some hosts leave this to root. */
	*may = !(r == -EPERM || r == -ENOSPC || r == -EACCES || r == -EINVAL);
	if (*may)
		return r ? refused("a user namespace", r, e) : 0;
	log_warn("this user may have no namespaces (%s): the sandbox does without them, and "
		 "without an empty root",
		 strerror(-r));
	return 0;
}

int confine(bool namespaces, const struct user *user, struct err *e)
{
	int r;

	capng_clear(CAPNG_SELECT_BOTH); /* looks into /proc */
	r = namespaces ? own_namespaces() : 0;
	r = r || !namespaces ? r : empty_root();
	if (r)
		return refused("namespaces and an empty root", r, e);
	r = no_capabilities(user);
	if (r)
		return refused("no capabilities", r, e);
	r = no_memory_for_others();
	if (r)
		return refused("limits", r, e);
	r = no_files();
	return r ? refused("Landlock", r, e) : 0;
}

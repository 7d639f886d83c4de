/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bits.h"
#include "broker.h"
#include "cleanup.h"
#include "disk_lock.h"
#include "file.h"
#include "rundir.h"

enum { LOCK_TRIES = 50, LOCK_WAIT_MS = 20, HOLDER_BYTES = 192 };

/* File systems that other hosts may share; those that <linux/magic.h> does not have by name. */
enum {
	GFS2_MAGIC = 0x01161970,
	LUSTRE_MAGIC = 0x0bd00bd0,
	GPFS_MAGIC = 0x47504653,
};

/* Does fdinfo of an open file show a lock? */
static bool fd_holds_lock(int proc_pid, const char *fd_name)
{
	char path[32], line[256];
	CLEANUP(file) FILE *f = NULL;
	bool holds = false;
	int fd;

	if (snprintf(path, sizeof(path), "fdinfo/%s", fd_name) >= (int)sizeof(path))
		return false;
	fd = openat(proc_pid, path, O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f && fd >= 0)
		close(fd);
	while (f && !holds && fgets(line, sizeof(line), f))
		holds = !strncmp(line, "lock:", 5) &&
			(strstr(line, " OFDLCK ") || strstr(line, " POSIX "));
	return holds;
}

static bool process_holds_lock(int proc_pid, const struct stat *image)
{
	int fds = openat(proc_pid, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fds < 0 ? NULL : fdopendir(fds);
	struct dirent *entry;
	struct stat st;
	bool holds = false;

	if (!dir) {
		cleanup_fd(&fds);
		return false;
	}
	while (!holds && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) || st.st_dev != image->st_dev ||
		    st.st_ino != image->st_ino)
			continue;
		holds = fd_holds_lock(proc_pid, entry->d_name);
	}
	closedir(dir);
	return holds;
}

/* "VM 'web' (process 123)", or "qemu-system-x86 (process 123)". */
static void describe_process(int proc_pid, pid_t pid, char *text, size_t size)
{
	CLEANUP(fd) int fd = openat(proc_pid, "comm", O_RDONLY | O_CLOEXEC);
	char name[128], comm[32];
	struct stat st;
	ssize_t n = fd < 0 ? -1 : read(fd, comm, sizeof(comm) - 1);

	if (!fstat(proc_pid, &st) && rundir_name(st.st_uid, pid, name, sizeof(name))) {
		snprintf(text, size, "VM '%s' (process %d)", name, (int)pid);
		return;
	}
	comm[n > 0 ? n - 1 : 0] = 0;
	snprintf(text, size, "%s (process %d)", n > 1 ? comm : "another program", (int)pid);
}

static pid_t look_for_holder(const struct stat *image, char *text, size_t size)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		CLEANUP(fd)
		int pid_fd = openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (pid_fd < 0 || !process_holds_lock(pid_fd, image))
			continue;
		found = (pid_t)strtol(entry->d_name, NULL, 10);
		describe_process(pid_fd, found, text, size);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* {"device": 1, "inode": 2}: {"pid": 3, "who": "VM 'web' (process 3)"} */
static int serve_holder(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
			struct err *e)
{
	const struct stat image = {
		.st_dev = (dev_t)json_integer_value(json_object_get(ask, "device")),
		.st_ino = (ino_t)json_integer_value(json_object_get(ask, "inode"))
	};
	char text[HOLDER_BYTES] = "";
	pid_t pid = look_for_holder(&image, text, sizeof(text));

	(void)fd;
	(void)nfds;
	(void)e;
	out->json = json_pack("{s:i, s:o}", "pid", (int)pid, "who", broker_bytes(text));
	return 0;
}

const struct broker_service disk_lock_holder = { "disk_lock_holder", true, serve_holder };

/* The first process that holds a lock on the image; 0: none that this user can see. */
static pid_t find_holder(const struct stat *image, char *text, size_t size)
{
	struct broker_answer a;
	struct err ignored;
	pid_t pid;

	if (broker_ask(&disk_lock_holder,
		       json_pack("{s:I, s:I}", "device", (json_int_t)image->st_dev, "inode",
				 (json_int_t)image->st_ino),
		       NULL, 0, &a, &ignored))
		return 0;
	pid = (pid_t)json_integer_value(json_object_get(a.json, "pid"));
	broker_take_bytes(json_object_get(a.json, "who"), text, size);
	broker_answer_free(&a);
	return pid;
}

/* Of a file: {"shared": true}, if other hosts may have its file system, too. */
static int serve_shared(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
			struct err *e)
{
	static const uint32_t kinds[] = {
		NFS_SUPER_MAGIC,  CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC,  SMB_SUPER_MAGIC,
		CEPH_SUPER_MAGIC, FUSE_SUPER_MAGIC, OCFS2_SUPER_MAGIC, V9FS_MAGIC,
		AFS_SUPER_MAGIC,  AFS_FS_MAGIC,     CODA_SUPER_MAGIC,  GFS2_MAGIC,
		LUSTRE_MAGIC,     GPFS_MAGIC,
	};
	bool shared = false;
	struct statfs fs;

	(void)ask;
	if (nfds != 1 || fstatfs(*fd, &fs))
		return err_set(e, nfds == 1 ? -errno : -EINVAL, "it is of no file system");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		shared |= (uint32_t)fs.f_type == kinds[i];
	out->json = json_pack("{s:b}", "shared", shared);
	return 0;
}

const struct broker_service disk_lock_shared = { "disk_lock_shared", false, serve_shared };

static bool is_shared_between_hosts(int fd)
{
	struct broker_answer a;
	struct err ignored;
	bool shared;

	if (broker_ask(&disk_lock_shared, json_object(), &fd, 1, &a, &ignored))
		return false;
	shared = json_is_true(json_object_get(a.json, "shared"));
	broker_answer_free(&a);
	return shared;
}

/* Nobody on this host holds it, that this user can see. */
static int taken_elsewhere(int fd, const char *path, struct err *e)
{
	if (is_shared_between_hosts(fd))
		return err_set(e, -EAGAIN,
			       "%s is in use on another host that shares this file system; stop "
			       "the VM there first",
			       path);
	return err_set(e, -EAGAIN,
		       "%s is in use, and this user may not see by whom; look for one of your own "
		       "VMs with: godwit list, or as root for any process with: lslocks",
		       path);
}

static int taken_by(pid_t pid, const char *holder, const char *path, struct err *e)
{
	if (pid == getpid())
		return err_set(e, -EAGAIN, "%s is given twice to this VM; give it once", path);
	return err_set(e, -EAGAIN,
		       "%s is in use by %s; stop that first, or open the image with readonly=on "
		       "in both",
		       path, holder);
}

int disk_try_lock(int fd, uint64_t size_bytes, bool readonly)
{
	struct flock lock = { .l_type = readonly ? F_RDLCK : F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_len = (off_t)size_bytes };

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

int disk_cannot_lock(int code, const char *path, struct err *e)
{
	return err_set(e, code,
		       "cannot lock %s: %s; put the image on a file system with locks, so that "
		       "two VMs cannot use it at once",
		       path, strerror(-code));
}

int disk_lock(int fd, const char *path, uint64_t size_bytes, bool readonly, struct err *e)
{
	char holder[HOLDER_BYTES];
	struct stat image;
	pid_t pid;

	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		int r = disk_try_lock(fd, size_bytes, readonly);

		if (!r)
			return 0;
		if (r != -EAGAIN)
			return disk_cannot_lock(r, path, e);
		pid = tries || fstat(fd, &image) ? 0 : find_holder(&image, holder, sizeof(holder));
		if (pid)
			return taken_by(pid, holder, path, e);
		/* The kernel may still be ending the I/O of a VM that was killed. */
		poll(NULL, 0, LOCK_WAIT_MS);
	}
	return taken_elsewhere(fd, path, e);
}

void disk_unlock(int fd)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(fd, F_OFD_SETLK, &lock);
}

bool disk_is_locked(const char *path)
{
	char holder[HOLDER_BYTES];
	struct stat st;

	return !file_stat(path, &st) && find_holder(&st, holder, sizeof(holder));
}

int disk_busy(const char *path, struct err *e)
{
	char holder[HOLDER_BYTES];
	struct stat device;

	if (!file_stat(path, &device) && find_holder(&device, holder, sizeof(holder)))
		return err_set(e, -EBUSY, "%s is in use by %s; stop that first", path, holder);
	return err_set(e, -EBUSY,
		       "%s is mounted or otherwise in use on this host; unmount it, or add "
		       "readonly=on",
		       path);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "disk_lock.h"
#include "disk_queue.h"
#include "file.h"
#include "log.h"

enum { SECTOR_BYTES = 512, DIRECT_BLOCK_MAX = 4096 };

static int open_failed(const struct disk_config *c, int error, struct err *e)
{
	bool readable = !c->readonly && !access(c->path, R_OK);

	if (error == ENOENT && c->later)
		return err_set(e, -error,
			       "%s does not exist on this host; give the guest's disk with "
			       "--disk id=...,path=...",
			       c->path);
	if (error == ENOENT)
		return err_set(e, -error, "%s does not exist; make it with: truncate -s 10G %s",
			       c->path, c->path);
	if (error == EBUSY)
		return disk_busy(c->path, e);
	if ((error == EACCES || error == EPERM || error == EROFS) && readable)
		return err_set(e, -error,
			       "%s may be read but not written (%s); add readonly=on, or allow "
			       "this user to write it",
			       c->path, strerror(error));
	return err_set(e, -error, "cannot open %s for %s: %s", c->path,
		       c->readonly ? "reading" : "reading and writing", strerror(error));
}

static int check_kind(const char *path, mode_t mode, struct err *e)
{
	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	return err_set(e, S_ISDIR(mode) ? -EISDIR : -EINVAL,
		       "%s is %s; give a raw disk image or a block device", path,
		       S_ISDIR(mode)    ? "a directory"
		       : S_ISCHR(mode)  ? "a character device"
		       : S_ISFIFO(mode) ? "a pipe"
					: "a socket");
}

/* A device that the host has mounted, or that another writer opened so, refuses O_EXCL.  A VM of
 * this host that is to hand it over may be that writer. */
static int open_image(const struct disk_config *c, int *out, struct stat *st, struct err *e)
{
	int flags = O_CLOEXEC | (c->readonly ? O_RDONLY : O_RDWR);
	CLEANUP(fd) int fd = -1;
	int r;

	if (file_stat(c->path, st))
		return open_failed(c, errno, e);
	r = check_kind(c->path, st->st_mode, e);
	if (r)
		return r;
	if (S_ISBLK(st->st_mode) && !c->readonly)
		flags |= O_EXCL;
	fd = open(c->path, flags);
	if (fd < 0 && errno == EBUSY && c->later && disk_is_locked(c->path))
		fd = open(c->path, flags & ~O_EXCL);
	if (fd < 0 || fstat(fd, st))
		return open_failed(c, errno, e);
	r = check_kind(c->path, st->st_mode, e);
	if (!r)
		*out = TAKE_FD(fd);
	return r;
}

static int host_size(const struct disk *d, uint64_t *bytes, struct err *e)
{
	struct stat st;

	if (d->is_block_device ? ioctl(d->fd, BLKGETSIZE64, bytes) : fstat(d->fd, &st))
		return err_set(e, -errno, "cannot tell the size of %s: %s", d->config.path,
			       strerror(errno));
	if (!d->is_block_device)
		*bytes = (uint64_t)st.st_size;
	return 0;
}

static int measure(struct disk *d, const char *path, struct err *e)
{
	int block = SECTOR_BYTES;
	uint64_t bytes;
	int r = host_size(d, &bytes, e);

	if (r)
		return r;
	if (d->is_block_device && ioctl(d->fd, BLKSSZGET, &block))
		return err_set(e, -errno, "cannot tell the block size of %s: %s", path,
			       strerror(errno));
	d->block_bytes = MAX((uint32_t)block, SECTOR_BYTES);
	d->size_bytes = align_down(bytes, SECTOR_BYTES);
	if (!d->size_bytes)
		return err_set(e, -EINVAL, "%s is %s; give it a size with: truncate -s 10G %s",
			       path, bytes ? "smaller than one sector" : "empty", path);
	if (d->size_bytes != bytes)
		log_warn("%s: the size is not a multiple of 512; the guest does not see the last "
			 "%u bytes",
			 path, (unsigned)(bytes - d->size_bytes));
	return 0;
}

/* A guest must never choose the format of its own disk: it is raw or it is refused. */
static int check_raw(const struct disk *d, const char *path, struct err *e)
{
	static const struct {
		const char *magic, *name;
	} formats[] = {
		{ "QFI\xfb", "qcow2" },
		{ "KDMV", "vmdk" },
		{ "vhdxfile", "vhdx" },
	};
	char head[8] = "";

	if (file_read_at(d->fd, head, sizeof(head), 0) < 0)
		return err_set(e, -errno, "cannot read %s: %s", path, strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (!memcmp(head, formats[i].magic, strlen(formats[i].magic)))
			return err_set(e, -EINVAL,
				       "%s is a %s image and only raw images are taken; convert it "
				       "with: qemu-img convert -O raw %s %s.raw",
				       path, formats[i].name, path, path);
	return 0;
}

/* The smallest block that can be read directly.  No file system tells on every kernel. */
static uint32_t probe_direct_block(int fd)
{
	CLEANUP(free) void *buffer = NULL;

	if (posix_memalign(&buffer, DIRECT_BLOCK_MAX, DIRECT_BLOCK_MAX))
		return DIRECT_BLOCK_MAX;
	for (uint32_t bytes = SECTOR_BYTES; bytes < DIRECT_BLOCK_MAX; bytes *= 2)
		if (file_read_at(fd, buffer, bytes, 0) >= 0)
			return bytes;
	return DIRECT_BLOCK_MAX;
}

static bool is_same_file(int fd, int other)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstat(other, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int open_direct(struct disk *d, const struct disk_config *c, struct err *e)
{
	d->direct_fd = open(c->path, O_CLOEXEC | O_DIRECT | (c->readonly ? O_RDONLY : O_RDWR));
	if (d->direct_fd >= 0 && !is_same_file(d->fd, d->direct_fd))
		return err_set(e, -EAGAIN, "%s was replaced while it was opened; try again",
			       c->path);
	if (d->direct_fd < 0 && errno == EINVAL)
		return err_set(e, -EINVAL,
			       "the file system of %s has no direct I/O; leave out direct=on",
			       c->path);
	if (d->direct_fd < 0)
		return err_set(e, -errno, "cannot open %s for direct I/O: %s", c->path,
			       strerror(errno));
	return 0;
}

/* All that is read of a disk before its guest reads it. */
static int look_inside(struct disk *d, struct err *e)
{
	int r = d->config.raw ? 0 : check_raw(d, d->config.path, e);

	if (!r && d->direct_fd >= 0)
		d->block_bytes = MAX(d->block_bytes, probe_direct_block(d->direct_fd));
	return r;
}

static int lock(struct disk *d, struct err *e)
{
	int r = disk_lock(d->fd, d->config.path, d->size_bytes, d->config.readonly, e);

	d->locked = !r;
	return r;
}

/* What the kernel has of a block device may be old, and there may be others who keep it so. */
static int check_later(const struct disk *d, struct err *e)
{
	if (!d->config.later || !d->is_block_device || d->config.direct)
		return 0;
	return err_set(e, -EINVAL,
		       "%s is a block device and comes from another host, of which this one may "
		       "have old blocks in its cache; add direct=on",
		       d->config.path);
}

static int prepare(struct disk *d, const struct disk_config *c, struct err *e)
{
	struct stat st;
	int r = open_image(c, &d->fd, &st, e);

	if (r)
		return r;
	d->is_block_device = S_ISBLK(st.st_mode);
	r = check_later(d, e);
	if (!r)
		r = measure(d, c->path, e);
	if (!r && !c->later)
		r = lock(d, e);
	if (!r && c->direct)
		r = open_direct(d, c, e);
	if (!r && !c->later)
		r = look_inside(d, e);
	if (r)
		return r;
	/* Never written, so that it stays the kernel's one page of zeroes. */
	d->zeroes = mmap(NULL, DISK_ZEROES_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d->zeroes == MAP_FAILED)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

int disk_open(struct disk **out, const struct disk_config *c, struct err *e)
{
	struct disk *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	d->config = *c;
	d->fd = d->direct_fd = -1;
	d->zeroes = MAP_FAILED;
	disk_flush_init(d);
	r = prepare(d, c, e);
	if (r) {
		disk_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	disk_pool_end(d->pool);
	pthread_mutex_destroy(&d->flusher.lock);
	if (d->zeroes != MAP_FAILED)
		munmap(d->zeroes, DISK_ZEROES_BYTES);
	if (d->direct_fd >= 0)
		close(d->direct_fd);
	/* Not by close() alone: the kernel keeps the file open until the last ring is gone. */
	if (d->fd >= 0) {
		disk_unlock(d->fd);
		close(d->fd);
	}
	free(d);
}

const char *disk_path(const struct disk *d)
{
	return d->config.path;
}

uint64_t disk_size_bytes(const struct disk *d)
{
	return d->size_bytes;
}

uint32_t disk_block_bytes(const struct disk *d)
{
	return d->block_bytes;
}

static int check_same_size(const struct disk *d, struct err *e)
{
	uint64_t now;
	int r = host_size(d, &now, e);

	if (r || align_down(now, SECTOR_BYTES) == d->size_bytes)
		return r;
	return err_set(e, -EINVAL,
		       "%s has %llu bytes, but had %llu when the guest last knew of it; give it "
		       "that size again",
		       d->config.path, (unsigned long long)now, (unsigned long long)d->size_bytes);
}

int disk_take(struct disk *d, struct err *e)
{
	int r = d->locked ? 0 : disk_try_lock(d->fd, d->size_bytes, d->config.readonly);

	if (d->locked)
		return 0;
	if (r == -EAGAIN)
		return err_set(e, r, "%s is locked by another; stop the VM that uses it first",
			       d->config.path);
	if (r)
		return disk_cannot_lock(r, d->config.path, e);
	d->locked = true;
	/* Another host may have written since this one read. */
	r = -posix_fadvise(d->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (r)
		err_set(e, r, "cannot drop what is cached of %s: %s", d->config.path, strerror(-r));
	if (!r)
		r = check_same_size(d, e);
	if (!r)
		r = look_inside(d, e);
	if (r)
		disk_let_go(d);
	return r;
}

void disk_let_go(struct disk *d)
{
	disk_unlock(d->fd);
	d->locked = false;
}

int disk_prove_lock(struct disk *d, struct err *e)
{
	int r;

	assert(!d->locked);
	r = disk_try_lock(d->fd, d->size_bytes, d->config.readonly);
	if (r == -EAGAIN)
		return 1;
	if (r)
		return disk_cannot_lock(r, d->config.path, e);
	disk_unlock(d->fd);
	return 0;
}

void disk_lose(struct disk *d, int error)
{
	if (!atomic_exchange(&d->lost, true))
		log_warn("%s: what was written to it since the last flush may be lost (%s); no "
			 "flush succeeds until the VM is started anew",
			 d->config.path, strerror(error));
}

int disk_sync(struct disk *d, struct err *e)
{
	int error = fdatasync(d->fd) ? errno : 0;

	if (error && atomic_load(&d->cached))
		disk_lose(d, error);
	if (atomic_load(&d->lost) && !error)
		error = ENOTRECOVERABLE;
	return error ? err_set(e, -error, "cannot write what %s was given: %s", d->config.path,
			       strerror(error))
		     : 0;
}

/* It may have grown since it was opened. */
static int check_device_size(const struct disk *d, uint64_t bytes, struct err *e)
{
	uint64_t now;
	int r = host_size(d, &now, e);

	if (r || bytes == now)
		return r;
	return err_set(e, -ENOTSUP,
		       "%s is a block device and has %llu bytes; resize it on the host, then give "
		       "its new size here",
		       d->config.path, (unsigned long long)now);
}

/* Where a file system cannot allocate ahead, that is as if it were sparse. */
static int allocate(const struct disk *d, uint64_t bytes)
{
	int error;

	if (d->config.sparse || bytes <= d->size_bytes ||
	    !fallocate(d->fd, 0, (off_t)d->size_bytes, (off_t)(bytes - d->size_bytes)) ||
	    errno == EOPNOTSUPP)
		return 0;
	error = errno;
	/* Not to keep a full file system full with the part that it had room for. */
	if (ftruncate(d->fd, (off_t)d->size_bytes))
		log_warn("%s: cannot undo its growth: %s", d->config.path, strerror(errno));
	return -error;
}

static int resize_file(struct disk *d, uint64_t bytes, struct err *e)
{
	int r = bytes > d->size_bytes ? disk_lock(d->fd, d->config.path, bytes, false, e) : 0;

	if (r)
		return r;
	r = allocate(d, bytes);
	if (!r && ftruncate(d->fd, (off_t)bytes))
		r = -errno;
	return r ? err_set(e, r, "cannot give %s %llu bytes: %s", d->config.path,
			   (unsigned long long)bytes, strerror(-r))
		 : 0;
}

int disk_resize(struct disk *d, uint64_t bytes, struct err *e)
{
	int r;

	if (d->config.readonly)
		return err_set(e, -EROFS,
			       "%s is read-only here; only a disk that the VM may write can be "
			       "resized",
			       d->config.path);
	r = d->is_block_device ? check_device_size(d, bytes, e) : resize_file(d, bytes, e);
	if (!r)
		d->size_bytes = bytes;
	return r;
}

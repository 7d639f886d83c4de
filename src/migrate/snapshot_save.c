/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "channel.h"
#include "cleanup.h"
#include "file.h"
#include "manifest.h"
#include "snapshot.h"
#include "snapshot_file.h"
#include "snapshot_memory.h"
#include "stream.h"

struct writer {
	const char *path; /* of the directory */
	int dir;
	bool made; /* the directory */
	const struct snapshot_source *from;
	struct manifest *manifest;
	struct err *e;
};

static int fail(struct writer *w, const char *what)
{
	return err_set(w->e, -errno, "%s: %s: %s", w->path, what, strerror(errno));
}

static int write_text(int fd, const char *text, struct err *e)
{
	struct channel ch = channel_of(fd);

	return channel_write(&ch, &(struct iovec){ (char *)(uintptr_t)text, strlen(text) }, 1, e);
}

static int write_config(struct writer *w, int fd)
{
	return write_text(fd, w->from->config, w->e);
}

static int write_devices(struct writer *w, int fd)
{
	struct manifest *m = w->manifest;
	int r = stream_save_devices(w->from->mem, w->from->devices, fd, w->e);

	return r ? r : snapshot_file_sum(fd, &m->devices_bytes, &m->devices_crc, w->e);
}

static int write_memory(struct writer *w, int fd)
{
	return snapshot_memory_write(fd, w->from->mem, w->manifest, w->from->cancel, w->e);
}

static int write_state(struct writer *w, int fd)
{
	json_auto_t *json = manifest_write(w->manifest);
	CLEANUP(free) char *text = json_dumps(json, JSON_INDENT(2));

	if (!text)
		return err_set(w->e, -ENOMEM, "out of memory for a snapshot");
	return write_text(fd, text, w->e);
}

/* In the order in which they get their names. */
static const struct {
	const char *name, *unfinished;
	int (*write)(struct writer *, int fd);
} files[] = {
	{ SNAPSHOT_CONFIG, "." SNAPSHOT_CONFIG ".new", write_config },
	{ SNAPSHOT_DEVICES, "." SNAPSHOT_DEVICES ".new", write_devices },
	{ SNAPSHOT_MEMORY, "." SNAPSHOT_MEMORY ".new", write_memory },
	{ SNAPSHOT_STATE, "." SNAPSHOT_STATE ".new", write_state },
};

static int refuse_names(struct writer *w)
{
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!file_lstat(w->dir, files[i].name, &st))
			return err_set(w->e, -EEXIST,
				       "%s: there is a %s in it already; give another directory",
				       w->path, files[i].name);
	return 0;
}

/* Locked, so that two do not write one snapshot; where that is not possible they need not. */
static int open_directory(struct writer *w)
{
	w->made = !mkdir(w->path, 0700);
	if (!w->made && errno != EEXIST)
		return fail(w, "cannot be made");
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir < 0)
		return fail(w, "cannot be opened");
	if (flock(w->dir, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return err_set(w->e, -EBUSY, "%s: another snapshot is being written there",
			       w->path);
	return refuse_names(w);
}

/* The unfinished file of one that was killed may be there. */
static int write_file(struct writer *w, size_t i)
{
	CLEANUP(fd) int fd = -1;
	int r;

	unlinkat(w->dir, files[i].unfinished, 0);
	fd = openat(w->dir, files[i].unfinished, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(w, "a file cannot be made in it");
	r = files[i].write(w, fd);
	if (r)
		return err_prefix(w->e, r, "%s/%s", w->path, files[i].name);
	return fsync(fd) ? fail(w, "cannot be written to the disk") : 0;
}

static int name_file(struct writer *w, size_t i)
{
	/* All others are on the disk under their names before this one says so. */
	if (files[i].write == write_state && fsync(w->dir))
		return fail(w, "cannot be written to the disk");
	if (renameat(w->dir, files[i].unfinished, w->dir, files[i].name))
		return fail(w, "a file cannot be renamed in it");
	return 0;
}

/* The entry of a new directory is in the one above. */
static int sync_directory(struct writer *w)
{
	CLEANUP(fd) int parent = openat(w->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fsync(w->dir) || (w->made && parent >= 0 && fsync(parent)))
		return fail(w, "cannot be written to the disk");
	return 0;
}

static int write_files(struct writer *w)
{
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(files); i++)
		r = write_file(w, i);
	for (size_t i = 0; !r && i < ARRAY_SIZE(files); i++)
		r = name_file(w, i);
	if (!r)
		r = sync_directory(w);
	for (size_t i = ARRAY_SIZE(files); r && i--;) {
		unlinkat(w->dir, files[i].name, 0);
		unlinkat(w->dir, files[i].unfinished, 0);
	}
	return r;
}

int snapshot_save(const char *dir, const struct snapshot_source *from, struct err *e)
{
	struct writer w = { .path = dir, .dir = -1, .from = from, .e = e };
	int r = manifest_new(&w.manifest, from->uuid, from->disks, from->needs, from->mem, e);

	if (!r)
		r = open_directory(&w);
	if (!r)
		r = write_files(&w);
	if (r && w.made)
		rmdir(dir);
	cleanup_fd(&w.dir);
	manifest_free(w.manifest);
	return r;
}

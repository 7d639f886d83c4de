/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "devices.h"
#include "file.h"
#include "manifest.h"
#include "snapshot.h"
#include "snapshot_file.h"
#include "snapshot_memory.h"
#include "stream.h"
#include "vm.h"

enum {
	CONFIG_BYTES_MAX = 4 << 20,
	STATE_BYTES_MAX = 64 << 20, /* of 256 TiB of memory */
	STREAM_BYTES_MAX = DEVICES_BYTES_MAX + (1 << 20),
};

/* A regular file of at most so many bytes; a FIFO would make its reader wait. */
static int open_file(int dir, const char *name, uint64_t max, int *fd, uint64_t *bytes,
		     struct err *e)
{
	CLEANUP(fd) int opened = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (opened < 0 && errno == ENOENT)
		return err_set(e, -EBADMSG, "there is no %s in it: it is no snapshot", name);
	if (opened < 0 || fstat(opened, &st))
		return err_set(e, -errno, "%s cannot be opened: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EBADMSG, "%s is no regular file", name);
	if ((uint64_t)st.st_size > max)
		return err_set(e, -EBADMSG, "%s is too long for what it should be", name);
	*bytes = (uint64_t)st.st_size;
	*fd = TAKE_FD(opened);
	return 0;
}

static int read_json(int dir, const char *name, uint64_t max, json_t **out, struct err *e)
{
	CLEANUP(free) char *text = NULL;
	CLEANUP(fd) int fd = -1;
	json_error_t where;
	uint64_t bytes;
	ssize_t n;
	int r = open_file(dir, name, max, &fd, &bytes, e);

	if (r)
		return r;
	text = malloc(bytes + 1);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory for %s", name);
	n = file_read_at(fd, text, bytes, 0);
	if (n < 0)
		return err_set(e, -errno, "%s cannot be read: %s", name, strerror(errno));
	*out = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, &where);
	if (!*out)
		return err_set(e, -EBADMSG, "%s:%d:%d: not valid JSON: %s", name, where.line,
			       where.column, where.text);
	return json_is_object(*out)
		       ? 0
		       : err_set(e, -EBADMSG, "%s must hold a JSON object, { ... }", name);
}

static int read_manifest(struct snapshot *s, int dir, struct err *e)
{
	json_auto_t *state = NULL;
	int r = read_json(dir, SNAPSHOT_STATE, STATE_BYTES_MAX, &state, e);

	if (!r)
		r = manifest_read(&s->manifest, state, e);
	if (r)
		return r;
	s->disks = s->manifest->disks;
	s->needs = s->manifest->needs;
	return 0;
}

static int open_devices(struct snapshot *s, int dir, struct err *e)
{
	const struct manifest *m = s->manifest;
	uint64_t bytes;
	uint32_t crc;
	int r = open_file(dir, SNAPSHOT_DEVICES, STREAM_BYTES_MAX, &s->devices_fd, &bytes, e);

	if (!r)
		r = snapshot_file_sum(s->devices_fd, &bytes, &crc, e);
	if (!r && (bytes != m->devices_bytes || crc != m->devices_crc))
		r = err_set(e, -EBADMSG,
			    SNAPSHOT_DEVICES " is damaged: it is not the file that " SNAPSHOT_STATE
					     " describes");
	return r;
}

/* The lock belongs to the open file, which stays open as long as it is mapped. */
static int open_memory(struct snapshot *s, int dir, struct err *e)
{
	uint64_t bytes;
	int r = open_file(dir, SNAPSHOT_MEMORY, INT64_MAX, &s->memory_fd, &bytes, e);

	if (r)
		return r;
	if (flock(s->memory_fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
		return err_set(e, -EBUSY, SNAPSHOT_MEMORY " is locked: somebody is changing it");
	if (bytes != s->manifest->memory_bytes)
		return err_set(
			e, -EBADMSG,
			SNAPSHOT_MEMORY " is damaged: it has %llu bytes and should have %llu",
			(unsigned long long)bytes, (unsigned long long)s->manifest->memory_bytes);
	return 0;
}

static int open_all(struct snapshot *s, int dir, struct err *e)
{
	int r = read_manifest(s, dir, e);

	if (!r)
		r = read_json(dir, SNAPSHOT_CONFIG, CONFIG_BYTES_MAX, &s->config, e);
	if (!r)
		r = open_devices(s, dir, e);
	return r ? r : open_memory(s, dir, e);
}

int snapshot_open(struct snapshot *s, const char *path, struct err *e)
{
	CLEANUP(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	*s = (struct snapshot){ .devices_fd = -1, .memory_fd = -1 };
	if (dir < 0)
		return err_set(e, -errno, "%s cannot be opened: %s", path, strerror(errno));
	r = open_all(s, dir, e);
	return r ? err_prefix(e, r, "%s", path) : 0;
}

void snapshot_close(struct snapshot *s)
{
	json_decref(s->config);
	manifest_free(s->manifest);
	cleanup_fd(&s->devices_fd);
	cleanup_fd(&s->memory_fd);
	*s = (struct snapshot){ .devices_fd = -1, .memory_fd = -1 };
}

int snapshot_check_size(const struct snapshot *s, uint64_t memory_bytes, struct err *e)
{
	if (memory_bytes == s->manifest->memory_bytes)
		return 0;
	return err_set(e, -EBADMSG,
		       SNAPSHOT_CONFIG " says %llu bytes of memory and the snapshot has %llu; "
				       "its size cannot be changed",
		       (unsigned long long)memory_bytes,
		       (unsigned long long)s->manifest->memory_bytes);
}

int snapshot_load_memory(const struct snapshot *s, struct guest_mem *mem, struct err *e)
{
	int r = manifest_check_memory(s->manifest, mem, e);

	return r ? r : snapshot_memory_read(s->memory_fd, mem, s->manifest, e);
}

int snapshot_load_devices(const struct snapshot *s, struct vm *vm, struct err *e)
{
	int r = manifest_check_memory(s->manifest, vm->mem, e);

	return r ? r : stream_load_devices(vm, s->devices_fd, e);
}

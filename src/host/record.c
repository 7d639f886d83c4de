/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

enum { RECORD_BYTES_MAX = 65536 };

static const char temporary[] = ".new";

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Whatever the umask is.  In a sandbox it can be changed by its name only (broker_calls.c). */
static int give_mode(int dir, const char *name, int fd, mode_t mode)
{
	struct stat st;

	if (!fstat(fd, &st) && (st.st_mode & 0777) == mode)
		return 0;
	return fchmod(fd, mode) ? fchmodat(dir, name, mode, 0) : 0;
}

/* Not over one that a crash left behind: that may be another user's. */
static int write_new(int dir, const char *name, mode_t mode, const char *text)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	CLEANUP(fd) int fd = -1;
	int r;

	fd = openat(dir, name, flags, mode);
	if (fd < 0 && errno == EEXIST && !unlinkat(dir, name, 0))
		fd = openat(dir, name, flags, mode);
	if (fd < 0 || give_mode(dir, name, fd, mode))
		return -errno;
	r = write_all(fd, text, strlen(text));
	if (!r)
		r = write_all(fd, "\n", 1);
	return !r && fsync(fd) ? -errno : r;
}

/* Some network file systems keep directories so by themselves and refuse to be asked. */
static int sync_directory(int dir)
{
	return fsync(dir) && errno != EINVAL && errno != EOPNOTSUPP ? -errno : 0;
}

int record_write(int dir, const char *name, mode_t mode, const json_t *json)
{
	CLEANUP(free) char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
	char path[NAME_MAX + 1];
	int r;

	if (!text)
		return -ENOMEM;
	if (snprintf(path, sizeof(path), "%s%s", name, temporary) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	r = write_new(dir, path, mode, text);
	if (!r && renameat(dir, path, dir, name))
		r = -errno;
	if (!r)
		return sync_directory(dir);
	unlinkat(dir, path, 0);
	return r;
}

int record_read(int dir, const char *name, json_t **out)
{
	CLEANUP(fd)
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char text[RECORD_BYTES_MAX];
	struct stat st;
	json_t *json;
	ssize_t n;

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -EBADMSG : -errno;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)sizeof(text))
		return -EBADMSG;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return -errno;
	json = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	if (!json)
		return -EBADMSG;
	*out = json;
	return 0;
}

bool record_is_text(const char *text, size_t size)
{
	if (strlen(text) >= size)
		return false;
	while (*text >= ' ' && *text <= '~')
		text++;
	return !*text;
}

bool record_is_generation(json_int_t n)
{
	return n >= 1 && (uint64_t)n <= RECORD_GENERATION_MAX;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "bits.h"
#include "broker.h"

/* {"path": "p", "follow": true}, and a directory where it begins: what struct stat has. */
static int serve_stat(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		      struct err *e)
{
	const bool follow = json_is_true(json_object_get(ask, "follow"));
	char path[PATH_MAX];
	struct stat st;

	broker_take_bytes(json_object_get(ask, "path"), path, sizeof(path));
	if (fstatat(nfds ? *fd : AT_FDCWD, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW))
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	out->json = json_pack("{s:I, s:I, s:i, s:I}", "device", (json_int_t)st.st_dev, "inode",
			      (json_int_t)st.st_ino, "mode", (int)st.st_mode, "user",
			      (json_int_t)st.st_uid);
	return 0;
}

const struct broker_service file_service = { "file", false, serve_stat };

const char *file_below(const char *path, int *dir)
{
	static const char own[] = "/proc/self/fd/";
	long number;
	char *end;

	if (strncmp(path, own, sizeof(own) - 1))
		return NULL;
	number = strtol(path + sizeof(own) - 1, &end, 10);
	if (end == path + sizeof(own) - 1 || (*end && *end != '/') || number > INT_MAX)
		return NULL;
	*dir = (int)number;
	return *end ? end + 1 : end;
}

static int look(int dir, const char *path, bool follow, struct stat *st)
{
	json_int_t device = 0, inode = 0, user = 0;
	struct broker_answer a;
	const char *below = file_below(path, &dir);
	struct err ignored;
	int mode = 0, r;

	path = below && *below ? below : path;
	r = broker_ask(&file_service,
		       json_pack("{s:o, s:b}", "path", broker_bytes(path), "follow", follow), &dir,
		       dir != AT_FDCWD, &a, &ignored);

	if (r) {
		errno = -r;
		return -1;
	}
	json_unpack(a.json, "{s:I, s:I, s:i, s:I}", "device", &device, "inode", &inode, "mode",
		    &mode, "user", &user);
	*st = (struct stat){ .st_dev = (dev_t)device,
			     .st_ino = (ino_t)inode,
			     .st_mode = (mode_t)mode,
			     .st_uid = (uid_t)user };
	broker_answer_free(&a);
	return 0;
}

int file_stat(const char *path, struct stat *st)
{
	return look(AT_FDCWD, path, true, st);
}

int file_lstat(int dir, const char *path, struct stat *st)
{
	return look(dir, path, false, st);
}

ssize_t file_read_at(int fd, void *data, size_t len, off_t at)
{
	return preadv(fd, &(struct iovec){ data, len }, 1, at);
}

ssize_t file_write_at(int fd, const void *data, size_t len, off_t at)
{
	return pwritev(fd, &(struct iovec){ (void *)data, len }, 1, at);
}

void file_read_again(int *fd, const char *path, char *text, size_t size)
{
	ssize_t n;

	if (*fd < 0)
		*fd = open(path, O_RDONLY | O_CLOEXEC);
	n = *fd < 0 ? -1 : file_read_at(*fd, text, size - 1, 0);
	text[MAX(n, 0)] = '\0';
}

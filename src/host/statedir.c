/* SPDX-License-Identifier: Apache-2.0 */
#include "statedir.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker.h"
#include "cleanup.h"

static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

int statedir_path(char *path, size_t size, struct err *e)
{
	const char *given = setting("GODWIT_STATE_DIR"), *state = setting("XDG_STATE_HOME"),
		   *home = setting("HOME");
	int n;

	if (given)
		n = snprintf(path, size, "%s", given);
	else if (!broker_owner())
		n = snprintf(path, size, "/var/lib/godwit");
	else if (state)
		n = snprintf(path, size, "%s/godwit", state);
	else if (home)
		n = snprintf(path, size, "%s/.local/state/godwit", home);
	else
		return err_set(e, -ENOENT,
			       "there is no place for what this host must remember: set "
			       "GODWIT_STATE_DIR to a directory that a reboot leaves alone");
	if (n < 0 || (size_t)n >= size)
		return err_set(e, -ENAMETOOLONG,
			       "the path of the state directory is too long; set "
			       "GODWIT_STATE_DIR to a shorter one");
	return 0;
}

static int sync_path(const char *path)
{
	CLEANUP(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

/* Each is in the one above it for good before the next is made. */
static int make_path(const char *path, mode_t mode)
{
	char copy[PATH_MAX], *above;
	int r;

	if (!access(path, F_OK))
		return 0;
	snprintf(copy, sizeof(copy), "%s", path);
	above = dirname(copy);
	r = make_path(above, 0755);
	if (!r && mkdir(path, mode) && errno != EEXIST)
		r = -errno;
	return r ? r : sync_path(above);
}

int statedir_open(bool make, struct err *e)
{
	CLEANUP(fd) int fd = -1;
	char path[PATH_MAX];
	struct stat st;
	int r = statedir_path(path, sizeof(path), e);

	if (r)
		return r;
	/* Services of other users have directories below root's (godwit@.service). */
	if (make)
		r = make_path(path, broker_owner() || setting("GODWIT_STATE_DIR") ? 0700 : 0711);
	if (r)
		return err_set(e, r, "%s cannot be made: %s", path, strerror(-r));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && !make && (errno == EACCES || errno == ENOTDIR))
		return err_set(e, -ENOENT, "%s is not this user's", path);
	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "%s cannot be opened: %s", path, strerror(errno));
	if (st.st_uid && st.st_uid != broker_owner())
		return err_set(e, -EPERM,
			       "%s belongs to another user; set GODWIT_STATE_DIR to a directory of "
			       "yours",
			       path);
	return TAKE_FD(fd);
}

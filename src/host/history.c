/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "record.h"
#include "statedir.h"
#include "uuid.h"

enum { US_PER_S = 1000000, NAME_BYTES = 96 };

static const char folder[] = "migrations";

static int name_of(char name[NAME_BYTES], const struct history_entry *h, struct err *e)
{
	time_t began_s = (time_t)(h->began_us / US_PER_S);
	char when[32];
	struct tm utc;

	if (!uuid_is(h->uuid))
		return err_set(e, -EINVAL, "\"%.64s\" is not the uuid of a VM", h->uuid);
	if (!gmtime_r(&began_s, &utc) || !strftime(when, sizeof(when), "%Y%m%dT%H%M%S", &utc))
		return err_set(e, -EINVAL, "the host's clock makes no sense");
	snprintf(name, NAME_BYTES, "%s.%06uZ-%s-%s.json", when, (unsigned)(h->began_us % US_PER_S),
		 h->uuid, h->incoming ? "incoming" : "outgoing");
	return 0;
}

static int open_folder(struct err *e)
{
	CLEANUP(fd) int above = statedir_open(true, e);
	int fd = -1;

	if (above < 0)
		return above;
	if (!mkdirat(above, folder, 0700) || errno == EEXIST)
		fd = openat(above, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd
		       : err_set(e, -errno,
				 "%s in the state directory of this host cannot be opened: %s",
				 folder, strerror(errno));
}

/* How many there are of this VM, what a crash left behind too, and the first of them by name. */
static unsigned count(int dir, const char *uuid, char first[NAME_MAX + 1])
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *files = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *file;
	unsigned n = 0;

	if (!files)
		cleanup_fd(&copy);
	while (files && (file = readdir(files))) {
		if (!strstr(file->d_name, uuid))
			continue;
		if (!n++ || strcmp(file->d_name, first) < 0)
			snprintf(first, NAME_MAX + 1, "%s", file->d_name);
	}
	if (files)
		closedir(files);
	return n;
}

/* Another process may do the same at the same time. */
static int keep_newest(int dir, const char *uuid)
{
	char first[NAME_MAX + 1];

	while (count(dir, uuid, first) > HISTORY_KEPT)
		if (unlinkat(dir, first, 0) && errno != ENOENT)
			return -errno;
	return 0;
}

int history_write(const struct history_entry *h, const json_t *json, struct err *e)
{
	CLEANUP(fd) int dir = -1;
	char name[NAME_BYTES];
	int r = name_of(name, h, e);

	if (r)
		return r;
	dir = open_folder(e);
	if (dir < 0)
		return dir;
	r = record_write(dir, name, 0600, json);
	if (!r)
		r = keep_newest(dir, h->uuid);
	return r ? err_set(e, r, "%s/%s in the state directory of this host cannot be written: %s",
			   folder, name, strerror(-r))
		 : 0;
}

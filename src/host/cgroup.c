/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

enum { LINE_BYTES = 2 * PATH_MAX };

FILE *cgroup_open(const char *folder, const char *file)
{
	char path[LINE_BYTES];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, file) < sizeof(path))
		return fopen(path, "re");
	errno = ENAMETOOLONG;
	return NULL;
}

bool cgroup_read(const char *folder, const char *file, char text[CGROUP_TEXT_BYTES])
{
	CLEANUP(file) FILE *f = cgroup_open(folder, file);

	return f && fgets(text, CGROUP_TEXT_BYTES, f);
}

int cgroup_write(const char *folder, const char *file, const char *text)
{
	ssize_t len = (ssize_t)strlen(text);
	CLEANUP(fd) int fd = -1;
	char path[LINE_BYTES];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, file) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, (size_t)len) == len ? 0 : -errno;
}

/* Among words between commas. */
static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (; *words; words += strcspn(words, ","), words += *words == ',')
		if (strcspn(words, ",\n") == len && !memcmp(words, word, len))
			return true;
	return false;
}

/* "2:cpu,cpuacct:/path" of version 1, "0::/path" of 2. */
bool cgroup_path(const char *root, pid_t pid, const char *controller, char path[PATH_MAX])
{
	char file[32] = "proc/self/cgroup", line[LINE_BYTES], *controllers, *at;
	CLEANUP(file) FILE *f = NULL;

	if (pid)
		snprintf(file, sizeof(file), "proc/%d/cgroup", (int)pid);
	f = cgroup_open(root, file);
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		controllers = strchr(line, ':');
		at = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!at)
			continue;
		*at++ = '\0';
		if (controller ? has_word(controllers + 1, controller) : !controllers[1])
			return (size_t)snprintf(path, PATH_MAX, "%s", at) < PATH_MAX;
	}
	return false;
}

/* "36 35 0:31 PART MOUNTPOINT rw,noatime shared:1 - cgroup2 cgroup2 rw" */
static bool is_mount(const char *line, const char *controller, char part[PATH_MAX],
		     char at[PATH_MAX])
{
	const char *rest = strstr(line, " - ");
	char kind[16], options[256] = "";

	return rest && sscanf(line, "%*s %*s %*s %4095s %4095s", part, at) == 2 &&
	       sscanf(rest, " - %15s %*s %255s", kind, options) >= 1 &&
	       !strcmp(kind, controller ? "cgroup" : "cgroup2") &&
	       (!controller || has_word(options, controller));
}

bool cgroup_folder(const char *root, const char *controller, const char *path,
		   char folder[PATH_MAX])
{
	CLEANUP(file) FILE *f = cgroup_open(root, "proc/self/mountinfo");
	char line[LINE_BYTES], part[PATH_MAX], at[PATH_MAX];

	while (f && fgets(line, sizeof(line), f)) {
		size_t n;

		if (!is_mount(line, controller, part, at))
			continue;
		n = strcmp(part, "/") ? strlen(part) : 0;
		if (!strncmp(path, part, n) && (!path[n] || path[n] == '/'))
			return (size_t)snprintf(folder, PATH_MAX, "%s%s%s", root, at, path + n) <
			       PATH_MAX;
	}
	return false;
}

/* "7 (broker) S 6": it is a VM's, and belongs to it (broker.h). */
static bool is_broker_of(pid_t pid, int other)
{
	char path[32];
	int parent = 0;
	CLEANUP(file) FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", other);
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (broker) %*c %d", &parent) == 1 && parent == (int)pid;
}

bool cgroup_is_alone(const char *folder, pid_t pid)
{
	CLEANUP(file) FILE *f = cgroup_open(folder, "cgroup.procs");
	bool is_there = false;
	int found;

	pid = pid ? pid : getpid();
	while (f && fscanf(f, "%d", &found) == 1) {
		if (found != (int)pid && !is_broker_of(pid, found))
			return false;
		is_there |= found == (int)pid;
	}
	return is_there;
}

bool cgroup_of_own(const char *root, pid_t pid, const char *controller, char folder[PATH_MAX])
{
	char path[PATH_MAX];

	return cgroup_path(root, pid, controller, path) &&
	       cgroup_folder(root, controller, path, folder) && cgroup_is_alone(folder, pid);
}

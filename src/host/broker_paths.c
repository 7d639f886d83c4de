/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the monitor may have of the file system: what the configuration names, its own directories,
 * some files of the kernel's, and, once somebody who may has named files to it, whatever the user
 * may open but the kernel's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "broker_internal.h"
#include "cleanup.h"
#include "file.h"
#include "log.h"

enum { REFUSED_TOLD_MAX = 20 };

/* A client that may has connected, or a VM is to come: they name paths. */
static atomic_bool called;
static const json_t *words; /* of the configuration; NULL: this is no broker */

void broker_let_name(void)
{
	atomic_store(&called, true);
}

bool broker_may_name(void)
{
	return atomic_load(&called);
}

/* Whether a string anywhere in it fits; but of the guest's command line. */
static bool any_fits(const json_t *named, bool (*fits)(const char *text, const void *arg),
		     const void *arg)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_string(named))
		return fits(json_string_value(named), arg);
	json_array_foreach(named, i, value)
	{
		if (any_fits(value, fits, arg))
			return true;
	}
	json_object_foreach((json_t *)named, key, value)
	{
		if (strcmp(key, "cmdline") && any_fits(value, fits, arg))
			return true;
	}
	return false;
}

static bool is_word(const char *text, const void *word)
{
	return !strcasecmp(text, word);
}

bool broker_knows(const char *word)
{
	return !words || broker_may_name() || any_fits(words, is_word, word);
}

void broker_learn(const json_t *named)
{
	words = named;
}

/* BENEATH: WRITE, and links lead nowhere; USERS: as far as the user may */
enum right { NONE, READ, WRITE, BENEATH, USERS };

struct broker_seen *broker_see(struct broker *b, int number)
{
	if (number < 0)
		return NULL;
	if ((unsigned)number >= b->nseen) {
		unsigned n = MAX((unsigned)number + 1, 2 * b->nseen);
		struct broker_seen *all = realloc(b->seen, n * sizeof(*all));

		if (!all)
			return NULL;
		for (unsigned i = b->nseen; i < n; i++)
			all[i] = (struct broker_seen){ .fd = -1 };
		b->seen = all;
		b->nseen = n;
	}
	broker_forget(b, number);
	return &b->seen[number];
}

void broker_forget(struct broker *b, int number)
{
	struct broker_seen *s = broker_seen(b, number);

	if (!s)
		return;
	cleanup_fd(&s->fd);
	free(s->path);
	*s = (struct broker_seen){ .fd = -1 };
}

struct broker_seen *broker_seen(const struct broker *b, int number)
{
	bool is = number >= 0 && (unsigned)number < b->nseen && b->seen[number].fd >= 0;

	return is ? &b->seen[number] : NULL;
}

/* The path itself, or one below. */
static bool is_in(const char *path, const char *root)
{
	size_t n = strlen(root);

	return n && !strncmp(path, root, n) && (!path[n] || path[n] == '/' || root[n - 1] == '/');
}

/* "disk.img.owner" and ".disk.img.new" of "disk.img", and the directory where they are. */
static bool is_beside(const char *path, const char *named)
{
	const char *name = strrchr(named, '/'), *other = strrchr(path, '/');
	size_t dir = (size_t)(name - named), n = strlen(name + 1);

	if (!strncmp(path, named, MAX(dir, 1)) && !path[MAX(dir, 1)])
		return true;
	if ((size_t)(other - path) != dir || strncmp(path, named, dir))
		return false;
	other += other[1] == '.' ? 2 : 1;
	return !strncmp(other, name + 1, n) && other[n] == '.';
}

struct wanted {
	const char *cwd, *path;
};

static bool is_of(const char *text, const void *arg)
{
	const struct wanted *w = arg;
	char full[PATH_MAX];
	size_t n;

	if (!strncmp(text, "unix:", 5))
		text += 5;
	if (!*text || snprintf(full, sizeof(full), "%s%s%s", *text == '/' ? "" : w->cwd,
			       *text == '/' ? "" : "/", text) >= (int)sizeof(full))
		return false;
	for (n = strlen(full); n > 1 && full[n - 1] == '/'; n--)
		full[n - 1] = '\0';
	return is_in(w->path, full) || is_beside(w->path, full);
}

static bool is_named(const struct broker *b, const char *path)
{
	const struct wanted w = { b->cwd, path };

	return any_fits(b->config.named, is_of, &w);
}

/* Of any process: who shares a control group with the monitor. */
static bool is_stat(const char *path)
{
	int end = 0;

	return sscanf(path, "/proc/%*u/stat%n", &end) == 0 && end && !path[end];
}

static enum right right_of_process(pid_t pid, const char *path)
{
	static const char *const files[] = { "/status",    "/stat",    "/cgroup",
					     "/mountinfo", "/maps",    "/smaps_rollup",
					     "/schedstat", "/pagemap", "/task" };
	char own[32];
	size_t n = (size_t)snprintf(own, sizeof(own), "/proc/%d", (int)pid);

	if (!is_in(path, own))
		return NONE;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (is_in(path + n, files[i]) && !strstr(path, "/mem") && !strstr(path, "/environ"))
			return READ;
	return NONE;
}

static enum right right_of_kernel(const char *path)
{
	static const struct {
		const char *path;
		enum right right;
	} all[] = {
		{ "/proc/cpuinfo", READ },  { "/proc/meminfo", READ },
		{ "/proc/stat", READ },     { "/proc/loadavg", READ },
		{ "/proc/pressure", READ }, { "/proc/sys", READ },
		{ "/proc/modules", READ },  { "/proc/mounts", READ },
		{ "/sys/devices", READ },   { "/sys/class", READ },
		{ "/sys/kernel/mm", READ }, { "/sys/module", READ },
		{ "/sys/bus", READ },       { "/sys/block", READ },
		{ "/sys/dev", READ },       { "/sys/fs/cgroup", WRITE },
		{ "/dev/kvm", WRITE },      { "/dev/vhost-net", WRITE },
		{ "/dev/net/tun", WRITE },  { "/dev/null", WRITE },
		{ "/dev/random", READ },    { "/dev/urandom", READ },
		{ "/dev/ptmx", WRITE },     { "/dev/pts", WRITE },
		{ "/dev/tty", WRITE },      { "/dev/userfaultfd", WRITE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (is_in(path, all[i].path))
			return all[i].right;
	return NONE;
}

/* The first directory that it makes there is its own, and the others' are not. */
static enum right right_of_rundir(struct broker *b, const char *path)
{
	size_t n = strlen(b->rundir), len;
	const char *name = path + n + 1;

	if (!is_in(path, b->rundir))
		return NONE;
	if (!path[n])
		return WRITE;
	len = strcspn(name, "/");
	if (!b->own[0] && len < sizeof(b->own)) {
		memcpy(b->own, name, len);
		b->own[len] = '\0';
	}
	if (strlen(b->own) == len && !strncmp(name, b->own, len))
		return BENEATH;
	return READ; /* who has a name already */
}

bool broker_is_own(struct broker *b, const char *path)
{
	return right_of_rundir(b, path) == BENEATH;
}

void broker_removed(struct broker *b, const char *path)
{
	size_t n = strlen(b->rundir);

	if (is_in(path, b->rundir) && path[n] && !strcmp(path + n + 1, b->own))
		b->own[0] = '\0';
}

static enum right right_of_kernels(const struct broker *b, const char *path)
{
	enum right right = right_of_process(b->monitor, path);

	right = right ? right : right_of_process(getpid(), path);
	right = right ? right : is_stat(path) ? READ : NONE;
	return right ? right : right_of_kernel(path);
}

static enum right right_of(struct broker *b, const char *path)
{
	enum right right = right_of_rundir(b, path);

	if (!right && is_in(path, b->statedir))
		right = path[strlen(b->statedir)] ? BENEATH : WRITE;
	if (!right && is_named(b, path))
		right = WRITE;
	/* A directory that is to be made, and is above one of these: its own part is made first. */
	if (!right && (is_in(b->statedir, path) || is_in(b->rundir, path)))
		right = WRITE;
	if (!right && broker_may_name() && !is_in(path, "/proc") && !is_in(path, "/sys"))
		right = USERS;
	return right;
}

/* Words of both, without "." and double slashes.  -EACCES: ".." in between. */
static int join(char out[PATH_MAX], const char *base, const char *path)
{
	size_t n = (size_t)snprintf(out, PATH_MAX, "%s", *path == '/' ? "" : base);

	while (n && out[n - 1] == '/')
		out[--n] = '\0';
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && !strncmp(path, "..", 2)) {
			if (path[2] || strchr(path, '/'))
				return -EACCES;
			out[n] = '\0';
			*(strrchr(out, '/') ? strrchr(out, '/') : out) = '\0';
			n = strlen(out);
		} else if (len && !(len == 1 && *path == '.')) {
			if (n + len + 2 > PATH_MAX)
				return -ENAMETOOLONG;
			out[n++] = '/';
			memcpy(out + n, path, len);
			out[n += len] = '\0';
		}
		path += len + (path[len] == '/');
	}
	if (!n)
		strcpy(out, "/");
	return 0;
}

static int open_parent(const struct broker *b, const struct broker_place *p, int base,
		       const char *path)
{
	char copy[PATH_MAX], *last;
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = p->beneath ? RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS : 0 };
	const char *root = is_in(p->path, b->rundir) ? b->rundir : b->statedir;
	CLEANUP(fd) int top = -1;
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	last = strrchr(copy, '/');
	if (last)
		last[last == copy] = '\0';
	else
		strcpy(copy, ".");
	/* An absolute path goes on from the directory that is the monitor's. */
	if (p->beneath && *copy == '/') {
		top = base = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (top < 0)
			return -errno;
		memmove(copy, copy + MIN(strlen(copy), strlen(root) + 1),
			strlen(copy) + 1 - MIN(strlen(copy), strlen(root) + 1));
		if (!*copy)
			strcpy(copy, ".");
	}
	fd = (int)syscall(SYS_openat2, base, copy, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static int refuse(struct broker *b, const char *path, bool write)
{
	if (b->nrefused++ < REFUSED_TOLD_MAX)
		log_warn("the sandbox has no %s of %s%s", write ? "writing" : "reading", path,
			 b->config.log ? "" : ": refused");
	return b->config.log ? 0 : -EACCES;
}

/* The last word is what is opened, made or removed in its parent. */
static int split(const struct broker *b, struct broker_place *p, int base, const char *path)
{
	char rest[PATH_MAX];
	size_t n = (size_t)snprintf(rest, sizeof(rest), "%s", path);
	const char *last;

	while (n > 1 && rest[n - 1] == '/')
		rest[--n] = '\0';
	last = strrchr(rest, '/') ? strrchr(rest, '/') + 1 : rest;
	if (strlen(last) >= sizeof(p->name))
		return -ENAMETOOLONG;
	strcpy(p->name, *last ? last : ".");
	p->parent = open_parent(b, p, base, rest);
	return p->parent < 0 ? p->parent : 0;
}

int broker_find(struct broker *b, int dir, const char *path, bool write, struct broker_place *p)
{
	const char *base_path = b->cwd, *rest;
	int base = AT_FDCWD, number = -1, r;
	char own[PATH_MAX];
	enum right right;

	*p = (struct broker_place){ .parent = -1 };
	rest = file_below(path, &number);
	if (rest) {
		path = rest;
		dir = number;
	} else if (!strncmp(path, "/proc/self/", 11)) {
		/* Of mounts it has none: where they are it learns of this process. */
		snprintf(own, sizeof(own), "/proc/%d/%s",
			 (int)(strcmp(path + 11, "mountinfo") ? b->monitor : getpid()), path + 11);
		path = own;
	}
	if (dir != AT_FDCWD && *path != '/') {
		const struct broker_seen *s = broker_seen(b, dir);
		const bool is_seen = s && s->path;

		/* What it was given when it began is the broker's, too. */
		if (!is_seen && !(rest && !*rest && dir <= STDERR_FILENO))
			return -EBADF;
		base = is_seen ? s->fd : dir;
		base_path = is_seen ? s->path : "/dev/null";
	}
	r = join(p->path, base_path, path);
	if (r)
		return r;
	right = right_of_kernels(b, p->path);
	p->is_kernels = right;
	right = right ? right : right_of(b, p->path);
	if (right < (write ? WRITE : READ) && (r = refuse(b, p->path, write)))
		return r;
	p->beneath = right == BENEATH && !b->config.log;
	if (right == USERS)
		broker_be_user(b);
	if (*path)
		return split(b, p, base, path);
	p->parent = fcntl(base, F_DUPFD_CLOEXEC, 0);
	return p->parent < 0 ? -errno : 0;
}

void broker_place_free(struct broker_place *p)
{
	cleanup_fd(&p->parent);
}

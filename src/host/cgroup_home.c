/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_home.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cgroup.h"
#include "cleanup.h"
#include "log.h"

enum { CPU_PERIOD_US = 100000, LEAVE_TRIES = 6000, LEAVE_WAIT_MS = 20 };

static int find_folders(struct cgroup_home *h, const char *root, const struct cgroup_limits *l,
			const char *name, struct err *e)
{
	char own[PATH_MAX];
	bool is_auto = !strcmp(l->path, "auto"), found;

	/* That of all has a slash for a name. */
	if (!cgroup_path(root, 0, NULL, own) ||
	    !cgroup_folder(root, NULL, own[1] ? own : "", h->before))
		return err_set(e, -ENOENT,
			       "--cgroup needs control groups of version 2, which are not mounted "
			       "here");
	if (is_auto)
		found = snprintf(h->folder, sizeof(h->folder), "%s/godwit-%s", h->before, name) <
			(int)sizeof(h->folder);
	else
		found = cgroup_folder(root, NULL, l->path, h->folder);
	return found ? 0
		     : err_set(e, -EINVAL,
			       "the control group %.200s is outside of what is mounted here",
			       l->path);
}

/* Its parent hands a controller on only if it is told to. */
static void want_controller(const struct cgroup_home *h, const char *file)
{
	char parent[PATH_MAX], text[32];

	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(h->folder, '/') - h->folder),
		 h->folder);
	snprintf(text, sizeof(text), "+%.*s", (int)strcspn(file, "."), file);
	cgroup_write(parent, "cgroup.subtree_control", text);
}

static int set(const struct cgroup_home *h, const char *file, const char *text, struct err *e)
{
	char path[PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", h->folder, file) < (int)sizeof(path) &&
	    access(path, F_OK))
		want_controller(h, file);
	r = cgroup_write(h->folder, file, text);
	if (r == -ENOENT)
		return err_set(e, r,
			       "%s has no %s: the controller %.*s is not handed on to it, which "
			       "needs a group above that has no processes of its own",
			       h->folder, file, (int)strcspn(file, "."), file);
	return r ? err_set(e, r, "%s/%s cannot be set to %s: %s", h->folder, file, text,
			   strerror(-r))
		 : 0;
}

static void keep_first(int *first, int r, struct err *e, const struct err *each)
{
	if (!r || *first)
		return;
	*first = r;
	*e = *each;
}

/* All of them, though one cannot be set; what is said is the first failure. */
static int set_limits(const struct cgroup_home *h, const struct cgroup_limits *l, struct err *e)
{
	const struct {
		const char *file;
		uint64_t value; /* 0: as it is */
	} numbers[] = { { "memory.max", l->memory_max },
			{ "memory.high", l->memory_high },
			{ "cpu.weight", l->cpu_weight },
			{ "pids.max", l->pids_max } };
	struct err each;
	char text[48];
	int first = 0, r;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		snprintf(text, sizeof(text), "%" PRIu64, numbers[i].value);
		r = numbers[i].value ? set(h, numbers[i].file, text, &each) : 0;
		keep_first(&first, r, e, &each);
	}
	snprintf(text, sizeof(text), "%" PRIu64 " %d", (uint64_t)l->cpu_max * CPU_PERIOD_US / 1000,
		 CPU_PERIOD_US);
	r = l->cpu_max ? set(h, "cpu.max", text, &each) : 0;
	keep_first(&first, r, e, &each);
	r = l->io_max ? set(h, "io.max", l->io_max, &each) : 0;
	keep_first(&first, r, e, &each);
	return first;
}

static int join(struct cgroup_home *h, const char *root, const struct cgroup_limits *l,
		const char *name, struct err *e)
{
	int r = find_folders(h, root, l, name, e);

	if (r)
		return r;
	h->made = !mkdir(h->folder, 0755);
	if (!h->made && errno != EEXIST)
		return err_set(e, -errno, "the control group %s cannot be made: %s", h->folder,
			       strerror(errno));
	r = cgroup_write(h->folder, "cgroup.procs", "0");
	if (r)
		return err_set(e, r, "the control group %s cannot be joined: %s", h->folder,
			       strerror(-r));
	h->joined = true;
	h->made = h->made || !strcmp(l->path, "auto"); /* a VM that was killed left it */
	return set_limits(h, l, e);
}

int cgroup_join(struct cgroup_home *h, const char *root, const struct cgroup_limits *l,
		const char *name, struct err *e)
{
	int r;

	*h = (struct cgroup_home){ .joined = false };
	if (!l->path)
		return 0;
	r = join(h, root, l, name, e);
	if (!r)
		return 0;
	if (l->strict) {
		cgroup_leave(h);
		return r;
	}
	log_warn("%s; the VM runs without", e->text);
	return 0;
}

/* False: somebody is in it who cannot be moved. */
static bool empty(const struct cgroup_home *h)
{
	CLEANUP(file) FILE *f = cgroup_open(h->folder, "cgroup.procs");
	char text[16];
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1) {
		snprintf(text, sizeof(text), "%d", pid);
		if (cgroup_write(h->before, "cgroup.procs", text) == -EBUSY)
			return false;
	}
	return f;
}

/* Also by those who are about to end, whom cgroup.procs has no more. */
static bool is_populated(const struct cgroup_home *h)
{
	CLEANUP(file) FILE *f = cgroup_open(h->folder, "cgroup.events");
	char key[32];
	int value;

	while (f && fscanf(f, "%31s %d", key, &value) == 2)
		if (!strcmp(key, "populated"))
			return value;
	return false;
}

void cgroup_leave(const struct cgroup_home *h)
{
	bool busy;

	if (!h->made)
		return;
	/* Who was killed ends within the limits that it had, which takes its time. */
	for (unsigned tries = 0; tries < LEAVE_TRIES && empty(h); tries++) {
		busy = is_populated(h);
		if (!rmdir(h->folder) || errno != EBUSY || !busy)
			return;
		poll(NULL, 0, LEAVE_WAIT_MS);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; cgroups(7), proc(5). */
#include "cpu_quota.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"

enum { LINE_BYTES = 1024, TEXT_BYTES = 64, NS_PER_US = 1000 };

static FILE *open_text(const char *dir, const char *name)
{
	char path[LINE_BYTES];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "re");
}

static bool read_text(const char *dir, const char *name, char text[TEXT_BYTES])
{
	CLEANUP(file) FILE *f = open_text(dir, name);

	return f && fgets(text, TEXT_BYTES, f);
}

static bool write_text(const char *dir, const char *name, const char *text)
{
	ssize_t len = (ssize_t)strlen(text);
	CLEANUP(fd) int fd = -1;
	char path[LINE_BYTES];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, (size_t)len) == len;
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
static bool find_path(const char *proc, bool v1, char path[LINE_BYTES])
{
	CLEANUP(file) FILE *f = open_text(proc, "cgroup");
	char line[LINE_BYTES], *controllers, *at;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		controllers = strchr(line, ':');
		at = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!at)
			continue;
		*at++ = '\0';
		if (v1 ? has_word(controllers + 1, "cpu") : !controllers[1]) {
			snprintf(path, LINE_BYTES, "%s", at);
			return true;
		}
	}
	return false;
}

/* Where that hierarchy is mounted, and from which of its paths on. */
static bool find_mount(const char *proc, bool v1, char root[LINE_BYTES], char at[LINE_BYTES])
{
	CLEANUP(file) FILE *f = open_text(proc, "mountinfo");
	char line[LINE_BYTES], kind[LINE_BYTES], options[LINE_BYTES];

	while (f && fgets(line, sizeof(line), f)) {
		const char *rest = strstr(line, " - ");

		if (rest && sscanf(line, "%*s %*s %*s %1023s %1023s", root, at) == 2 &&
		    sscanf(rest, " - %1023s %*s %1023s", kind, options) == 2 &&
		    !strcmp(kind, v1 ? "cgroup" : "cgroup2") && (!v1 || has_word(options, "cpu")))
			return true;
	}
	return false;
}

static bool find_dir(struct cpu_quota *q, bool v1)
{
	const char *proc = q->proc ? q->proc : "/proc/self";
	char path[LINE_BYTES], root[LINE_BYTES], at[LINE_BYTES];
	size_t len;

	if (!find_path(proc, v1, path) || !find_mount(proc, v1, root, at))
		return false;
	len = strcmp(root, "/") ? strlen(root) : 0;
	if (strncmp(path, root, len) || (path[len] && path[len] != '/'))
		return false;
	q->v1 = v1;
	return (size_t)snprintf(q->dir, sizeof(q->dir), "%s%s", at, path + len) < sizeof(q->dir);
}

static bool is_alone(const char *dir)
{
	CLEANUP(file) FILE *f = open_text(dir, "cgroup.procs");
	int pid, others = 0, self = 0;

	while (f && fscanf(f, "%d", &pid) == 1)
		pid == getpid() ? self++ : others++;
	return self && !others;
}

static bool read_quota(struct cpu_quota *q)
{
	char quota[TEXT_BYTES], period[TEXT_BYTES];

	q->was_us = -1;
	if (q->v1)
		return read_text(q->dir, "cpu.cfs_quota_us", quota) &&
		       read_text(q->dir, "cpu.cfs_period_us", period) &&
		       sscanf(quota, "%" SCNd64, &q->was_us) == 1 &&
		       sscanf(period, "%" SCNd64, &q->period_us) == 1;
	/* "max 100000" or "50000 100000" */
	return read_text(q->dir, "cpu.max", quota) &&
	       (sscanf(quota, "max %" SCNd64, &q->period_us) == 1 ||
		sscanf(quota, "%" SCNd64 " %" SCNd64, &q->was_us, &q->period_us) == 2);
}

static bool write_quota(const struct cpu_quota *q, int64_t us)
{
	char text[TEXT_BYTES];

	if (q->v1)
		snprintf(text, sizeof(text), "%" PRId64, us);
	else if (us < 0)
		snprintf(text, sizeof(text), "max %" PRId64, q->period_us);
	else
		snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, us, q->period_us);
	return write_text(q->dir, q->v1 ? "cpu.cfs_quota_us" : "cpu.max", text);
}

/* throttled_time is in nanoseconds, throttled_usec is not. */
static uint64_t read_throttled_ns(const struct cpu_quota *q)
{
	CLEANUP(file) FILE *f = open_text(q->dir, "cpu.stat");
	char line[LINE_BYTES];
	uint64_t n;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "throttled_time %" SCNu64, &n) == 1)
			return n;
		if (sscanf(line, "throttled_usec %" SCNu64, &n) == 1)
			return n * NS_PER_US;
	}
	return 0;
}

static bool hold(struct cpu_quota *q)
{
	for (unsigned v1 = 0; v1 < 2 && !q->held; v1++)
		q->held = find_dir(q, v1) && is_alone(q->dir) && read_quota(q);
	if (q->held)
		q->throttled_before_ns = read_throttled_ns(q);
	return q->held;
}

static void let_go(struct cpu_quota *q)
{
	if (!q->held)
		return;
	q->throttled_ns = cpu_quota_throttled_ns(q);
	write_quota(q, q->was_us);
	q->held = false;
}

int cpu_quota_set(struct cpu_quota *q, uint32_t thousandths)
{
	int64_t us;

	if (thousandths && (q->held || hold(q))) {
		us = q->period_us * thousandths / 1000;
		if (write_quota(q, q->was_us < 0 ? us : MIN(us, q->was_us)))
			return 0;
	}
	let_go(q);
	return thousandths ? -ENOENT : 0;
}

uint64_t cpu_quota_throttled_ns(const struct cpu_quota *q)
{
	uint64_t now_ns = q->held ? read_throttled_ns(q) : 0;

	return q->throttled_ns +
	       (now_ns > q->throttled_before_ns && q->held ? now_ns - q->throttled_before_ns : 0);
}

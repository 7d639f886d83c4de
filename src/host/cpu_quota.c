/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu_quota.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bits.h"
#include "cgroup.h"
#include "cleanup.h"

enum { LINE_BYTES = 1024, NS_PER_US = 1000 };

static bool read_quota(struct cpu_quota *q)
{
	char quota[CGROUP_TEXT_BYTES], period[CGROUP_TEXT_BYTES];

	q->was_us = -1;
	if (q->v1)
		return cgroup_read(q->dir, "cpu.cfs_quota_us", quota) &&
		       cgroup_read(q->dir, "cpu.cfs_period_us", period) &&
		       sscanf(quota, "%" SCNd64, &q->was_us) == 1 &&
		       sscanf(period, "%" SCNd64, &q->period_us) == 1;
	/* "max 100000" or "50000 100000" */
	return cgroup_read(q->dir, "cpu.max", quota) &&
	       (sscanf(quota, "max %" SCNd64, &q->period_us) == 1 ||
		sscanf(quota, "%" SCNd64 " %" SCNd64, &q->was_us, &q->period_us) == 2);
}

static bool write_quota(const struct cpu_quota *q, int64_t us)
{
	char text[CGROUP_TEXT_BYTES];

	if (q->v1)
		snprintf(text, sizeof(text), "%" PRId64, us);
	else if (us < 0)
		snprintf(text, sizeof(text), "max %" PRId64, q->period_us);
	else
		snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, us, q->period_us);
	return !cgroup_write(q->dir, q->v1 ? "cpu.cfs_quota_us" : "cpu.max", text);
}

/* throttled_time is in nanoseconds, throttled_usec is not. */
static uint64_t read_throttled_ns(const struct cpu_quota *q)
{
	CLEANUP(file) FILE *f = cgroup_open(q->dir, "cpu.stat");
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
	const char *root = q->root ? q->root : "";

	for (unsigned v1 = 0; v1 < 2 && !q->held; v1++) {
		q->v1 = v1;
		q->held = cgroup_of_own(root, 0, v1 ? "cpu" : NULL, q->dir) && read_quota(q);
	}
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

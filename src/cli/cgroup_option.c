/* SPDX-License-Identifier: Apache-2.0 */
/* --cgroup, in the words of the kernel's files. */
#include <errno.h>
#include <string.h>

#include "cli.h"

static const struct option keys[] = {
	OPTION(struct cgroup_limits, path, .required = true,
	       .help = "as /proc/PID/cgroup has it, such as /vms/web; auto: one below this "
		       "process's own"),
	OPTION_SIZED(struct cgroup_limits, memory_max, .help = "of guest and monitor together"),
	OPTION_SIZED(struct cgroup_limits, memory_high, .help = "above that the kernel takes some"),
	OPTION_FRACTIONAL(struct cgroup_limits, cpu_max, .help = "cores, such as 1.5", .min = 10,
			  .max = 1000000),
	OPTION(struct cgroup_limits, cpu_weight, .help = "against other groups; 100 is usual",
	       .min = 1, .max = 10000),
	OPTION(struct cgroup_limits, io_max, .help = "as io.max has it: 8:0 wbps=1048576"),
	OPTION(struct cgroup_limits, pids_max, .help = "processes and threads", .min = 1),
	OPTION(struct cgroup_limits, strict, .help = "or there is no VM", .fallback = "off"),
};
const struct option_table cgroup_options = OPTION_TABLE(keys, .first = "path");

int cgroup_take(struct run_options *o, const char *name, const char *text, struct err *e)
{
	int r;

	if (o->cgroup_json)
		return err_set(e, -EINVAL, "%s is given twice", name);
	r = option_parse(&cgroup_options, name, text, &o->cgroup_json, e);
	r = r ? r : option_load(&cgroup_options, name, o->cgroup_json, &o->cgroup, e);
	if (!r && *o->cgroup.path != '/' && strcmp(o->cgroup.path, "auto"))
		r = err_set(
			e, -EINVAL,
			"%s: \"%.64s\" is no path of a control group, such as /vms/web, nor auto",
			name, o->cgroup.path);
	return r;
}

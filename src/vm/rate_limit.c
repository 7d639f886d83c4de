/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "rate_limit.h"
#include "vm.h"

static const struct option bandwidth_options[] = {
	OPTION_SIZED(struct limiter_bucket_config, size, .required = true),
	OPTION_SIZED(struct limiter_bucket_config, one_time_burst),
	OPTION(struct limiter_bucket_config, refill_time, .fallback = "1000",
	       .max = LIMITER_REFILL_MS_MAX),
};
static const struct option_table bandwidth_option_table = OPTION_TABLE(bandwidth_options);

static const struct option ops_options[] = {
	OPTION(struct limiter_bucket_config, size, .required = true),
	OPTION(struct limiter_bucket_config, one_time_burst),
	OPTION(struct limiter_bucket_config, refill_time, .fallback = "1000",
	       .max = LIMITER_REFILL_MS_MAX),
};
static const struct option_table ops_option_table = OPTION_TABLE(ops_options);

static const struct option limiter_options[] = {
	OPTION_NESTED(struct limiter_config, bandwidth, &bandwidth_option_table),
	OPTION_NESTED(struct limiter_config, ops, &ops_option_table),
};
const struct option_table rate_limit_config_options = OPTION_TABLE(limiter_options);

struct limited {
	struct rate_limit limit;
};

static const struct option limit_options[] = { RATE_LIMIT_OPTIONS(struct limited, limit) };
const struct option_table rate_limit_options = OPTION_TABLE(limit_options);

int rate_limit_check(const char *what, bool has_own, const char *group, bool found, struct err *e)
{
	if (!group)
		return 0;
	if (has_own)
		return err_set(e, -EINVAL,
			       "%s: it has limits of its own and those of group \"%.64s\"; leave "
			       "one of them out",
			       what, group);
	if (!found)
		return err_set(e, -EINVAL,
			       "%s: there is no rate limit group \"%.64s\"; make it with "
			       "--rate-limit-group id=%.64s,bw=SIZE",
			       what, group, group);
	return 0;
}

/* A group: a name and limits for others */

struct limit_group {
	struct device dev;
	const char *id;
	struct rate_limit limit;
};

static const struct option group_options[] = {
	OPTION(struct limit_group, id, .help = "name of the group", .required = true),
	RATE_LIMIT_OPTIONS(struct limit_group, limit),
};
static const struct option_table group_option_table = OPTION_TABLE(group_options, .first = "id");

static int group_attach(struct device *dev, struct err *e)
{
	struct limit_group *group = container_of(dev, struct limit_group, dev);

	return rate_limit_attach(&group->limit, dev, 1, NULL, e);
}

static void group_reset(struct device *dev)
{
	(void)dev;
}

extern const struct device_class limit_group_class;
const struct device_class limit_group_class = {
	.kind = "rate-limit-group",
	.size = sizeof(struct limit_group),
	.options = &group_option_table,
	.attach = group_attach,
	.reset = group_reset,
};

static struct rate_limit *find_group(struct vm *vm, const char *id)
{
	struct device *dev = id ? vm_device(vm, id) : NULL;

	return dev && dev->class == &limit_group_class ? dev->limit : NULL;
}

/* A device's */

static void leave(void *arg)
{
	list_remove(&((struct rate_limit *)arg)->node);
}

int rate_limit_attach(struct rate_limit *l, struct device *dev, unsigned directions,
		      void (*changed)(struct device *), struct err *e)
{
	struct rate_limit *group = find_group(dev->vm, l->group);
	bool has_own = l->config.bandwidth.size || l->config.ops.size;
	int r = rate_limit_check(dev->id, has_own, l->group, group, e);

	list_init(&l->members);
	list_init(&l->node);
	if (!r)
		r = device_claim(dev, leave, l, e);
	if (r)
		return r;
	l->dev = dev;
	l->ndirections = directions;
	l->changed = changed;
	l->source = group ? group : l;
	for (unsigned i = 0; i < directions; i++)
		limiter_set(&l->limiter[i], &l->config, 0);
	if (changed)
		list_append(&l->source->members, &l->node);
	dev->limit = l;
	return 0;
}

int rate_limit_change(struct vm *vm, const char *id, const struct limiter_config *config,
		      struct err *e)
{
	struct device *dev = vm_device(vm, id);
	struct rate_limit *l = dev ? dev->limit : NULL, *member;

	if (!l)
		return err_set(e, -ENOENT, "%s: no disk, network card or group of this name", id);
	if (l->source != l)
		return err_set(e, -EINVAL, "%s: it has the limits of group %s; change those", id,
			       l->group);
	l->config = *config;
	for (unsigned i = 0; i < l->ndirections; i++)
		limiter_set(&l->limiter[i], config, loop_now_ns());
	list_for_each (member, &l->members, node)
		member->changed(member->dev);
	return 0;
}

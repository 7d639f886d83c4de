/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits of one device, its own or those of a group, and groups, which are devices without
 * anything but limits.  What a user sets are options of the device (RATE_LIMIT_OPTIONS); attach
 * calls rate_limit_attach(); the device's queues then charge rate_limit_limiter() on their threads.
 * Everything else here happens on main, under the machine lock.
 */
#ifndef RATE_LIMIT_H
#define RATE_LIMIT_H

#include "device.h"
#include "limiter.h"

enum { RATE_LIMIT_DIRECTIONS_MAX = 2 };

struct rate_limit {
	struct limiter_config config; /* options */
	const char *group; /* option; NULL: the limits are its own */
	struct device *dev;
	struct limiter limiter[RATE_LIMIT_DIRECTIONS_MAX]; /* the first ndirections */
	unsigned ndirections;
	struct rate_limit *source; /* the group's, or this; constant */
	struct list members; /* whose source this is; apart from a group itself */
	struct list node; /* in members of source */
	void (*changed)(struct device *);
};

extern const struct option_table rate_limit_config_options; /* of a struct limiter_config */
extern const struct option_table rate_limit_options; /* RATE_LIMIT_OPTIONS alone, to be parsed */

/* Rows for the struct rate_limit that is member m of T, and the short keys for people. */
#define RATE_LIMIT_OPTIONS(T, m)                                                                   \
	{ .key = "rate_limiter_config",                                                            \
	  .kind = OPTION_OBJECT,                                                                   \
	  .offset = offsetof(T, m.config),                                                         \
	  .nested = &rate_limit_config_options },                                                  \
		OPTION_SHORT("bw", "rate_limiter_config.bandwidth.size",                           \
			     .help = "bytes per second, at most"),                                 \
		OPTION_SHORT("bw_burst", "rate_limiter_config.bandwidth.one_time_burst",           \
			     .help = "and so many more once, at the start"),                       \
		OPTION_SHORT("ops", "rate_limiter_config.ops.size",                                \
			     .help = "operations per second, at most"),                            \
		OPTION_SHORT("ops_burst", "rate_limiter_config.ops.one_time_burst",                \
			     .help = "and so many more once, at the start")
#define RATE_LIMIT_GROUP_OPTION(T, m)                                                              \
	{                                                                                          \
		.key = "rate_limit_group", .kind = OPTION_STRING, .offset = offsetof(T, m.group),  \
		.help = "id of a --rate-limit-group; instead of limits of its own"                 \
	}

/* -EINVAL: a group besides limits of its own, or one that is not found. */
int rate_limit_check(const char *what, bool has_own, const char *group, bool found, struct err *);

/*
 * directions: how many flows of the device have the limits each for itself; with a group's all
 * of them share.  changed(dev) follows each change: what waits must look again.
 */
int rate_limit_attach(struct rate_limit *, struct device *, unsigned directions,
		      void (*changed)(struct device *), struct err *);

/* Any thread. */
static inline struct limiter *rate_limit_limiter(struct rate_limit *l, unsigned direction)
{
	return &l->source->limiter[direction % l->source->ndirections];
}

/* New limits for the device or the group of this id, also while it runs.  -ENOENT: there is none,
 * or nothing of it can be limited.  -EINVAL: its limits are a group's. */
int rate_limit_change(struct vm *, const char *id, const struct limiter_config *, struct err *);

#endif

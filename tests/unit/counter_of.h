/* SPDX-License-Identifier: Apache-2.0 */
/* One counter of one device, as the API names them. */
#ifndef COUNTER_OF_H
#define COUNTER_OF_H

#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "counters.h"

struct counter_search {
	const char *name;
	unsigned found;
	uint64_t value;
};

static inline void counter_matches(void *arg, const char *name, uint64_t value)
{
	struct counter_search *s = arg;

	if (strcmp(s->name, name))
		return;
	s->found++;
	s->value = value;
}

/* False: there is none. */
static inline bool counter_find(struct vm *vm, const char *id, const char *name, uint64_t *value)
{
	struct counter_search s = { .name = name };
	struct counter_readings all;

	ck_assert_int_eq(counters_read(vm, &all), 0);
	for (size_t i = 0; i < all.n; i++)
		if (!strcmp(all.reading[i].id, id))
			counters_visit(&all.reading[i], counter_matches, &s);
	counters_free(&all);
	ck_assert_msg(s.found <= 1, "%s counts %s more than once", id, name);
	*value = s.value;
	return s.found;
}

static inline uint64_t counter_of(struct vm *vm, const char *id, const char *name)
{
	uint64_t value;

	ck_assert_msg(counter_find(vm, id, name, &value), "%s counts no %s", id, name);
	return value;
}

#endif

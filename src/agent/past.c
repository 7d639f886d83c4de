/* SPDX-License-Identifier: Apache-2.0 */
#include "past.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "planner/fields.h"
#include "record.h"

enum { VMS_MAX = 4096 };

static const char file[] = "moves.json";

int past_new(struct agent *a, struct err *e)
{
	int r = record_read(a->store, file, &a->past);

	if (r == -ENOENT || (!r && !json_is_object(a->past))) {
		json_decref(a->past);
		a->past = json_object();
		r = a->past ? 0 : -ENOMEM;
	}
	return r ? err_set(e, r, "the agent's %s is damaged; remove it to begin anew", file) : 0;
}

void past_free(struct agent *a)
{
	json_decref(a->past);
	a->past = NULL;
}

const json_t *past_of(const struct agent *a, const char *vm)
{
	return json_object_get(a->past, vm);
}

/* The planner's own table has the ranges. */
int past_check(const json_t *moves, struct err *e)
{
	struct past_move read;
	const json_t *move;
	size_t i;

	if (!json_is_array(moves) || json_array_size(moves) > PAST_MOVES_MAX)
		return err_set(e, -EINVAL, "moves are at most %d in an array", PAST_MOVES_MAX);
	json_array_foreach(moves, i, move)
	{
		struct names names = { 0 };
		int r = fields_read(&past_fields, &names, move, &read, e);

		names_free(&names);
		if (r)
			return r;
	}
	return 0;
}

static void keep(struct agent *a)
{
	int r = record_write(a->store, file, 0600, a->past);

	if (r)
		log_error("the agent's %s cannot be written: %s", file, strerror(-r));
}

void past_set(struct agent *a, const char *vm, const json_t *moves)
{
	json_t *copy = json_is_array(moves) ? json_deep_copy(moves) : NULL;

	while (json_array_size(copy) > PAST_MOVES_MAX)
		json_array_remove(copy, json_array_size(copy) - 1);
	if (!copy)
		json_object_del(a->past, vm);
	else if (json_object_size(a->past) < VMS_MAX)
		json_object_set(a->past, vm, copy);
	json_decref(copy);
	keep(a);
}

void past_add(struct agent *a, const char *vm, const json_t *move)
{
	const json_t *old = past_of(a, vm);
	json_auto_t *moves = old ? json_deep_copy(old) : json_array();

	json_array_insert_new(moves, 0, json_deep_copy(move));
	past_set(a, vm, moves);
}

void past_gain(struct agent *a, const char *vm, double gain)
{
	/* A copy: the old one may be on its way to another agent, which nothing locks. */
	json_auto_t *moves = json_deep_copy(past_of(a, vm));
	json_t *last = json_array_get(moves, 0);
	struct err e;

	if (last && !json_object_set_new(last, "gain", json_real(gain)) && !past_check(moves, &e))
		past_set(a, vm, moves);
}

void past_forget(struct agent *a, const char *vm)
{
	past_set(a, vm, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "past.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "planner/model.h"
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

void past_add(struct agent *a, const char *vm, json_t *move)
{
	const json_t *old = past_of(a, vm);
	json_t *moves = old ? json_deep_copy(old) : json_array();

	json_array_insert_new(moves, 0, move);
	past_set(a, vm, moves);
	json_decref(moves);
}

void past_gain(struct agent *a, const char *vm, double gain)
{
	json_t *last = json_array_get(past_of(a, vm), 0);

	if (last && !json_object_set_new(last, "gain", json_real(gain)))
		keep(a);
}

void past_forget(struct agent *a, const char *vm)
{
	past_set(a, vm, NULL);
}

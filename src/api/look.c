/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What main answers without waiting for anybody, in its loop.  Before it does what may take long it
 * leaves behind what it would answer: until it is back nothing of that changes.
 */
#include <errno.h>
#include <stdlib.h>

#include "api_internal.h"

static struct call *next_look(struct api *a)
{
	struct call *c = NULL;

	pthread_mutex_lock(&a->lock);
	if (!list_empty(&a->looks)) {
		c = list_item(a->looks.next, struct call, look);
		list_remove(&c->look);
	}
	pthread_mutex_unlock(&a->lock);
	return c;
}

void look_on_main(void *arg)
{
	struct api *a = arg;
	struct call *c;

	while ((c = next_look(a))) {
		c->route->look(a->c.vmm, &c->vmm);
		call_is_done(&c->vmm);
	}
}

static void answer_as(struct call *c, const struct call *left)
{
	c->vmm.fault = left->vmm.fault;
	c->vmm.e = left->vmm.e;
	c->vmm.out = json_deep_copy(left->vmm.out); /* no JSON has two threads */
	if ((left->vmm.out && !c->vmm.out) || counters_copy(&left->counters, &c->counters)) {
		c->vmm.fault = VMM_FAILED;
		err_set(&c->vmm.e, -ENOMEM, "out of memory");
	}
}

static const struct call *find_answer(const struct api *a, const struct route *route)
{
	const struct call *c;

	list_for_each (c, &a->answers, look)
		if (c->route == route)
			return c;
	return NULL;
}

bool look_here(struct call *c)
{
	struct api *a = c->api;
	const struct call *left;

	pthread_mutex_lock(&a->lock);
	left = a->away ? find_answer(a, c->route) : NULL;
	if (left)
		answer_as(c, left);
	else
		list_append(&a->looks, &c->look);
	pthread_mutex_unlock(&a->lock);
	if (!left)
		loop_post(a->c.main_loop, &a->look);
	return left;
}

static void leave_answer(struct api *a, const struct route *route)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return;
	c->route = route;
	c->vmm.arg = c;
	route->look(a->c.vmm, &c->vmm);
	list_append(&a->answers, &c->look);
}

static void leave(struct api *a)
{
	for (size_t i = 0; i < nroutes; i++)
		if (routes[i].look && routes[i].method == HTTP_GET)
			leave_answer(a, &routes[i]);
	pthread_mutex_lock(&a->lock);
	a->away = true;
	pthread_mutex_unlock(&a->lock);
	look_on_main(a); /* whoever came before */
}

static void come_back(struct api *a)
{
	pthread_mutex_lock(&a->lock);
	a->away = false;
	pthread_mutex_unlock(&a->lock);
	while (!list_empty(&a->answers)) {
		struct call *c = list_item(a->answers.next, struct call, look);

		list_remove(&c->look);
		call_discard(c);
	}
}

void api_away(struct api *a, bool away)
{
	if (a && away)
		leave(a);
	else if (a)
		come_back(a);
}

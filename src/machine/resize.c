/* SPDX-License-Identifier: Apache-2.0 */
#include "resize.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct change {
	struct device *dev;
	uint64_t bytes;
	void (*done)(void *arg, int result, const char *why);
	void *arg;
	struct list node;
};

void resize_init(struct resize *r, struct vm *vm, struct work *step,
		 void (*stopped)(struct device *, void *arg), void *arg)
{
	*r = (struct resize){ .vm = vm, .step = step, .stopped = stopped, .arg = arg };
	list_init(&r->changes);
}

static bool is_changing(const struct resize *r, const struct device *dev)
{
	const struct change *c;

	list_for_each (c, &r->changes, node)
		if (c->dev == dev)
			return true;
	return false;
}

int resize_device(struct resize *r, const char *id, uint64_t bytes,
		  void (*done)(void *arg, int result, const char *why), void *arg, struct err *e)
{
	struct device *dev = vm_device(r->vm, id);
	struct change *c;

	if (!dev)
		return err_set(e, -ENOENT, "%s: there is no device of this name", id);
	if (is_changing(r, dev))
		return err_set(e, -EBUSY, "%s: it is being resized already", id);
	assert(dev->class->resize);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "%s: out of memory", id);
	*c = (struct change){ .dev = dev, .bytes = bytes, .done = done, .arg = arg };
	list_append(&r->changes, &c->node);
	loop_post(r->vm->loop, r->step);
	return 0;
}

static void change_end(struct change *c, int result, const char *why)
{
	list_remove(&c->node);
	c->done(c->arg, result, why);
	free(c);
}

static void change_settle(struct resize *r, struct change *c, bool running)
{
	struct device *dev = c->dev;
	struct err e;
	int result;

	if (dev->phase == DEVICE_RUNNING)
		device_stop(dev, r->stopped, r->arg);
	if (dev->phase != DEVICE_STOPPED)
		return;
	result = device_resize(dev, c->bytes, &e);
	if (running)
		device_start(dev);
	change_end(c, result, result ? e.text : NULL);
}

void resize_settle(struct resize *r, bool running)
{
	struct list *at, *next;

	for (at = r->changes.next; at != &r->changes; at = next) {
		next = at->next;
		change_settle(r, list_item(at, struct change, node), running);
	}
}

void resize_cancel(struct resize *r)
{
	while (!list_empty(&r->changes))
		change_end(list_item(r->changes.next, struct change, node), -ECANCELED,
			   "the VM ended");
}

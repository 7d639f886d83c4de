/* SPDX-License-Identifier: Apache-2.0 */
#include "resize.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

struct change {
	struct resize *resize;
	struct device *dev;
	uint64_t bytes;
	void (*done)(void *arg, int result, const char *why); /* NULL: nobody waits any more */
	void *arg;
	struct list node;
	/* The thread's, and main's again once that has ended. */
	pthread_t thread;
	int result;
	struct err e;
	struct work worked;
	bool has_worked;
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

/* On main: the thread has nothing more to do. */
static void change_worked(void *arg)
{
	struct change *c = arg;
	struct resize *r = c->resize;

	pthread_join(c->thread, NULL);
	r->at_work = NULL;
	c->has_worked = true;
	loop_post(r->vm->loop, r->step);
}

static void *change_work(void *arg)
{
	struct change *c = arg;

	c->result = device_resize(c->dev, c->bytes, &c->e);
	loop_post(c->resize->vm->loop, &c->worked);
	return NULL;
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
	*c = (struct change){ .resize = r,
			      .dev = dev,
			      .bytes = bytes,
			      .done = done,
			      .arg = arg,
			      .worked = { .run = change_worked, .arg = c } };
	list_append(&r->changes, &c->node);
	loop_post(r->vm->loop, r->step);
	return 0;
}

static void change_end(struct change *c, int result, const char *why)
{
	list_remove(&c->node);
	if (c->done)
		c->done(c->arg, result, why);
	free(c);
}

/* One at a time: a disk that does not answer keeps one thread, not many. */
static void change_begin(struct resize *r, struct change *c)
{
	int code = thread_new(&c->thread, "_resize", SANDBOX_MAIN, 0, change_work, c);

	if (!code) {
		r->at_work = c->dev;
		return;
	}
	c->result = err_set(&c->e, code, "%s: no thread to resize it: %s", c->dev->id,
			    strerror(-code));
	c->has_worked = true;
}

static void change_settle(struct resize *r, struct change *c, bool running)
{
	struct device *dev = c->dev;

	if (r->at_work)
		return;
	if (dev->phase == DEVICE_RUNNING)
		device_stop(dev, r->stopped, r->arg);
	if (dev->phase != DEVICE_STOPPED)
		return;
	if (!c->has_worked)
		change_begin(r, c);
	if (!c->has_worked)
		return;
	if (!c->result)
		device_resized(dev);
	if (running)
		device_start(dev);
	change_end(c, c->result, c->result ? c->e.text : NULL);
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
	struct list *at, *next;

	for (at = r->changes.next; at != &r->changes; at = next) {
		struct change *c = list_item(at, struct change, node);

		next = at->next;
		if (c->dev != r->at_work) {
			change_end(c, -ECANCELED, "the VM ended");
		} else if (c->done) {
			c->done(c->arg, -ECANCELED, "the VM ended");
			c->done = NULL;
		}
	}
}

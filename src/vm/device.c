/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "device.h"
#include "events.h"
#include "log.h"
#include "vm.h"

enum { NOTES_PER_SECOND = 3 };

/* Are there fields that an older version lacks? */
static bool has_grown(const struct state_desc *d)
{
	for (const struct state_field *f = d->field; f < d->field + d->nfields; f++)
		if (f->since > 1 || (f->kind == STATE_STRUCT && has_grown(f->nested)))
			return true;
	return false;
}

/* What may be left out for a reader that lacks a field is told by this. */
static int keep_fresh(struct device *dev, struct err *e)
{
	const struct state_desc *d = dev->class->state;

	if (!d || !has_grown(d))
		return 0;
	dev->fresh = malloc(d->size);
	if (!dev->fresh)
		return err_set(e, -ENOMEM, "%s: out of memory", dev->id);
	memcpy(dev->fresh, device_state(dev), d->size);
	return 0;
}

int device_open(struct device **out, const struct device_class *class, const char *id,
		struct vm *vm, const json_t *options, struct err *e)
{
	struct device *dev = calloc(1, class->size);
	int r = 0;

	if (!dev)
		return err_set(e, -ENOMEM, "%s: out of memory", id);
	dev->class = class;
	dev->vm = vm;
	dev->options = json_incref((json_t *)options);
	snprintf(dev->id, sizeof(dev->id), "%s", id);
	list_init(&dev->node);
	if (vm_device(vm, id))
		r = err_set(e, -EEXIST,
			    "%s: there are two devices of this name; give one another id", id);
	if (!r && class->options)
		r = option_load(class->options, id, options, dev, e);
	if (!r && class->open)
		r = class->open(dev, e);
	if (r) {
		device_free(dev);
		return r;
	}
	*out = dev;
	return 0;
}

int device_attach(struct device *dev, struct err *e)
{
	int r = dev->class->attach(dev, e);

	if (!r) {
		dev->class->reset(dev);
		r = keep_fresh(dev, e);
	}
	if (r) {
		device_free(dev);
		return r;
	}
	list_append(&dev->vm->devices, &dev->node);
	dev->phase = DEVICE_STOPPED;
	return 0;
}

int device_new(struct device **out, const struct device_class *class, const char *id, struct vm *vm,
	       const json_t *options, struct err *e)
{
	struct device *dev;
	int r = device_open(&dev, class, id, vm, options, e);

	if (!r)
		r = device_attach(dev, e);
	if (!r)
		*out = dev;
	return r;
}

void device_free(struct device *dev)
{
	if (!dev)
		return;
	assert(dev->phase == DEVICE_NEW || dev->phase == DEVICE_STOPPED);
	claims_release(dev);
	list_remove(&dev->node);
	json_decref(dev->options);
	free(dev->fresh);
	free(dev);
}

void device_reset(struct device *dev)
{
	assert(dev->phase == DEVICE_STOPPED);
	dev->class->reset(dev);
}

void device_start(struct device *dev)
{
	assert(dev->phase == DEVICE_STOPPED);
	dev->phase = DEVICE_RUNNING;
	if (dev->class->start)
		dev->class->start(dev);
}

void device_stop(struct device *dev, void (*stopped)(struct device *, void *arg), void *arg)
{
	assert(dev->phase == DEVICE_RUNNING);
	dev->phase = DEVICE_STOPPING;
	dev->stopped = stopped;
	dev->stopped_arg = arg;
	if (dev->class->stop)
		dev->class->stop(dev);
	else
		device_stopped(dev);
}

void device_stopped(struct device *dev)
{
	assert(dev->phase == DEVICE_STOPPING);
	dev->phase = DEVICE_STOPPED;
	dev->stopped(dev, dev->stopped_arg);
}

void *device_state(struct device *dev)
{
	return (char *)dev + dev->class->state_offset;
}

int device_fetch(struct device *dev, struct err *e)
{
	assert(dev->phase == DEVICE_STOPPED);
	return dev->class->fetch ? dev->class->fetch(dev, e) : 0;
}

int device_loaded(struct device *dev, struct err *e)
{
	assert(dev->phase == DEVICE_STOPPED);
	return dev->class->loaded ? dev->class->loaded(dev, e) : 0;
}

int device_resize(struct device *dev, uint64_t bytes, struct err *e)
{
	assert(dev->phase == DEVICE_STOPPED);
	return dev->class->resize(dev, bytes, e);
}

void device_resized(struct device *dev)
{
	assert(dev->phase == DEVICE_STOPPED);
	dev->class->resized(dev);
}

void device_note(struct device *dev, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!pace_allows(&dev->notes, NOTES_PER_SECOND))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s: %s", dev->id, text);
}

void device_tell(struct device *dev, const char *source, const char *event, json_t *more)
{
	json_object_set_new(more, "id", json_string(dev->id));
	events_add(dev->vm->events, source, event, more);
}

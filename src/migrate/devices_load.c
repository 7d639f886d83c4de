/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "devices.h"
#include "vm.h"

/* A device of this VM and the state that the stream has for it. */
struct incoming {
	struct device *dev;
	void *state;
	bool seen;
};

struct loader {
	struct err *e;
	struct incoming *incoming; /* in order of vm->devices */
	size_t ndevices;
};

static struct incoming *find_device(struct loader *l, const char *id)
{
	for (size_t i = 0; i < l->ndevices; i++)
		if (!strcmp(l->incoming[i].dev->id, id))
			return &l->incoming[i];
	return NULL;
}

static int decode_state(struct loader *l, struct incoming *in, const struct state_view *record)
{
	const struct state_desc *desc = in->dev->class->state;

	if (!desc)
		return record->len ? err_set(l->e, -EBADMSG, "%s: unexpected state", in->dev->id)
				   : 0;
	in->state = malloc(desc->size);
	if (!in->state)
		return err_set(l->e, -ENOMEM, "%s: out of memory for its state", in->dev->id);
	memcpy(in->state, device_state(in->dev), desc->size);
	return state_load(desc, in->state, in->dev->id, record->data, record->len, l->e);
}

static int decode_device(struct loader *l, struct state_view v)
{
	char kind[STATE_NAME_MAX + 1], id[STATE_NAME_MAX + 1];
	struct incoming *in;

	if (!state_view_take_name(&v, kind) || !state_view_take_name(&v, id))
		return err_set(l->e, -EBADMSG, "the stream is damaged: a device has no name");
	in = find_device(l, id);
	if (!in)
		return err_set(l->e, -EBADMSG,
			       "the stream has a device \"%s\" (%s) that this VM lacks; build it "
			       "from the configuration that was saved",
			       id, kind);
	if (strcmp(in->dev->class->kind, kind))
		return err_set(l->e, -EBADMSG, "%s: is a %s in the stream and a %s here", id, kind,
			       in->dev->class->kind);
	if (in->seen)
		return err_set(l->e, -EBADMSG, "%s: comes twice in the stream", id);
	in->seen = true;
	return decode_state(l, in, &v);
}

static int decode_all(struct loader *l, struct state_view v)
{
	const uint8_t *payload;
	uint64_t len;
	int r = 0;

	while (!r && v.len) {
		if (!state_view_take_le(&v, 8, &len) || !state_view_take(&v, len, &payload))
			return err_set(l->e, -EBADMSG, "the states of the devices are cut short");
		r = decode_device(l, (struct state_view){ payload, len });
	}
	for (size_t i = 0; !r && i < l->ndevices; i++)
		if (!l->incoming[i].seen)
			r = err_set(l->e, -EBADMSG,
				    "the stream lacks the device \"%s\"; build the VM from the "
				    "configuration that was saved",
				    l->incoming[i].dev->id);
	return r;
}

static int install(struct loader *l)
{
	int r = 0;

	for (size_t i = 0; i < l->ndevices; i++) {
		struct device *dev = l->incoming[i].dev;

		if (l->incoming[i].state)
			memcpy(device_state(dev), l->incoming[i].state, dev->class->state->size);
	}
	for (size_t i = 0; !r && i < l->ndevices; i++)
		r = device_loaded(l->incoming[i].dev, l->e);
	return r;
}

static int list_devices(struct loader *l, struct vm *vm)
{
	struct device *dev;
	size_t n = 0;

	list_for_each (dev, &vm->devices, node)
		n++;
	l->incoming = calloc(n + 1, sizeof(*l->incoming));
	if (!l->incoming)
		return err_set(l->e, -ENOMEM, "out of memory");
	list_for_each (dev, &vm->devices, node) {
		assert(dev->phase == DEVICE_STOPPED);
		l->incoming[l->ndevices++].dev = dev;
	}
	return 0;
}

int devices_load(struct vm *vm, const void *data, size_t len, struct err *e)
{
	struct loader l = { .e = e };
	int r = list_devices(&l, vm);

	if (!r)
		r = decode_all(&l, (struct state_view){ data, len });
	if (!r)
		r = install(&l);
	for (size_t i = 0; i < l.ndevices; i++)
		free(l.incoming[i].state);
	free(l.incoming);
	return r;
}

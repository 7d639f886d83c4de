/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "bits.h"
#include "cleanup.h"
#include "devices.h"
#include "section.h"
#include "vm.h"

/* Its payload, behind its length. */
static int save_device(struct device *dev, struct state_target to, struct state_buf *b,
		       struct err *e)
{
	const struct state_desc *desc = dev->class->state;
	size_t begin = b->len;
	int r;

	to.device = dev->id;
	to.reset = dev->fresh;
	assert(dev->phase == DEVICE_STOPPED);
	if (!state_name_ok(dev->id))
		return err_set(e, -EINVAL,
			       "%s: cannot be saved under this id; use letters, digits, "
			       "\"_\", \"-\" and \".\"",
			       dev->id);
	r = device_fetch(dev, e);
	if (r)
		return r;
	state_buf_put_le(b, 8, 0);
	state_buf_put_name(b, dev->class->kind);
	state_buf_put_name(b, dev->id);
	if (desc)
		r = state_save(desc, device_state(dev), &to, b, e);
	if (!r && b->failed)
		r = err_set(e, -ENOMEM, "%s: out of memory for its state", dev->id);
	if (!r && b->len - begin - 8 > SECTION_RECORD_MAX)
		r = err_set(e, -E2BIG, "%s: too much state for a stream", dev->id);
	if (!r)
		put_le(b->data + begin, 8, b->len - begin - 8);
	return r;
}

static int read_versions(const json_t *json, struct state_version **out, size_t *n, struct err *e)
{
	const char *name;
	json_t *value;

	*out = calloc(json_object_size(json) + 1, sizeof(**out));
	if (!*out)
		return err_set(e, -ENOMEM, "out of memory");
	json_object_foreach((json_t *)json, name,
			    value) if (json_integer_value(value) > 0)(*out)[(*n)++] =
		(struct state_version){ name,
					(unsigned)MIN(json_integer_value(value), UINT16_MAX) };
	return 0;
}

int devices_save(struct vm *vm, const json_t *known, struct state_buf *b, struct err *e)
{
	CLEANUP(free) struct state_version *versions = NULL;
	struct state_target to = { .nknown = 0 };
	struct device *dev;
	int r = known ? read_versions(known, &versions, &to.nknown, e) : 0;

	to.known = versions;
	list_for_each (dev, &vm->devices, node)
		if (!r)
			r = save_device(dev, to, b, e);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>

#include "bits.h"
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

int devices_save(struct vm *vm, const struct state_version *known, size_t nknown,
		 struct state_buf *b, struct err *e)
{
	const struct state_target to = { .known = known, .nknown = nknown };
	struct device *dev;
	int r = 0;

	list_for_each (dev, &vm->devices, node)
		if (!r)
			r = save_device(dev, to, b, e);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_parked.h"

#include <assert.h>
#include <errno.h>

static const struct state_field fields[] = {
	STATE_COUNTED(struct blk_parked, head, n, .max = VIRTQUEUE_SIZE_MAX - 1),
};
const struct state_desc blk_parked_desc = STATE_DESC(struct blk_parked, "virtio-blk-parked", 1, 1,
						     fields);

static bool has(const struct blk_parked *p, uint32_t n, uint16_t head)
{
	for (uint32_t i = 0; i < n; i++)
		if (p->head[i] == head)
			return true;
	return false;
}

/* A guest that made one available twice is answered once. */
void blk_parked_add(struct blk_parked *p, uint16_t head)
{
	if (has(p, p->n, head))
		return;
	assert(p->n < VIRTQUEUE_SIZE_MAX);
	p->head[p->n++] = head;
}

static int check_queue(const struct virtio_device *v, unsigned index, const struct blk_parked *p,
		       struct err *e)
{
	const struct virtqueue_state *q = &v->s->queue[index];

	if (p->n && (!q->enabled || !virtio_is_driven(v)))
		return err_set(e, -EINVAL,
			       "%s: queue %u was saved with parked requests, but unused", v->dev.id,
			       index);
	for (uint32_t i = 0; i < p->n; i++)
		if (p->head[i] >= q->size || has(p, i, p->head[i]))
			return err_set(e, -EINVAL,
				       "%s: queue %u was saved with the impossible parked request "
				       "%u",
				       v->dev.id, index, p->head[i]);
	return 0;
}

int blk_parked_check(const struct virtio_device *v, const struct blk_parked *parked, uint32_t n,
		     struct err *e)
{
	int r = 0;

	if (n != v->nqueues)
		return err_set(e, -EINVAL, "%s: saved with parked requests of %u queues, not %u",
			       v->dev.id, n, v->nqueues);
	for (unsigned i = 0; !r && i < n; i++)
		r = check_queue(v, i, &parked[i], e);
	return r;
}

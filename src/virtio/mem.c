/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem: virtio 1.2, 5.15.  The guest plugs and unplugs blocks of the pluggable region of its
 * memory until it has as much as is asked of it; what it has unplugged it cannot write to and costs
 * the host nothing.
 *
 * VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE is offered, not demanded: who reads an unplugged block finds
 * zeroes.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <string.h>

#include "virtio.h"
#include "virtio_mem.h"

enum {
	MEM_QUEUE_SIZE = 64,
	MEM_SEGMENTS = MEM_QUEUE_SIZE,
	MEM_CLASS_CODE = 0x00ff00, /* a device that fits no class */
	MEM_BITMAP_WORDS = GUEST_MEM_BLOCKS_MAX / 64,
};

struct mem_state {
	struct virtio_state virtio[1];
	uint64_t requested; /* bytes; whole blocks */
	uint64_t plugged[MEM_BITMAP_WORDS]; /* a bit for each block */
};

struct mem_counters {
	_Atomic uint64_t requested, plugged;
};

struct mem {
	struct virtio_device v;
	struct mem_state s;
	uint64_t size; /* an option */
	uint64_t asked; /* bytes that requested is to be */
	struct guest_mem_region *region;
	unsigned nblocks, nplugged;
	struct virtio_mem_config config;
	struct iovec segment[MEM_SEGMENTS];
	struct vq_range range[MEM_SEGMENTS];
};

static const struct option mem_options[] = {
	OPTION_SIZED(struct mem, size, .help = "what the guest is asked to plug"),
};
static const struct option_table mem_option_table = OPTION_TABLE(mem_options);

static const struct state_field mem_fields[] = {
	STATE_STRUCTS(struct mem_state, virtio, &virtio_state_desc),
	STATE(struct mem_state, requested),
	STATE_ARRAY(struct mem_state, plugged),
};
static const struct state_desc mem_state_desc = STATE_DESC(struct mem_state, "virtio-mem", 1, 1,
							   mem_fields);

static const struct counter mem_counters[] = {
	COUNTER_GAUGE_OF(struct mem_counters, requested, .metric = "godwit_memory_requested_bytes",
			 .unit = COUNTER_BYTES,
			 .help = "Pluggable memory that the guest is asked to have."),
	COUNTER_GAUGE_OF(struct mem_counters, plugged, .metric = "godwit_memory_plugged_bytes",
			 .unit = COUNTER_BYTES, .help = "Pluggable memory that the guest has."),
};

static struct mem *mem_of(const struct device *dev)
{
	return container_of(dev, struct mem, v.dev);
}

static uint64_t mem_plugged_bytes(const struct mem *m)
{
	return m->nplugged * m->region->block_bytes;
}

static bool mem_fetch_counters(struct device *dev)
{
	struct mem *m = mem_of(dev);
	struct mem_counters *c = device_counters(dev, 0);

	counter_set(&c->requested, m->s.requested);
	counter_set(&c->plugged, mem_plugged_bytes(m));
	return true;
}

static const struct counter_table mem_counter_table = COUNTER_TABLE(
	struct mem_counters, mem_counters, .is_machine = true, .fetch = mem_fetch_counters);

/* What the guest reads; of what it did itself it is not told (5.15.5). */
static void mem_show(struct mem *m)
{
	m->config.plugged_size = htole64(mem_plugged_bytes(m));
	m->config.requested_size = htole64(m->s.requested);
}

static bool mem_has(const struct mem *m, unsigned block)
{
	return m->s.plugged[block / 64] & BIT(block % 64);
}

static unsigned mem_count(const struct mem *m, unsigned first, unsigned n)
{
	unsigned sum = 0;

	for (unsigned i = first; i < first + n; i++)
		sum += mem_has(m, i);
	return sum;
}

static void mem_note(struct mem *m, unsigned first, unsigned n, bool plugged)
{
	for (unsigned i = first; i < first + n; i++)
		if (plugged)
			m->s.plugged[i / 64] |= BIT(i % 64);
		else
			m->s.plugged[i / 64] &= ~BIT(i % 64);
	m->nplugged = mem_count(m, 0, m->nblocks);
	mem_show(m);
}

/* It is no RAM any more, whatever the host says. */
static void mem_take(struct mem *m, unsigned first, unsigned n)
{
	int r = guest_mem_unplug(m->v.dev.vm->mem, first, n);

	if (r)
		device_note(&m->v.dev, "the host does not take back what the guest unplugs: %s",
			    strerror(-r));
}

/* How many from there on are alike. */
static unsigned mem_run(const struct mem *m, unsigned first)
{
	unsigned end = first + 1;

	while (end < m->nblocks && mem_has(m, end) == mem_has(m, first))
		end++;
	return end - first;
}

static void mem_unplug_all(struct mem *m)
{
	for (unsigned i = 0, n; i < m->nblocks; i += n) {
		n = mem_run(m, i);
		if (mem_has(m, i))
			mem_take(m, i, n);
	}
	mem_note(m, 0, m->nblocks, false);
}

/* Requests of the guest: on main */

static bool mem_blocks(const struct mem *m, uint64_t address, uint16_t count, unsigned *first)
{
	uint64_t offset = address - m->region->base;

	if (address < m->region->base || offset % m->region->block_bytes || !count)
		return false;
	*first = (unsigned)MIN(offset / m->region->block_bytes, m->nblocks);
	return count <= m->nblocks - *first;
}

static uint16_t mem_plug(struct mem *m, unsigned first, unsigned n)
{
	if (mem_count(m, first, n))
		return VIRTIO_MEM_RESP_ERROR;
	if ((m->nplugged + n) * m->region->block_bytes > m->s.requested)
		return VIRTIO_MEM_RESP_NACK;
	if (guest_mem_plug(m->v.dev.vm->mem, first, n))
		return VIRTIO_MEM_RESP_BUSY;
	mem_note(m, first, n, true);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t mem_unplug(struct mem *m, unsigned first, unsigned n)
{
	if (mem_count(m, first, n) != n)
		return VIRTIO_MEM_RESP_ERROR;
	mem_take(m, first, n);
	mem_note(m, first, n, false);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t mem_state_of(const struct mem *m, unsigned first, unsigned n, uint16_t *state)
{
	unsigned plugged = mem_count(m, first, n);

	*state = htole16(plugged == n ? VIRTIO_MEM_STATE_PLUGGED
			 : plugged    ? VIRTIO_MEM_STATE_MIXED
				      : VIRTIO_MEM_STATE_UNPLUGGED);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t mem_answer(struct mem *m, const struct virtio_mem_req *q, uint16_t *state)
{
	/* The same place in all three. */
	uint16_t type = le16toh(q->type), n = le16toh(q->u.plug.nb_blocks);
	unsigned first;

	if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		mem_unplug_all(m);
		return VIRTIO_MEM_RESP_ACK;
	}
	if (!mem_blocks(m, le64toh(q->u.plug.addr), n, &first))
		return VIRTIO_MEM_RESP_ERROR;
	switch (type) {
	case VIRTIO_MEM_REQ_PLUG:
		return mem_plug(m, first, n);
	case VIRTIO_MEM_REQ_UNPLUG:
		return mem_unplug(m, first, n);
	case VIRTIO_MEM_REQ_STATE:
		return mem_state_of(m, first, n, state);
	default:
		return VIRTIO_MEM_RESP_ERROR;
	}
}

static void mem_serve(struct mem *m, struct virtqueue *vq, struct vq_request *req)
{
	struct virtio_mem_resp resp = { 0 };
	struct virtio_mem_req asked = { 0 };

	if (req_read(req, &asked, sizeof(asked)) < sizeof(asked))
		resp.type = htole16(VIRTIO_MEM_RESP_ERROR);
	else
		resp.type = htole16(mem_answer(m, &asked, &resp.u.state.state));
	if (le16toh(resp.type) == VIRTIO_MEM_RESP_ERROR)
		device_note(&m->v.dev, "the guest asks for what makes no sense; refused");
	vq_complete(vq, req, (uint32_t)req_write(req, &resp, sizeof(resp)));
}

static void mem_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct mem *m = mem_of(&v->dev);
	struct vq_request req = { .segment_max = MEM_SEGMENTS,
				  .segment = m->segment,
				  .range = m->range };
	unsigned done = 0;

	vq_disable_kicks(vq);
	do {
		for (; done < vq->s->size && vq_pop(vq, &req); done++)
			mem_serve(m, vq, &req);
	} while (vq_enable_kicks(vq) && done < vq->s->size);
	if (done == vq->s->size)
		virtio_kick(v, vq->index);
	vq_flush(vq);
}

/* Control: on main */

static uint64_t mem_blocks_of(const struct mem *m, uint64_t bytes)
{
	return align_up(MIN(bytes, m->region->size_bytes), m->region->block_bytes);
}

static void mem_take_asked(struct mem *m)
{
	if (m->s.requested == m->asked)
		return;
	m->s.requested = m->asked;
	mem_show(m);
	virtio_config_changed(&m->v);
}

void virtio_mem_ask(struct device *dev, uint64_t bytes)
{
	struct mem *m = mem_of(dev);

	m->asked = mem_blocks_of(m, bytes);
	/* Else it learns of it at the start. */
	if (dev->phase == DEVICE_RUNNING)
		mem_take_asked(m);
}

uint64_t virtio_mem_rounded(const struct device *dev, uint64_t bytes)
{
	return mem_blocks_of(mem_of(dev), bytes);
}

uint64_t virtio_mem_asked(const struct device *dev)
{
	return mem_of(dev)->asked;
}

uint64_t virtio_mem_given(const struct device *dev)
{
	return mem_plugged_bytes(mem_of(dev));
}

bool virtio_mem_is_driven(const struct device *dev)
{
	return virtio_is_driven(&mem_of(dev)->v);
}

/* Life */

static const struct virtio_class mem_virtio_class = {
	.id = VIRTIO_ID_MEM,
	.class_code = MEM_CLASS_CODE,
	.on_main = true,
	.kick = mem_kick,
};

static int mem_attach(struct device *dev, struct err *e)
{
	struct mem *m = mem_of(dev);
	int r;

	m->region = guest_mem_pluggable(dev->vm->mem);
	if (!m->region)
		return err_set(e, -EINVAL, "%s: this VM has no memory to plug; give hotplug_size",
			       dev->id);
	m->nblocks = (unsigned)(m->region->size_bytes / m->region->block_bytes);
	m->asked = m->s.requested = mem_blocks_of(m, m->size);
	m->config = (struct virtio_mem_config){
		.block_size = htole64(m->region->block_bytes),
		.addr = htole64(m->region->base),
		.region_size = htole64(m->region->size_bytes),
		.usable_region_size = htole64(m->region->size_bytes),
	};
	r = device_claim_counters(dev, 1, e);
	if (r)
		return r;
	m->v.features = BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE);
	m->v.config = (uint8_t *)&m->config;
	m->v.config_bytes = sizeof(m->config);
	m->v.nqueues = 1;
	m->v.queue_size = MEM_QUEUE_SIZE;
	return virtio_attach(&m->v, &mem_virtio_class, &m->s.virtio[0], e);
}

/* What is asked of the guest is the host's, and stays. */
static void mem_reset(struct device *dev)
{
	struct mem *m = mem_of(dev);

	virtio_reset(dev);
	mem_unplug_all(m);
}

/* Make memory what the loaded state says of blocks that are alike. */
static int mem_apply(struct mem *m, unsigned first, unsigned n)
{
	if (mem_has(m, first))
		return guest_mem_plug(m->v.dev.vm->mem, first, n);
	mem_take(m, first, n);
	return 0;
}

static void mem_start(struct device *dev)
{
	virtio_start(dev);
	mem_take_asked(mem_of(dev));
}

static int mem_loaded(struct device *dev, struct err *e)
{
	struct mem *m = mem_of(dev);
	uint64_t block_bytes = m->region->block_bytes;
	int r = virtio_loaded(dev, e);

	if (r)
		return r;
	for (unsigned i = m->nblocks; i < GUEST_MEM_BLOCKS_MAX; i++)
		r |= mem_has(m, i);
	if (r || m->s.requested % block_bytes || m->s.requested > m->region->size_bytes)
		return err_set(e, -EINVAL, "%s: saved with more memory than there is here",
			       dev->id);
	for (unsigned i = 0, n; !r && i < m->nblocks; i += n) {
		n = mem_run(m, i);
		r = mem_apply(m, i, n);
	}
	mem_note(m, 0, 0, true);
	return r ? err_set(e, r, "%s: its blocks cannot be as they were saved: %s", dev->id,
			   strerror(-r))
		 : 0;
}

extern const struct device_class virtio_mem_class;

/* A disk may have any name. */
struct device *virtio_mem_of(struct vm *vm)
{
	struct device *dev = vm_device(vm, "mem");

	return dev && dev->class == &virtio_mem_class ? dev : NULL;
}

const struct device_class virtio_mem_class = {
	.kind = "virtio-mem",
	.size = sizeof(struct mem),
	.options = &mem_option_table,
	.state = &mem_state_desc,
	.state_offset = offsetof(struct mem, s),
	.counters = &mem_counter_table,
	.attach = mem_attach,
	.reset = mem_reset,
	.start = mem_start,
	.stop = virtio_stop,
	.loaded = mem_loaded,
	.fetch = virtio_fetch,
};

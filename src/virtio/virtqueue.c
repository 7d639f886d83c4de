/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "bits.h"
#include "err.h"
#include "virtqueue.h"

/* An indirect table may lie at any address, and what the guest stores there may change at any
 * time: volatile, so that each member is loaded once. */
struct vq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
} __attribute__((packed));

/* Where a walk along a chain is. */
struct vq_walk {
	const volatile struct vq_desc *table;
	uint32_t entries; /* of the table */
	uint32_t index, seen;
	bool indirect;
};

static const struct state_field virtqueue_fields[] = {
	STATE(struct virtqueue_state, size, .max = VIRTQUEUE_SIZE_MAX),
	STATE(struct virtqueue_state, enabled),
	STATE(struct virtqueue_state, vector),
	STATE(struct virtqueue_state, desc),
	STATE(struct virtqueue_state, driver),
	STATE(struct virtqueue_state, device),
	STATE(struct virtqueue_state, next_avail),
	STATE(struct virtqueue_state, next_used),
};
const struct state_desc virtqueue_state_desc = STATE_DESC(struct virtqueue_state, "virtqueue", 1, 1,
							  virtqueue_fields);

static uint16_t load_le16(const uint16_t *p, int order)
{
	return le16toh(__atomic_load_n(p, order));
}

static void store_le16(uint16_t *p, uint16_t v, int order)
{
	__atomic_store_n(p, htole16(v), order);
}

static uint16_t avail_idx(const struct virtqueue *vq)
{
	/* virtio 1.2, 2.7.13.3: the driver publishes entries before the index. */
	return load_le16(&vq->avail->idx, __ATOMIC_ACQUIRE);
}

static void mark_used(struct virtqueue *vq, const void *field, size_t len)
{
	guest_mem_mark_dirty(
		vq->mem, vq->s->device + (uint64_t)((const char *)field - (const char *)vq->used),
		len);
}

/* virtio 1.2, 2.7.10: the entry after the used ring. */
static uint16_t *avail_event(struct virtqueue *vq)
{
	return (uint16_t *)&vq->used->ring[vq->s->size];
}

static void vq_break(struct virtqueue *vq, const char *why)
{
	if (vq->is_broken)
		return;
	vq->is_broken = true;
	vq->broken(vq, why);
}

static void ask_for_kicks(struct virtqueue *vq)
{
	if (vq->event_idx) {
		store_le16(avail_event(vq), vq->s->next_avail, __ATOMIC_RELAXED);
		mark_used(vq, avail_event(vq), sizeof(uint16_t));
	} else {
		store_le16(&vq->used->flags, 0, __ATOMIC_RELAXED);
		mark_used(vq, &vq->used->flags, sizeof(uint16_t));
	}
}

static int check_ring(struct virtqueue *vq, const char *name, gpa_t gpa, uint64_t len,
		      uint64_t align, void *host, struct err *e)
{
	void *p = guest_mem_at(vq->mem, gpa, len);

	if (!p || gpa & (align - 1))
		return err_set(e, -EINVAL, "queue %u: its %s at %#llx is %s", vq->index, name,
			       (unsigned long long)gpa, p ? "misaligned" : "not in memory");
	memcpy(host, &p, sizeof(p));
	return 0;
}

/* Lengths and alignments: virtio 1.2, 2.7. */
static int map_rings(struct virtqueue *vq, struct err *e)
{
	const struct virtqueue_state *s = vq->s;
	int r = check_ring(vq, "descriptor table", s->desc, UINT64_C(16) * s->size,
			   VRING_DESC_ALIGN_SIZE, &vq->desc, e);

	if (!r)
		r = check_ring(vq, "available ring", s->driver, UINT64_C(6) + 2 * s->size,
			       VRING_AVAIL_ALIGN_SIZE, &vq->avail, e);
	if (!r)
		r = check_ring(vq, "used ring", s->device, UINT64_C(6) + 8 * s->size,
			       VRING_USED_ALIGN_SIZE, &vq->used, e);
	return r;
}

int vq_start(struct virtqueue *vq, struct guest_mem *mem, bool event_idx, struct err *e)
{
	int r;

	vq->mem = mem;
	vq->event_idx = event_idx;
	vq->is_broken = vq->stopped = false;
	vq->in_flight = 0;
	vq->signalled_used = vq->s->next_used;
	vq->signalled_used_valid = false;
	if (!is_power_of_two(vq->s->size) || vq->s->size > VIRTQUEUE_SIZE_MAX)
		return err_set(e, -EINVAL, "queue %u: %u is no size for a queue", vq->index,
			       vq->s->size);
	r = map_rings(vq, e);
	if (r)
		return r;
	store_le16(&vq->used->flags, 0, __ATOMIC_RELAXED);
	mark_used(vq, &vq->used->flags, sizeof(uint16_t));
	ask_for_kicks(vq);
	return 0;
}

/* Add one buffer; NULL or what is wrong with it. */
static const char *add_buffer(struct virtqueue *vq, struct vq_request *req, const struct vq_desc *d)
{
	unsigned at = (unsigned)req->nreadable + req->nwritable;
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint32_t *bytes = writable ? &req->writable_bytes : &req->readable_bytes;
	void *host;

	if (!writable && req->nranges)
		return "a readable buffer follows a writable one"; /* 2.7.4.2 */
	if (!d->len)
		return NULL;
	if (at == req->segment_max)
		return "a request has more buffers than this device takes";
	/* 2.7.5.2: a chain holds at most 2^32 bytes, here one less. */
	if (d->len > UINT32_MAX - req->readable_bytes - req->writable_bytes)
		return "the buffers of a request exceed 4 GiB";
	host = guest_mem_at(vq->mem, d->addr, d->len);
	if (!host)
		return "a buffer is not in memory";
	req->segment[at] = (struct iovec){ .iov_base = host, .iov_len = d->len };
	*bytes += d->len;
	if (!writable) {
		req->nreadable++;
		return NULL;
	}
	req->range[req->nranges++] = (struct vq_range){ .gpa = d->addr, .len = d->len };
	req->nwritable++;
	return NULL;
}

/* virtio 1.2, 2.7.5.3.  Accepted also when the feature was not negotiated: refusing it would
 * protect nobody. */
static const char *enter_indirect(struct virtqueue *vq, struct vq_walk *w, const struct vq_desc *d)
{
	if (w->indirect)
		return "an indirect table is inside another";
	if (d->flags & VRING_DESC_F_NEXT)
		return "a descriptor is both indirect and chained";
	if (!d->len || d->len % sizeof(struct vq_desc))
		return "an indirect table has an odd length";
	w->table = guest_mem_at(vq->mem, d->addr, d->len);
	if (!w->table)
		return "an indirect table is not in memory";
	w->entries = d->len / sizeof(struct vq_desc);
	w->indirect = true;
	w->index = 0;
	return NULL;
}

static struct vq_desc read_desc(const volatile struct vq_desc *d)
{
	return (struct vq_desc){ .addr = le64toh(d->addr),
				 .len = le32toh(d->len),
				 .flags = le16toh(d->flags),
				 .next = le16toh(d->next) };
}

/* Turn the chain from head into req; NULL or what is wrong with it. */
static const char *walk_chain(struct virtqueue *vq, struct vq_request *req)
{
	struct vq_walk w = { .table = (const volatile struct vq_desc *)vq->desc,
			     .entries = vq->s->size,
			     .index = req->head };
	const char *why = NULL;

	while (!why) {
		struct vq_desc d;

		if (w.index >= w.entries)
			return "a descriptor index is out of range";
		d = read_desc(&w.table[w.index]);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			why = enter_indirect(vq, &w, &d);
			continue;
		}
		/* 2.7.5.2: no longer than the queue; so loops end here, too. */
		if (w.seen++ == vq->s->size)
			return "a descriptor chain is longer than its queue, or a loop";
		why = add_buffer(vq, req, &d);
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		w.index = d.next;
	}
	return why;
}

bool vq_fetch(struct virtqueue *vq, struct vq_request *req, uint16_t head)
{
	const char *why;

	assert(req->segment && req->range && req->segment_max);
	if (vq->is_broken)
		return false;
	req->head = head;
	req->nreadable = req->nwritable = req->nranges = 0;
	req->readable_bytes = req->writable_bytes = 0;
	why = walk_chain(vq, req);
	if (why) {
		vq_break(vq, why);
		return false;
	}
	req->read_at = 0;
	req->write_at = req->nreadable;
	vq->in_flight++;
	return true;
}

bool vq_pop(struct virtqueue *vq, struct vq_request *req)
{
	uint16_t size = vq->s->size, next = vq->s->next_avail;
	uint16_t waiting;

	if (vq->is_broken || vq->stopped)
		return false;
	waiting = (uint16_t)(avail_idx(vq) - next);
	if (!waiting)
		return false;
	if (waiting > size || vq->in_flight == size) {
		vq_break(vq, "more requests are available than it has entries");
		return false;
	}
	if (!vq_fetch(vq, req, load_le16(&vq->avail->ring[next & (size - 1)], __ATOMIC_RELAXED)))
		return false;
	vq->s->next_avail = (uint16_t)(next + 1);
	return true;
}

void vq_park(struct virtqueue *vq)
{
	assert(vq->in_flight);
	vq->in_flight--;
}

void vq_unpop(struct virtqueue *vq, unsigned n)
{
	assert(n <= vq->in_flight);
	vq->s->next_avail = (uint16_t)(vq->s->next_avail - n);
	vq->in_flight -= n;
}

void vq_take_back(struct virtqueue *vq, uint16_t next_avail)
{
	vq->delegated = false;
	vq->s->next_avail = next_avail;
	vq->s->next_used = vq->signalled_used = load_le16(&vq->used->idx, __ATOMIC_ACQUIRE);
}

bool vq_enable_kicks(struct virtqueue *vq)
{
	if (vq->is_broken || vq->stopped)
		return false;
	ask_for_kicks(vq);
	/* Pairs with the driver's barrier between its index and its look at our wish. */
	atomic_thread_fence(memory_order_seq_cst);
	return avail_idx(vq) != vq->s->next_avail;
}

void vq_disable_kicks(struct virtqueue *vq)
{
	/* With EVENT_IDX an avail_event that stays behind has this effect. */
	if (vq->is_broken || vq->event_idx)
		return;
	store_le16(&vq->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	mark_used(vq, &vq->used->flags, sizeof(uint16_t));
}

static void segment_advance(struct iovec *segment, size_t n)
{
	segment->iov_base = (char *)segment->iov_base + n;
	segment->iov_len -= n;
}

/* Bytes that one step of a copy moves; the cursor then stands at a segment that has some. */
static size_t copy_step(struct vq_request *req, uint16_t *at, uint32_t *left, size_t n)
{
	struct iovec *segment = &req->segment[*at];

	segment_advance(segment, n);
	*left -= (uint32_t)n;
	*at = (uint16_t)(*at + !segment->iov_len);
	return n;
}

size_t req_read(struct vq_request *req, void *buf, size_t len)
{
	size_t done = 0;

	len = MIN(len, req->readable_bytes);
	while (done < len) {
		struct iovec *segment = &req->segment[req->read_at];
		size_t n = MIN(len - done, segment->iov_len);

		memcpy((char *)buf + done, segment->iov_base, n);
		done += copy_step(req, &req->read_at, &req->readable_bytes, n);
	}
	/* The caller checks its copy; the compiler must not load from the guest again. */
	atomic_signal_fence(memory_order_seq_cst);
	return done;
}

size_t req_write(struct vq_request *req, const void *buf, size_t len)
{
	size_t done = 0;

	len = MIN(len, req->writable_bytes);
	while (done < len) {
		struct iovec *segment = &req->segment[req->write_at];
		size_t n = MIN(len - done, segment->iov_len);

		memcpy(segment->iov_base, (const char *)buf + done, n);
		done += copy_step(req, &req->write_at, &req->writable_bytes, n);
	}
	return done;
}

/* Make segment at end after n bytes, the rest is a new one behind it. */
static int split(struct vq_request *req, unsigned at, size_t n)
{
	unsigned total = (unsigned)req->nreadable + req->nwritable;
	struct iovec *segment = &req->segment[at];

	if (total == req->segment_max)
		return -EINVAL;
	memmove(segment + 1, segment, (total - at) * sizeof(*segment));
	segment->iov_len = n;
	segment_advance(segment + 1, n);
	return 0;
}

/* Take len bytes from the segment at first on; sets *segments, and *was_split if one was. */
static int take(struct vq_request *req, unsigned first, uint64_t len, bool *was_split)
{
	unsigned at = first;

	for (; len; at++) {
		size_t here = req->segment[at].iov_len;

		*was_split = len < here;
		if (*was_split && split(req, at, len))
			return -EINVAL;
		len -= MIN(len, here);
	}
	return (int)(at - first);
}

int req_take_readable(struct vq_request *req, uint64_t len, struct iovec **iov)
{
	bool was_split = false;
	int n;

	if (len > req->readable_bytes)
		return -EINVAL;
	n = take(req, req->read_at, len, &was_split);
	if (n < 0)
		return n;
	*iov = &req->segment[req->read_at];
	req->read_at = (uint16_t)(req->read_at + n);
	req->readable_bytes -= (uint32_t)len;
	req->nreadable = (uint16_t)(req->nreadable + was_split);
	req->write_at = (uint16_t)(req->write_at + was_split);
	return n;
}

int req_take_writable(struct vq_request *req, uint64_t len, struct iovec **iov)
{
	bool was_split = false;
	int n;

	if (len > req->writable_bytes)
		return -EINVAL;
	n = take(req, req->write_at, len, &was_split);
	if (n < 0)
		return n;
	*iov = &req->segment[req->write_at];
	req->write_at = (uint16_t)(req->write_at + n);
	req->writable_bytes -= (uint32_t)len;
	req->nwritable = (uint16_t)(req->nwritable + was_split);
	return n;
}

/* Everything the cursor passed may have been written, also if the device reports less. */
static void mark_written(struct virtqueue *vq, const struct vq_request *req, uint32_t written_bytes)
{
	uint64_t total = 0, passed;

	for (unsigned i = 0; i < req->nranges; i++)
		total += req->range[i].len;
	passed = total - req->writable_bytes;
	assert(written_bytes <= passed);
	for (unsigned i = 0; passed; i++) {
		uint64_t len = MIN(passed, req->range[i].len);

		guest_mem_mark_dirty(vq->mem, req->range[i].gpa, len);
		passed -= len;
	}
}

void vq_complete(struct virtqueue *vq, struct vq_request *req, uint32_t written_bytes)
{
	struct vring_used_elem *elem = &vq->used->ring[vq->s->next_used & (vq->s->size - 1)];

	assert(vq->in_flight);
	mark_written(vq, req, written_bytes);
	__atomic_store_n(&elem->id, htole32(req->head), __ATOMIC_RELAXED);
	__atomic_store_n(&elem->len, htole32(written_bytes), __ATOMIC_RELAXED);
	mark_used(vq, elem, sizeof(*elem));
	vq->s->next_used++;
	vq->in_flight--;
}

/* virtio 1.2, 2.7.7.2; now and before: used indices. */
static bool wants_signal(struct virtqueue *vq, uint16_t now, uint16_t before)
{
	uint16_t used_event;

	/* Pairs with the driver's barrier between its wish and its look at the index. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!vq->event_idx)
		return !(load_le16(&vq->avail->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	if (!vq->signalled_used_valid)
		return true;
	used_event = load_le16(&vq->avail->ring[vq->s->size], __ATOMIC_RELAXED);
	return vring_need_event(used_event, now, before);
}

void vq_flush(struct virtqueue *vq)
{
	uint16_t now = vq->s->next_used, before = vq->signalled_used;

	if (now != before) {
		store_le16(&vq->used->idx, now, __ATOMIC_RELEASE);
		mark_used(vq, &vq->used->idx, sizeof(uint16_t));
		vq->signalled_used = now;
		if (wants_signal(vq, now, before))
			vq->signal(vq);
		vq->signalled_used_valid = true;
	}
	if (vq->stopped && !vq->in_flight)
		vq->drained(vq);
}

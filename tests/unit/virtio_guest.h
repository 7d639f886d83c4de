/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of virtio devices: a VM without KVM, a device to drive ("probe": it answers
 * each request with its bytes plus one, or holds it until told) and the little that a driver
 * needs to drive any virtio device.
 */
#ifndef VIRTIO_GUEST_H
#define VIRTIO_GUEST_H

#include <check.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform.h"
#include "virtio.h"

enum {
	QUEUES = 3,
	QUEUE_SIZE = 16,
	CONFIG_BYTES = 8,
	PROBE_SEGMENTS = 8,
	RAM_BYTES = MIB,
	WAIT_MS = 10000,
	/* Where queue i has its rings and buffers: i + 1 times this. */
	QUEUE_GPA = 0x10000,
	AVAIL = 0x1000,
	USED = 0x2000,
	DATA = 0x4000,
};

enum { ACK = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40, FAILED = 0x80 };
enum { PROBE_F_A, PROBE_F_B, PROBE_F_B_PLUS }; /* the last needs the one before */

struct probe_queue {
	struct vq_request req[QUEUE_SIZE];
	struct iovec segment[QUEUE_SIZE][PROBE_SEGMENTS];
	struct vq_range range[QUEUE_SIZE][PROBE_SEGMENTS];
	unsigned held;
	struct virtqueue *vq;
	struct loop *loop;
	struct work release;
	char thread[16];
};

struct probe {
	struct virtio_device v;
	struct probe_state {
		struct virtio_state virtio[1];
	} s;
	uint8_t config[CONFIG_BYTES];
	struct probe_queue queue[QUEUES];
	unsigned written_at, written_size;
	atomic_bool hold, fail_start;
	atomic_uint started, refused, stopped, popped;
};

struct guest {
	struct loop *loop;
	struct vm vm;
	struct pci_bus bus;
	struct virtio_device *v;
	struct probe *p; /* NULL: another device */
	uint64_t common, isr, config, notify; /* addresses found in the capabilities */
	unsigned multiplier, window;
	bool event_idx;
	bool stopped;
	struct timer look;
	uint64_t deadline_ns;
	bool (*met)(struct guest *, unsigned);
	unsigned arg;
};

static inline void probe_answer(struct virtqueue *vq, struct vq_request *req)
{
	uint8_t buf[64];
	size_t n = req_read(req, buf, sizeof(buf));

	for (size_t i = 0; i < n; i++)
		buf[i]++;
	vq_complete(vq, req, (uint32_t)req_write(req, buf, n));
}

static inline void probe_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct probe *p = container_of(v, struct probe, v);
	struct probe_queue *q = &p->queue[vq->index];

	do {
		while (q->held < QUEUE_SIZE) {
			struct vq_request *req = &q->req[q->held];

			*req = (struct vq_request){ .segment_max = PROBE_SEGMENTS,
						    .segment = q->segment[q->held],
						    .range = q->range[q->held] };
			if (!vq_pop(vq, req))
				break;
			p->popped++;
			if (p->hold)
				q->held++;
			else
				probe_answer(vq, req);
		}
		vq_flush(vq);
	} while (vq_enable_kicks(vq) && q->held < QUEUE_SIZE);
}

static inline void probe_release(void *arg)
{
	struct probe_queue *q = arg;
	struct virtio_device *v = q->vq->owner;

	while (q->held)
		probe_answer(q->vq, &q->req[--q->held]);
	probe_kick(v, q->vq);
}

static inline int probe_queue_start(struct virtio_device *v, struct virtqueue *vq,
				    struct loop *loop, struct err *e)
{
	struct probe *p = container_of(v, struct probe, v);
	struct probe_queue *q = &p->queue[vq->index];

	if (p->fail_start) {
		p->refused++;
		return err_set(e, -EIO, "the back end is on fire");
	}
	*q = (struct probe_queue){ .vq = vq, .loop = loop };
	q->release = (struct work){ .run = probe_release, .arg = q };
	pthread_getname_np(pthread_self(), q->thread, sizeof(q->thread));
	p->started++;
	return 0;
}

static inline void probe_queue_stop(struct virtio_device *v, struct virtqueue *vq)
{
	struct probe *p = container_of(v, struct probe, v);

	ck_assert_uint_eq(vq->in_flight, 0);
	ck_assert(!vq_pop(vq, &p->queue[vq->index].req[0]));
	vq_flush(vq);
	p->stopped++;
}

static inline void probe_config_written(struct virtio_device *v, unsigned offset, unsigned size)
{
	struct probe *p = container_of(v, struct probe, v);

	p->written_at = offset;
	p->written_size = size;
}

static const struct virtio_dependency probe_dependencies[] = { { PROBE_F_B_PLUS, PROBE_F_B } };
static const struct virtio_class probe_virtio_class = {
	.id = 42,
	.class_code = 0x00ff00,
	.dependency = probe_dependencies,
	.ndependencies = ARRAY_SIZE(probe_dependencies),
	.kick = probe_kick,
	.queue_start = probe_queue_start,
	.queue_stop = probe_queue_stop,
	.config_written = probe_config_written,
};

static inline int probe_attach(struct device *dev, struct err *e)
{
	struct probe *p = container_of(dev, struct probe, v.dev);

	p->v.features = BIT(PROBE_F_A) | BIT(PROBE_F_B) | BIT(PROBE_F_B_PLUS);
	p->v.nqueues = QUEUES;
	p->v.queue_size = QUEUE_SIZE;
	p->v.config = p->config;
	p->v.config_bytes = CONFIG_BYTES;
	for (unsigned i = 0; i < QUEUES; i++)
		p->queue[i].req[0] = (struct vq_request){ .segment_max = PROBE_SEGMENTS,
							  .segment = p->queue[i].segment[0],
							  .range = p->queue[i].range[0] };
	return virtio_attach(&p->v, &probe_virtio_class, &p->s.virtio[0], e);
}

static const struct state_field probe_fields[] = {
	STATE_STRUCTS(struct probe_state, virtio, &virtio_state_desc),
};
static const struct state_desc probe_desc = STATE_DESC(struct probe_state, "probe", 1, 1,
						       probe_fields);
static const struct device_class probe_class = {
	.kind = "probe",
	.size = sizeof(struct probe),
	.state = &probe_desc,
	.state_offset = offsetof(struct probe, s),
	.attach = probe_attach,
	.reset = virtio_reset,
	.start = virtio_start,
	.stop = virtio_stop,
	.loaded = virtio_loaded,
	.fetch = virtio_fetch,
};

/* The main loop */

static inline void guest_look(void *arg)
{
	struct guest *g = arg;

	if ((g->met && g->met(g, g->arg)) || loop_now_ns() >= g->deadline_ns)
		loop_quit(g->loop);
	else
		loop_timer_set(g->loop, &g->look, loop_now_ns() + 200000);
}

static inline void guest_run(struct guest *g, unsigned ms)
{
	g->deadline_ns = loop_now_ns() + UINT64_C(1000000) * ms;
	g->look = (struct timer){ .expired = guest_look, .arg = g };
	loop_timer_set(g->loop, &g->look, loop_now_ns());
	loop_run(g->loop);
	g->met = NULL;
}

static inline void wait_until(struct guest *g, bool (*met)(struct guest *, unsigned), unsigned arg)
{
	g->met = met;
	g->arg = arg;
	guest_run(g, WAIT_MS);
	ck_assert_msg(met(g, arg), "waited in vain");
}

/* Registers */

static inline uint64_t rd(struct guest *g, uint64_t address, unsigned size)
{
	uint64_t value;

	pthread_mutex_lock(&g->vm.lock);
	value = bus_read(&g->vm.mmio, address, size);
	pthread_mutex_unlock(&g->vm.lock);
	return value;
}

static inline void wr(struct guest *g, uint64_t address, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&g->vm.lock);
	bus_write(&g->vm.mmio, address, size, value);
	pthread_mutex_unlock(&g->vm.lock);
}

static inline uint64_t cfg_rd(struct guest *g, unsigned offset, unsigned size)
{
	uint64_t value;

	pthread_mutex_lock(&g->vm.lock);
	value = pci_config_read(&g->bus, g->v->pci.slot << 3, offset, size);
	pthread_mutex_unlock(&g->vm.lock);
	return value;
}

static inline void cfg_wr(struct guest *g, unsigned offset, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&g->vm.lock);
	pci_config_write(&g->bus, g->v->pci.slot << 3, offset, size, value);
	pthread_mutex_unlock(&g->vm.lock);
}

static inline uint8_t status(struct guest *g)
{
	return (uint8_t)rd(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline void set_status(struct guest *g, uint8_t value)
{
	wr(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1, value);
}

static inline void find_capability(struct guest *g, unsigned at)
{
	unsigned bar = (unsigned)cfg_rd(g, at + VIRTIO_PCI_CAP_BAR, 1);
	uint64_t base = cfg_rd(g, PCI_BASE_ADDRESS_0 + 4 * (bar < 6 ? bar : 0), 4) & ~UINT64_C(15);
	uint64_t address = base + cfg_rd(g, at + VIRTIO_PCI_CAP_OFFSET, 4);

	switch (cfg_rd(g, at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		g->common = address;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		g->notify = address;
		g->multiplier = (unsigned)cfg_rd(g, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		g->isr = address;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		g->config = address;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		g->window = at;
		break;
	}
}

static inline void find_capabilities(struct guest *g)
{
	for (unsigned at = (unsigned)cfg_rd(g, PCI_CAPABILITY_LIST, 1); at;
	     at = (unsigned)cfg_rd(g, at + PCI_CAP_LIST_NEXT, 1))
		if (cfg_rd(g, at, 1) == PCI_CAP_ID_VNDR)
			find_capability(g, at);
}

/* Power on */

static inline void guest_new(struct guest *g, const struct device_class *class)
{
	const struct guest_mem_config ram = { .size_bytes = RAM_BYTES, .pluggable_bytes = MIB };
	struct device *dev;
	struct err e;

	*g = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&g->loop, &e), 0);
	ck_assert_int_eq(vm_init(&g->vm, -1, g->loop, 2, &e), 0);
	ck_assert_int_eq(guest_mem_new(&g->vm.mem, &ram, &e), 0);
	loop_set_lock(g->loop, &g->vm.lock);
	g->vm.pci = &g->bus;
	ck_assert_msg(!device_new(&dev, class, "probe0", &g->vm, NULL, &e), "%s", e.text);
	g->v = container_of(dev, struct virtio_device, dev);
	g->p = class == &probe_class ? container_of(dev, struct probe, v.dev) : NULL;
	find_capabilities(g);
}

static inline void guest_stopped(struct device *dev, void *arg)
{
	struct guest *g = arg;

	ck_assert_int_eq(dev->phase, DEVICE_STOPPED);
	ck_assert(!g->stopped);
	g->stopped = true;
}

static inline bool has_stopped(struct guest *g, unsigned arg)
{
	(void)arg;
	return g->stopped;
}

static inline void guest_start(struct guest *g)
{
	pthread_mutex_lock(&g->vm.lock);
	device_start(&g->v->dev);
	pthread_mutex_unlock(&g->vm.lock);
}

static inline void guest_stop(struct guest *g)
{
	g->stopped = false;
	pthread_mutex_lock(&g->vm.lock);
	device_stop(&g->v->dev, guest_stopped, g);
	pthread_mutex_unlock(&g->vm.lock);
}

static inline void guest_free(struct guest *g)
{
	struct guest_mem *mem = g->vm.mem;

	if (g->v->dev.phase == DEVICE_RUNNING) {
		guest_stop(g);
		wait_until(g, has_stopped, 0);
	}
	vm_free(&g->vm);
	guest_mem_free(mem);
	loop_free(g->loop);
}

/* The driver */

static inline void *ram(struct guest *g, gpa_t gpa)
{
	void *p = guest_mem_at(g->vm.mem, gpa, 1);

	ck_assert_ptr_nonnull(p);
	return p;
}

static inline gpa_t queue_gpa(unsigned i)
{
	return (gpa_t)QUEUE_GPA * (i + 1);
}

static inline struct vring_desc *desc_of(struct guest *g, unsigned i)
{
	return ram(g, queue_gpa(i));
}

static inline struct vring_avail *avail_of(struct guest *g, unsigned i)
{
	return ram(g, queue_gpa(i) + AVAIL);
}

static inline struct vring_used *used_of(struct guest *g, unsigned i)
{
	return ram(g, queue_gpa(i) + USED);
}

static inline uint16_t used_idx(struct guest *g, unsigned i)
{
	return __atomic_load_n(&used_of(g, i)->idx, __ATOMIC_ACQUIRE);
}

static inline void select_queue(struct guest *g, unsigned i)
{
	wr(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
}

static inline void setup_queue(struct guest *g, unsigned i, gpa_t base)
{
	const gpa_t ring[] = { base, base + AVAIL, base + USED };

	select_queue(g, i);
	wr(g, g->common + VIRTIO_PCI_COMMON_Q_MSIX, 2, i + 1);
	for (unsigned r = 0; r < 3; r++) {
		wr(g, g->common + VIRTIO_PCI_COMMON_Q_DESCLO + 8 * r, 4, (uint32_t)ring[r]);
		wr(g, g->common + VIRTIO_PCI_COMMON_Q_DESCHI + 8 * r, 4, ring[r] >> 32);
	}
	wr(g, g->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static inline void set_features(struct guest *g, uint64_t features)
{
	for (unsigned i = 0; i < 2; i++) {
		wr(g, g->common + VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		wr(g, g->common + VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * i)));
	}
}

/* As a driver does, up to FEATURES_OK and with all queues enabled. */
static inline void negotiate(struct guest *g)
{
	uint64_t features = BIT(VIRTIO_F_VERSION_1);

	if (g->event_idx)
		features |= BIT(VIRTIO_RING_F_EVENT_IDX);
	set_status(g, 0);
	set_status(g, ACK);
	set_status(g, ACK | DRIVER);
	set_features(g, features);
	set_status(g, ACK | DRIVER | FEATURES_OK);
	ck_assert_uint_eq(status(g), ACK | DRIVER | FEATURES_OK);
	wr(g, g->common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < g->v->nqueues; i++) {
		memset(ram(g, queue_gpa(i)), 0, QUEUE_GPA);
		setup_queue(g, i, queue_gpa(i));
	}
}

static inline void drive(struct guest *g)
{
	negotiate(g);
	set_status(g, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_uint_eq(status(g), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
}

static inline void publish(struct guest *g, unsigned i, uint16_t head)
{
	struct vring_avail *avail = avail_of(g, i);

	avail->ring[avail->idx % g->v->s->queue[i].size] = head;
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
}

/* A request with readable and writable bytes; slot: which of the queue's 8 pairs of buffers. */
static inline void ask(struct guest *g, unsigned i, unsigned slot, const char *text)
{
	struct vring_desc *d = desc_of(g, i) + 2 * slot;
	gpa_t data = queue_gpa(i) + DATA + 128 * slot;
	uint32_t len = (uint32_t)strlen(text);

	memcpy(ram(g, data), text, len);
	d[0] = (struct vring_desc){ data, len, VRING_DESC_F_NEXT, (uint16_t)(2 * slot + 1) };
	d[1] = (struct vring_desc){ data + 64, 64, VRING_DESC_F_WRITE, 0 };
	publish(g, i, (uint16_t)(2 * slot));
}

static inline const char *answer(struct guest *g, unsigned i, unsigned slot)
{
	return ram(g, queue_gpa(i) + DATA + 128 * slot + 64);
}

static inline void kick(struct guest *g, unsigned i)
{
	wr(g, g->notify + g->multiplier * i, 2, i);
}

/* Interrupts of a vector since the last look. */
static inline uint64_t interrupts(struct guest *g, unsigned vector)
{
	uint64_t count;

	return read(g->v->msix.vector[vector].fd, &count, sizeof(count)) == sizeof(count) ? count
											  : 0;
}

/* The interrupt follows the used index: later, not at once. */
static inline bool has_interrupt(struct guest *g, unsigned vector)
{
	struct pollfd p = { .fd = g->v->msix.vector[vector].fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static inline bool status_is(struct guest *g, unsigned value)
{
	return g->v->s->status == value;
}

/* arg: queue << 16 | used index */
static inline bool used_is(struct guest *g, unsigned arg)
{
	return used_idx(g, arg >> 16) == (uint16_t)arg;
}

static inline bool popped_is(struct guest *g, unsigned n)
{
	return g->p->popped == n;
}

static inline bool is_back(struct guest *g, unsigned arg)
{
	(void)arg;
	return !g->v->handed_over;
}

static inline void release(struct guest *g, unsigned i)
{
	g->p->hold = false;
	loop_post(g->p->queue[i].loop, &g->p->queue[i].release);
}

#endif

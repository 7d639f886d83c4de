/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with a network card, and its driver.  Frames carry a number and a pattern made of it. */
#ifndef NET_GUEST_H
#define NET_GUEST_H

#include <linux/virtio_net.h>

#include "cleanup.h"
#include "virtio_guest.h"

extern const struct device_class virtio_net_class;

enum {
	RX, /* the first pair's queues; the second's are two more */
	TX,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_mrg_rxbuf),
	ETHERTYPE = 0x88b5, /* IEEE 802, 9.2.3: for experiments */
	NUMBER_AT = 14,
	FRAME_MIN = 18,
	SLOTS = 128,
	CARD_QUEUES_MAX = 5,
	/* Guest addresses: frames to send, and buffers for packets, a slot each. */
	SEND_GPA = 0x80000,
	SEND_BYTES = 2 * KIB,
	BUFFER_GPA = 0xc0000,
	BUFFER_BYTES = 1 * KIB, /* of SLOTS for each pair */
	RUNNING = ACK | DRIVER | FEATURES_OK | DRIVER_OK,
	NO_ANSWER = 0xee,
};

static json_t *json; /* the device borrows strings from it */
static uint16_t seen[CARD_QUEUES_MAX]; /* used entries of each queue that the driver knows */

/* options: a JSON object. */
static inline int net_new(struct guest *g, const char *options, struct err *e)
{
	const struct guest_mem_config config = { .size_bytes = RAM_BYTES };
	struct device *dev;
	int r;

	json_decref(json);
	json = json_loads(options, 0, NULL);
	ck_assert_msg(json, "%s", options);
	*g = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&g->loop, e), 0);
	ck_assert_int_eq(vm_init(&g->vm, -1, g->loop, 2, e), 0);
	ck_assert_int_eq(guest_mem_new(&g->vm.mem, &config, e), 0);
	loop_set_lock(g->loop, &g->vm.lock);
	g->vm.pci = &g->bus;
	r = device_new(&dev, &virtio_net_class, "net0", &g->vm, json, e);
	if (!r) {
		g->v = container_of(dev, struct virtio_device, dev);
		find_capabilities(g);
	}
	return r;
}

static inline void refuse(const char *options, int error, const char *sentence)
{
	struct guest g;
	struct err e = { "" };
	struct guest_mem *mem;
	int r = net_new(&g, options, &e);

	ck_assert_msg(r == error, "%s: %d, %s", options, r, e.text);
	ck_assert_msg(strstr(e.text, sentence), "%s: %s", options, e.text);
	mem = g.vm.mem;
	vm_free(&g.vm);
	guest_mem_free(mem);
	loop_free(g.loop);
}

/* From a reset on; all queues are empty. */
static inline void net_drive(struct guest *g, uint64_t features)
{
	set_status(g, 0);
	wait_until(g, status_is, 0);
	set_status(g, ACK);
	set_status(g, ACK | DRIVER);
	set_features(g, features);
	set_status(g, ACK | DRIVER | FEATURES_OK);
	wr(g, g->common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < g->v->nqueues; i++) {
		memset(ram(g, queue_gpa(i)), 0, QUEUE_GPA);
		setup_queue(g, i, queue_gpa(i));
	}
	memset(seen, 0, sizeof(seen));
	set_status(g, RUNNING);
	ck_assert_uint_eq(status(g), RUNNING);
}

/* With all features that the card has but these. */
static inline void power_on(struct guest *g, const char *options, uint64_t without)
{
	struct err e = { "" };
	int r = net_new(g, options, &e);

	ck_assert_msg(!r, "%s", e.text);
	guest_start(g);
	net_drive(g, g->v->features & ~without);
}

/* Nothing is in flight once it has stopped. */
static inline void net_stop(struct guest *g)
{
	guest_stop(g);
	wait_until(g, has_stopped, 0);
	for (unsigned i = 0; i < g->v->nqueues; i++)
		ck_assert_uint_eq(g->v->s->queue[i].next_avail, g->v->s->queue[i].next_used);
}

static inline void power_off(struct guest *g)
{
	net_stop(g);
	guest_free(g);
}

/* Frames */

static inline void make_frame(uint8_t *frame, uint32_t number, size_t len)
{
	static const uint8_t head[] = {
		0x52, 0x54, 0, 0, 1, 2, 0x52, 0x54, 0, 0, 3, 4, ETHERTYPE >> 8, ETHERTYPE & 0xff
	};
	uint32_t big = htobe32(number);

	ck_assert_uint_ge(len, FRAME_MIN);
	memcpy(frame, head, sizeof(head));
	memcpy(frame + NUMBER_AT, &big, sizeof(big));
	for (size_t i = FRAME_MIN; i < len; i++)
		frame[i] = (uint8_t)(number * 7 + i);
}

static inline uint32_t number_of(const uint8_t *frame)
{
	uint32_t big;

	memcpy(&big, frame + NUMBER_AT, sizeof(big));
	return be32toh(big);
}

static inline void check_frame(const uint8_t *frame, uint32_t number, size_t len)
{
	CLEANUP(free) uint8_t *expected = malloc(len);

	make_frame(expected, number, len);
	ck_assert_uint_eq(number_of(frame), number);
	ck_assert_msg(!memcmp(frame, expected, len), "frame %u of %zu bytes is damaged", number,
		      len);
}

/* Buffers */

/* arg: queue << 16 | used index */
static inline bool used_reached(struct guest *g, unsigned arg)
{
	return (int16_t)(used_idx(g, arg >> 16) - (uint16_t)arg) >= 0;
}

static inline void wait_used(struct guest *g, unsigned queue, unsigned count)
{
	wait_until(g, used_reached, queue << 16 | (uint16_t)count);
}

static inline void put_desc(struct guest *g, unsigned queue, unsigned index, gpa_t gpa,
			    uint32_t len, unsigned flags)
{
	desc_of(g, queue)[index] = (struct vring_desc){
		.addr = gpa, .len = len, .flags = (uint16_t)flags, .next = (uint16_t)(index + 1)
	};
}

/* A frame to send in two descriptors; not kicked. */
static inline void put_frame(struct guest *g, unsigned queue, unsigned slot, uint32_t number,
			     size_t len)
{
	gpa_t gpa = SEND_GPA + SEND_BYTES * slot;

	ck_assert(slot < SLOTS && HEADER_BYTES + len <= SEND_BYTES);
	memset(ram(g, gpa), 0, HEADER_BYTES);
	make_frame(ram(g, gpa + HEADER_BYTES), number, len);
	put_desc(g, queue, 2 * slot, gpa, HEADER_BYTES, VRING_DESC_F_NEXT);
	put_desc(g, queue, 2 * slot + 1, gpa + HEADER_BYTES, (uint32_t)len, 0);
	publish(g, queue, (uint16_t)(2 * slot));
}

static inline void send_frame(struct guest *g, unsigned queue, uint32_t number, size_t len)
{
	put_frame(g, queue, 0, number, len);
	kick(g, queue);
	wait_used(g, queue, avail_of(g, queue)->idx);
}

/* A buffer for packets; not kicked. */
static inline void offer(struct guest *g, unsigned queue, unsigned slot, uint32_t len)
{
	ck_assert(slot < SLOTS && len <= BUFFER_BYTES);
	put_desc(g, queue, slot, BUFFER_GPA + BUFFER_BYTES * (queue / 2 * SLOTS + slot), len,
		 VRING_DESC_F_WRITE);
	publish(g, queue, (uint16_t)slot);
}

/* As many as any packet may need. */
static inline void offer_all(struct guest *g, unsigned queue)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		offer(g, queue, slot, BUFFER_BYTES);
	kick(g, queue);
}

struct packet {
	uint16_t nbuffers, slot; /* the first buffer's */
	size_t len; /* of the frame */
	const uint8_t *frame;
	uint8_t bytes[HEADER_BYTES + 65536];
};

static inline struct vring_used_elem *used_elem(struct guest *g, unsigned queue, unsigned n)
{
	return &used_of(g, queue)->ring[n % g->v->s->queue[queue].size];
}

static inline void take_buffer(struct guest *g, unsigned queue, struct packet *p, size_t *len)
{
	const struct vring_used_elem *used = used_elem(g, queue, seen[queue]++);
	const struct vring_desc *d = &desc_of(g, queue)[used->id];
	size_t left = used->len;

	for (; left; d = &desc_of(g, queue)[d->next]) {
		size_t n = MIN(left, d->len);

		ck_assert_uint_le(*len + n, sizeof(p->bytes));
		memcpy(p->bytes + *len, ram(g, d->addr), n);
		*len += n;
		left -= n;
	}
}

/* The next packet for the guest, of all its buffers. */
static inline void take_packet(struct guest *g, unsigned queue, struct packet *p)
{
	struct virtio_net_hdr_mrg_rxbuf header;
	size_t len = 0;

	wait_used(g, queue, seen[queue] + 1u);
	p->slot = (uint16_t)used_elem(g, queue, seen[queue])->id;
	take_buffer(g, queue, p, &len);
	ck_assert_uint_ge(len, HEADER_BYTES);
	memcpy(&header, p->bytes, sizeof(header));
	p->nbuffers = le16toh(header.num_buffers);
	ck_assert(p->nbuffers == 1 || virtio_has(g->v, VIRTIO_NET_F_MRG_RXBUF));
	ck_assert(used_reached(g, queue << 16 | (uint16_t)(seen[queue] + p->nbuffers - 1)));
	for (unsigned i = 1; i < p->nbuffers; i++)
		take_buffer(g, queue, p, &len);
	p->frame = p->bytes + HEADER_BYTES;
	p->len = len - HEADER_BYTES;
}

static inline void take_frame(struct guest *g, unsigned queue, uint32_t number, size_t len)
{
	CLEANUP(free) struct packet *p = malloc(sizeof(*p));

	take_packet(g, queue, p);
	ck_assert_uint_eq(p->len, len);
	check_frame(p->frame, number, len);
}

/* The control queue: behind the queues that the driver knows of */

static inline unsigned control_queue(struct guest *g)
{
	return virtio_has(g->v, VIRTIO_NET_F_MQ) ? g->v->nqueues - 1u : 2;
}

/* The answer to these bytes. */
static inline uint8_t ask_control(struct guest *g, const void *bytes, size_t len)
{
	unsigned queue = control_queue(g);
	gpa_t gpa = queue_gpa(queue) + DATA;
	uint8_t *answer = ram(g, gpa + KIB);

	memcpy(ram(g, gpa), bytes, len);
	*answer = NO_ANSWER;
	put_desc(g, queue, 0, gpa, (uint32_t)len, VRING_DESC_F_NEXT);
	put_desc(g, queue, 1, gpa + KIB, 1, VRING_DESC_F_WRITE);
	publish(g, queue, 0);
	kick(g, queue);
	wait_used(g, queue, ++seen[queue]);
	ck_assert_uint_eq(used_elem(g, queue, seen[queue] - 1u)->len, 1);
	return *answer;
}

/* The link */

static inline bool link_is(struct guest *g, unsigned up)
{
	return le16toh(((struct virtio_net_config *)g->v->config)->status) == up;
}

static inline uint8_t generation(struct guest *g)
{
	return (uint8_t)rd(g, g->common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
}

/* The guest is told, once. */
static inline void wait_link(struct guest *g, unsigned up, uint8_t generation_before)
{
	wait_until(g, link_is, up);
	ck_assert_uint_eq(generation(g), (uint8_t)(generation_before + 1));
	ck_assert_uint_eq(interrupts(g, 0), 1);
	ck_assert_uint_eq(status(g), RUNNING);
}

#endif

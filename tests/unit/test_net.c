/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net from the guest's side: options, and packets to and from a tap. */
#include <errno.h>
#include <linux/virtio_ids.h>

#include "check_main.h"
#include "net_tap.h"

static size_t some_length(unsigned n)
{
	return FRAME_MIN + n * 37 % 1400;
}

/* Options */

START_TEST(test_options_are_checked)
{
	static const struct {
		const char *options, *sentence;
	} refused[] = {
		{ "\"num_queues\": 3", "must be even" },
		{ "\"num_queues\": 32", "num_queues" },
		{ "\"queue_size\": 100", "not a power of two" },
		{ "\"queue_size\": 8", "queue_size" },
		{ "\"mac\": \"52:54:00:12:34\"", "not the address of a network card" },
		{ "\"mac\": \"52:54:00:12:34:567\"", "not the address of a network card" },
		{ "\"mac\": \"53:54:00:12:34:56\"", "not the address of a network card" },
		{ "\"mac\": \"52:54:00:12:34:g6\"", "not the address of a network card" },
		{ "\"mac\": \"52:54:00:12:34:-6\"", "not the address of a network card" },
		{ "\"mac\": \"52:54:00:12:34: 6\"", "not the address of a network card" },
		{ "\"mac\": \"\"", "not the address of a network card" },
		{ "\"mtu\": 67", "mtu" },
		{ "\"iommu\": true", "iommu" },
		{ "\"backend\": \"Wire\"", "backend" },
		{ "\"fd\": \"3:4\"", "one number for each pair" },
		{ "\"fd\": \"3\", \"num_queues\": 4", "num_queues=4 that is 2" },
		{ "\"fd\": \"3:\", \"num_queues\": 2", "one number for each pair" },
		{ "\"fd\": \"3:4:\", \"num_queues\": 4", "one number for each pair" },
		{ "\"fd\": \"-1\"", "one number for each pair" },
		{ "\"fd\": \"3:3\", \"num_queues\": 4", "all different" },
		{ "\"mac\": \"00:00:00:00:00:00\"", "not the address of a network card" },
		{ "\"fd\": \"x\"", "one number for each pair" },
		{ "\"fd\": \"\"", "one number for each pair" },
		{ "\"fd\": \"0\"", "fd 0 is no open tap" },
		{ "\"fd\": \"999\"", "fd 999 is no open tap" },
		{ "\"fds\": [3]", "open files come with the request" },
		{ "\"fd\": \"3\", \"tap\": \"x\"", "leave out tap" },
		{ "\"fd\": \"3\", \"ip\": \"10.0.0.1\"", "leave out tap" },
		{ "\"forward\": \"22:22\"", "forward= is passt's" },
		{ "\"tap\": \"sixteen-letters-\"", "no name of an interface" },
		{ "\"tap\": \"\"", "no name of an interface" },
	};
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		snprintf(text, sizeof(text), "{%s}", refused[i].options);
		refuse(text, -EINVAL, refused[i].sentence);
	}
}
END_TEST

START_TEST(test_tap_options_are_checked)
{
	ck_assert(own_network());
	refuse("{\"tap\": \"lo\"}", -EINVAL, "lo is no tap");
	refuse("{\"ip\": \"10.0.0\"}", -EINVAL, "ip=10.0.0 is not an IPv4 address");
	refuse("{\"ip\": \"10.0.0.1\", \"mask\": \"24\"}", -EINVAL, "mask=24 is not");
	refuse("{\"host_mac\": \"1\"}", -EINVAL, "host_mac=1 is not");
	refuse("{\"bridge\": \"bridge0\"}", -ENODEV, "ip link add bridge0 type bridge");
	ck_assert_uint_eq(if_nametoindex("tap0"), 0);
}
END_TEST

START_TEST(test_configuration)
{
	struct guest g;

	tap_power_on(&g, ", \"mac\": \"52:54:00:ab:CD:ef\", \"num_queues\": 4", 0);
	ck_assert_int_eq(memcmp(g.v->config, "\x52\x54\x00\xab\xcd\xef", 6), 0);
	ck_assert_uint_eq(rd(&g, g.config + 6, 2), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(rd(&g, g.config + 8, 2), 2);
	ck_assert_uint_eq(rd(&g, g.config + 10, 2), MTU);
	ck_assert_uint_eq(cfg_rd(&g, PCI_DEVICE_ID, 2), 0x1040 + VIRTIO_ID_NET);
	ck_assert(virtio_has(g.v, VIRTIO_NET_F_MQ) && virtio_has(g.v, VIRTIO_NET_F_MTU));
	tap_power_off(&g);
	tap_power_on(&g, ", \"offload_csum\": false", 0);
	ck_assert(!virtio_has(g.v, VIRTIO_NET_F_MQ));
	ck_assert(!virtio_has(g.v, VIRTIO_NET_F_GUEST_TSO4));
	tap_power_off(&g);
}
END_TEST

/* From the guest */

/* virtio 1.2, 2.7.4: where descriptors begin and end means nothing. */
START_TEST(test_send)
{
	static const uint16_t cuts[][5] = { { 0 }, { 12 }, { 5, 20 }, { 12, 26, 27, 500 } };
	gpa_t gpa = SEND_GPA;
	struct guest g;

	tap_power_on(&g, "", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		unsigned at = 0, n = 0;

		memset(ram(&g, gpa), 0, HEADER_BYTES);
		make_frame(ram(&g, gpa + HEADER_BYTES), i, LONGEST);
		for (; cuts[i][n]; at = cuts[i][n++])
			put_desc(&g, TX, n, gpa + at, cuts[i][n] - at, VRING_DESC_F_NEXT);
		put_desc(&g, TX, n, gpa + at, HEADER_BYTES + LONGEST - at, 0);
		publish(&g, TX, 0);
		kick(&g, TX);
		host_receive(i, LONGEST);
		wait_used(&g, TX, i + 1);
		ck_assert_uint_eq(used_elem(&g, TX, i)->len, 0);
	}
	tap_power_off(&g);
}
END_TEST

/* No header, half a one, no frame, buffers of the wrong direction: lost, and done with. */
START_TEST(test_send_nonsense)
{
	static const uint32_t lens[] = { 0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1 };
	struct guest g;
	unsigned n = 0;

	tap_power_on(&g, "", 0);
	for (; n < ARRAY_SIZE(lens); n++) {
		put_desc(&g, TX, n, SEND_GPA, lens[n], 0);
		publish(&g, TX, (uint16_t)n);
	}
	put_desc(&g, TX, n, SEND_GPA, 100, VRING_DESC_F_WRITE);
	publish(&g, TX, (uint16_t)n++);
	/* A header of rubbish */
	put_frame(&g, TX, 5, 7, 60);
	memset(ram(&g, SEND_GPA + 5 * SEND_BYTES), 0xff, HEADER_BYTES);
	kick(&g, TX);
	wait_used(&g, TX, n + 1);
	send_frame(&g, TX, 8, 60);
	host_receive(8, 60);
	tap_power_off(&g);
}
END_TEST

/* _i: without EVENT_IDX. */
START_TEST(test_send_in_order)
{
	struct guest g;

	tap_power_on(&g, "", _i ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	for (unsigned n = 0; n < 300;) {
		unsigned first = n;

		for (; n < 300 && n - first < SLOTS; n++)
			put_frame(&g, TX, n % SLOTS, n, some_length(n));
		kick(&g, TX);
		for (unsigned i = first; i < n; i++)
			host_receive(i, some_length(i));
		wait_used(&g, TX, n);
	}
	tap_power_off(&g);
}
END_TEST

/* To the guest */

/* What the driver keeps in its queue, each buffer a chain of these lengths. */
static const struct layout {
	const char *options;
	bool mergeable;
	unsigned count, chain[3], nchain, bytes;
} layouts[] = {
	{ "", true, 1, { 80000 }, 1, 80000 },
	{ "", true, 64, { 1526 }, 1, 1526 },
	{ "", true, 64, { 12, 500, 1014 }, 3, 1526 },
	{ "", true, 64, { 5, 7, 1514 }, 3, 1526 },
	{ ", \"queue_size\": 16", true, 16, { 1000 }, 1, 1000 },
	{ "", false, 1, { 10000 }, 1, 10000 },
	{ "", false, 1, { 12, 9088 }, 2, 9100 },
	{ "", false, 64, { 11, 2, 9087 }, 3, 9100 },
};

static void keep_offering(struct guest *g, const struct layout *l)
{
	while ((uint16_t)(avail_of(g, RX)->idx - seen[RX]) < l->count) {
		unsigned slot = avail_of(g, RX)->idx % l->count;
		gpa_t gpa = BUFFER_GPA + slot % 16 * l->bytes % (128 * KIB);

		for (unsigned i = 0; i < l->nchain; gpa += l->chain[i++])
			put_desc(g, RX, slot * l->nchain + i, gpa, l->chain[i],
				 VRING_DESC_F_WRITE | (i + 1 < l->nchain ? VRING_DESC_F_NEXT : 0));
		publish(g, RX, (uint16_t)(slot * l->nchain));
	}
	kick(g, RX);
}

START_TEST(test_receive)
{
	static const size_t lens[] = { FRAME_MIN, 60, 1514, LONGEST, 1515, 1514 };
	CLEANUP(free) struct packet *p = malloc(sizeof(*p));
	const struct layout *l = &layouts[_i];
	struct guest g;

	tap_power_on(&g, l->options, l->mergeable ? 0 : BIT(VIRTIO_NET_F_MRG_RXBUF));
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		size_t all = HEADER_BYTES + lens[i];

		keep_offering(&g, l);
		host_send(i, lens[i]);
		take_packet(&g, RX, p);
		ck_assert_uint_eq(p->len, lens[i]);
		check_frame(p->frame, i, lens[i]);
		ck_assert_uint_eq(p->nbuffers, (all + l->bytes - 1) / l->bytes);
	}
	tap_power_off(&g);
}
END_TEST

/* As a driver does: only if the device wants to know (virtio 1.2, 2.7.10). */
static void kick_if_wanted(struct guest *g, unsigned queue, uint16_t before)
{
	struct vring_used *used = used_of(g, queue);
	uint16_t now = avail_of(g, queue)->idx, event;
	bool wanted;

	atomic_thread_fence(memory_order_seq_cst);
	event = (uint16_t)used->ring[g->v->s->queue[queue].size].id;
	wanted = virtio_has(g->v, VIRTIO_RING_F_EVENT_IDX)
			 ? vring_need_event(event, now, before)
			 : !(used->flags & VRING_USED_F_NO_NOTIFY);
	if (wanted)
		kick(g, queue);
}

static void next_avail_is(struct guest *g, unsigned index)
{
	guest_stop(g);
	wait_until(g, has_stopped, 0);
	ck_assert_uint_eq(g->v->s->queue[RX].next_avail, index);
	ck_assert_uint_eq(used_idx(g, RX), index);
	guest_start(g);
}

/* One buffer at a time, of which it takes many.  _i: without EVENT_IDX. */
START_TEST(test_receive_waits_for_buffers)
{
	struct guest g;

	tap_power_on(&g, "", _i ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	for (unsigned n = 0; n < 3; n++)
		host_send(n, 60);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		offer(&g, RX, slot, BUFFER_BYTES);
		kick_if_wanted(&g, RX, (uint16_t)slot);
		if (slot == 10)
			next_avail_is(&g, 0);
	}
	for (unsigned n = 0; n < 3; n++)
		take_frame(&g, RX, n, 60);
	/* The rest was given back. */
	next_avail_is(&g, 3);
	tap_power_off(&g);
}
END_TEST

/* _i: without mergeable buffers. */
START_TEST(test_receive_in_useless_buffers)
{
	static const uint32_t useless[] = { 0, 1, HEADER_BYTES - 1, 0 };
	struct guest g;

	tap_power_on(&g, "", _i ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		offer(&g, RX, slot,
		      slot < ARRAY_SIZE(useless) ? useless[slot] : (unsigned)BUFFER_BYTES);
	kick(&g, RX);
	host_send(1, 60);
	wait_used(&g, RX, ARRAY_SIZE(useless));
	for (; seen[RX] < ARRAY_SIZE(useless); seen[RX]++)
		ck_assert_uint_eq(used_elem(&g, RX, seen[RX])->len, 0);
	take_frame(&g, RX, 1, 60);
	tap_power_off(&g);
}
END_TEST

/* _i: without EVENT_IDX, without mergeable buffers. */
START_TEST(test_receive_in_order)
{
	CLEANUP(free) struct packet *p = malloc(sizeof(*p));
	uint64_t without = (_i & 1 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
			   (_i & 2 ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
	struct guest g;

	tap_power_on(&g, "", without);
	for (unsigned n = 0; n < 300; n++)
		host_send(n, some_length(n) % 900 + FRAME_MIN);
	offer_all(&g, RX);
	for (unsigned n = 0; n < 300; n++) {
		take_packet(&g, RX, p);
		ck_assert_uint_eq(p->len, some_length(n) % 900 + FRAME_MIN);
		check_frame(p->frame, n, p->len);
		for (unsigned i = 0; i < p->nbuffers; i++)
			offer(&g, RX, (p->slot + i) % SLOTS, BUFFER_BYTES);
		kick(&g, RX);
	}
	tap_power_off(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("net");
	TCase *tc = tcase_create("net");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_options_are_checked);
	if (own_network()) {
		tcase_add_test(tc, test_tap_options_are_checked);
		tcase_add_test(tc, test_configuration);
		tcase_add_test(tc, test_send);
		tcase_add_test(tc, test_send_nonsense);
		tcase_add_loop_test(tc, test_send_in_order, 0, 2);
		tcase_add_loop_test(tc, test_receive, 0, ARRAY_SIZE(layouts));
		tcase_add_loop_test(tc, test_receive_waits_for_buffers, 0, 2);
		tcase_add_loop_test(tc, test_receive_in_useless_buffers, 0, 2);
		tcase_add_loop_test(tc, test_receive_in_order, 0, 4);
	} else {
		printf("skipped: virtio-net on a tap, as taps are not allowed here\n");
	}
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-net that came from elsewhere tells the network, and asks its driver to. */
#include <errno.h>
#include <net/ethernet.h>

#include "check_main.h"
#include "counter_of.h"
#include "log.h"
#include "net.h"
#include "net_tap.h"

enum {
	FRAME_BYTES = 60,
	ROUNDS = 5,
	LONGER_THAN_ALL_MS = 1200,
	MOVED_UP = VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE,
};

static const uint8_t announcement[FRAME_BYTES] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef, 0x80, 0x35,
	0x00, 0x01, 0x08, 0x00, 6,    4,    0x00, 0x03, 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef,
	0,    0,    0,    0,    0x52, 0x54, 0x00, 0xab, 0xcd, 0xef, 0,    0,    0,    0,
};

static int neighbours = -1; /* a packet socket for announcements alone */

static void card_power_on(struct guest *g, const char *options, uint64_t without)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETHERTYPE_REVARP) };
	char text[128];

	snprintf(text, sizeof(text), ", \"mac\": \"52:54:00:ab:cd:ef\", \"vhost\": \"Off\"%s",
		 options);
	tap_power_on(g, text, without);
	address.sll_ifindex = (int)if_nametoindex(TAP);
	neighbours = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(neighbours, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void card_power_off(struct guest *g)
{
	tap_power_off(g);
	close(neighbours);
}

/* So many have come since the last look, and nothing else of that type. */
static void expect_announcements(unsigned n)
{
	uint8_t frame[FRAME_BYTES + 1];
	ssize_t len;

	for (; n; n--) {
		len = recv(neighbours, frame, sizeof(frame), MSG_DONTWAIT);
		ck_assert_int_eq(len, FRAME_BYTES);
		ck_assert_int_eq(memcmp(frame, announcement, FRAME_BYTES), 0);
	}
	ck_assert_int_eq(recv(neighbours, frame, sizeof(frame), MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

static void move(struct guest *g)
{
	struct err e;

	net_stop(g);
	interrupts(g, 0);
	ck_assert_int_eq(device_loaded(&g->v->dev, &e), 0);
	guest_start(g);
}

static bool all_is_said(struct guest *g, unsigned arg)
{
	(void)arg;
	return container_of(g->v, struct net, v)->announce.sent == ROUNDS;
}

static uint8_t acknowledge(struct guest *g)
{
	static const uint8_t command[] = { VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK };

	return ask_control(g, command, sizeof(command));
}

/* _i: a second pair.  One pair says it for both. */
START_TEST(test_moved)
{
	struct guest g;

	card_power_on(&g, _i ? ", \"num_queues\": 4" : "", 0);
	expect_announcements(0);
	move(&g);
	expect_announcements(1);
	wait_until(&g, all_is_said, 0);
	expect_announcements(ROUNDS - 1);
	/* Not the guest's */
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_frames"), 0);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_bytes"), 0);
	guest_run(&g, LONGER_THAN_ALL_MS);
	expect_announcements(0);
	send_frame(&g, TX, 1, 60);
	host_receive(1, 60);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_frames"), 1);
	card_power_off(&g);
}
END_TEST

/* A pause is no move, and ends what a move began. */
START_TEST(test_paused)
{
	struct guest g;

	card_power_on(&g, "", 0);
	net_stop(&g);
	guest_start(&g);
	guest_run(&g, LONGER_THAN_ALL_MS);
	expect_announcements(0);
	ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
	ck_assert_uint_eq(interrupts(&g, 0), 0);

	move(&g);
	expect_announcements(1);
	net_stop(&g);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	guest_start(&g);
	guest_run(&g, LONGER_THAN_ALL_MS);
	expect_announcements(0);
	/* The driver is still asked, and not asked again. */
	ck_assert(link_is(&g, MOVED_UP));
	ck_assert_uint_eq(interrupts(&g, 0), 0);
	card_power_off(&g);
}
END_TEST

START_TEST(test_driver_is_asked)
{
	uint8_t before;
	struct guest g;

	card_power_on(&g, "", 0);
	ck_assert_uint_eq(acknowledge(&g), VIRTIO_NET_OK);
	for (unsigned n = 0; n < 3; n++) {
		before = generation(&g);
		move(&g);
		ck_assert_uint_eq(rd(&g, g.config + 6, 2), MOVED_UP);
		ck_assert_uint_eq(generation(&g), (uint8_t)(before + 1));
		ck_assert_uint_eq(interrupts(&g, 0), 1);
		/* The second time it is moved again before it has answered. */
		if (n == 1)
			continue;
		ck_assert_uint_eq(acknowledge(&g), VIRTIO_NET_OK);
		ck_assert_uint_eq(rd(&g, g.config + 6, 2), VIRTIO_NET_S_LINK_UP);
	}
	move(&g);
	net_drive(&g, g.v->features);
	ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
	card_power_off(&g);
}
END_TEST

/* The card says it alone. */
START_TEST(test_driver_cannot)
{
	struct guest g;

	card_power_on(&g, "", BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	move(&g);
	ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
	ck_assert_uint_eq(interrupts(&g, 0), 0);
	ck_assert_uint_eq(acknowledge(&g), VIRTIO_NET_ERR);
	wait_until(&g, all_is_said, 0);
	expect_announcements(ROUNDS);
	card_power_off(&g);
}
END_TEST

/* A card between two drivers, or before the first */
START_TEST(test_no_driver)
{
	struct guest g;

	card_power_on(&g, "", 0);
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	set_status(&g, ACK | DRIVER);
	set_features(&g, BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	move(&g);
	expect_announcements(1);
	ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
	card_power_off(&g);
}
END_TEST

/* As if the kernel moved the packets: the tap's counts are the guest's but for these. */
START_TEST(test_kernel_counts)
{
	struct guest g;
	struct net *net;

	card_power_on(&g, "", 0);
	net = container_of(g.v, struct net, v);
	move(&g);
	wait_until(&g, all_is_said, 0);
	send_frame(&g, TX, 1, 60);
	host_receive(1, 60);
	net->pair[0].vhost = net->pair[0].packets.fd;
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_frames"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_bytes"), 60);
	net->pair[0].vhost = -1;
	expect_announcements(ROUNDS);
	card_power_off(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("net_announce");
	TCase *tc = tcase_create("net_announce");

	tcase_set_timeout(tc, 60);
	if (own_network()) {
		tcase_add_loop_test(tc, test_moved, 0, 2);
		tcase_add_test(tc, test_paused);
		tcase_add_test(tc, test_driver_is_asked);
		tcase_add_test(tc, test_driver_cannot);
		tcase_add_test(tc, test_no_driver);
		tcase_add_test(tc, test_kernel_counts);
	} else {
		printf("skipped: virtio-net on a tap, as taps are not allowed here\n");
	}
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

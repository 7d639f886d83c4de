/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net's control queue, pairs, offloads and link, on a tap. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

#include "check_main.h"
#include "log.h"
#include "loop_rounds.h"
#include "net_tap.h"

enum {
	FLOWS = 64,
	/* With two pairs */
	RX2 = 2,
	TX2 = 3,
	CONTROL = 4,
};

/* The control queue */

struct net_saved {
	struct virtio_state virtio[1];
	uint16_t pairs, status;
	uint64_t offloads;
};

static uint8_t set_pairs(struct guest *g, uint16_t pairs)
{
	const uint8_t command[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				    pairs & 0xff, (uint8_t)(pairs >> 8) };

	return ask_control(g, command, sizeof(command));
}

static uint8_t set_offloads(struct guest *g, uint64_t offloads)
{
	uint8_t command[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS,
				VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };

	offloads = htole64(offloads);
	memcpy(command + 2, &offloads, sizeof(offloads));
	return ask_control(g, command, sizeof(command));
}

START_TEST(test_control_refuses)
{
	static const uint8_t whole[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2,
					 0 };
	struct net_saved *s;
	struct guest g;

	tap_power_on(&g, ", \"num_queues\": 4", 0);
	s = device_state(&g.v->dev);
	ck_assert_uint_eq(ask_control(&g, "\x20\x00\x00", 3), VIRTIO_NET_ERR);
	ck_assert_uint_eq(ask_control(&g, "\x04\x01\x02\x00", 4), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_pairs(&g, 0), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_pairs(&g, 3), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_pairs(&g, 0x100), VIRTIO_NET_ERR);
	for (size_t len = 0; len < sizeof(whole); len++)
		ck_assert_uint_eq(ask_control(&g, whole, len), VIRTIO_NET_ERR);
	ck_assert_uint_eq(s->pairs, 1);
	/* Nowhere for the answer */
	put_desc(&g, CONTROL, 0, queue_gpa(CONTROL) + DATA, sizeof(whole), 0);
	publish(&g, CONTROL, 0);
	kick(&g, CONTROL);
	wait_used(&g, CONTROL, ++seen[CONTROL]);
	ck_assert_uint_eq(used_elem(&g, CONTROL, seen[CONTROL] - 1u)->len, 0);
	ck_assert_uint_eq(set_pairs(&g, 2), VIRTIO_NET_OK);
	ck_assert_uint_eq(s->pairs, 2);
	/* Without MQ its place is the second pair's. */
	net_drive(&g, g.v->features & ~BIT(VIRTIO_NET_F_MQ));
	ck_assert_uint_eq(s->pairs, 1);
	ck_assert_uint_eq(set_pairs(&g, 2), VIRTIO_NET_ERR);
	ck_assert_uint_eq(s->pairs, 1);
	tap_power_off(&g);
}
END_TEST

/* UDP from one port to another: the kernel chooses the pair by the flow. */
static void host_send_flows(void)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_IP),
				       .sll_ifindex = (int)if_nametoindex(TAP) };
	struct {
		uint8_t ethernet[14];
		struct iphdr ip;
		struct udphdr udp;
	} __attribute__((packed)) f = {
		.ethernet = { 0x52, 0x54, 0, 0, 1, 2, 0x52, 0x54, 0, 0, 3, 4, 8, 0 },
		.ip = { .version = 4, .ihl = 5, .ttl = 1, .protocol = IPPROTO_UDP },
	};

	f.ip.tot_len = htons(sizeof(f.ip) + sizeof(f.udp));
	f.ip.saddr = htonl(0x0a000001);
	f.ip.daddr = htonl(0x0a000002);
	for (unsigned i = 0; i < FLOWS; i++) {
		f.udp.source = htons((uint16_t)(1000 + i));
		f.udp.dest = htons((uint16_t)(2000 + 7 * i));
		ck_assert_int_eq(sendto(host, &f, sizeof(f), 0, (struct sockaddr *)&address,
					sizeof(address)),
				 sizeof(f));
	}
}

static bool flows_came(struct guest *g, unsigned arg)
{
	(void)arg;
	return used_idx(g, RX) + used_idx(g, RX2) == FLOWS;
}

START_TEST(test_pairs)
{
	struct guest g;

	tap_power_on(&g, ", \"num_queues\": 4", 0);
	for (unsigned round = 0; round < 2; round++) {
		offer_all(&g, RX);
		offer_all(&g, RX2);
		host_send_flows();
		wait_until(&g, flows_came, 0);
		ck_assert_uint_eq(used_idx(&g, RX2), 0);

		net_drive(&g, g.v->features);
		ck_assert_uint_eq(set_pairs(&g, 2), VIRTIO_NET_OK);
		offer_all(&g, RX);
		offer_all(&g, RX2);
		host_send_flows();
		wait_until(&g, flows_came, 0);
		ck_assert_uint_gt(used_idx(&g, RX), 0);
		ck_assert_uint_gt(used_idx(&g, RX2), 0);
		send_frame(&g, TX2, 1, 60);
		host_receive(1, 60);
		send_frame(&g, TX, 2, 60);
		host_receive(2, 60);
		net_drive(&g, g.v->features);
	}
	tap_power_off(&g);
}
END_TEST

static uint32_t offload_of_tap(uint32_t command)
{
	struct ethtool_value value = { .cmd = command };
	struct ifreq ifr = { .ifr_name = TAP, .ifr_data = (char *)&value };

	ck_assert_int_eq(ioctl(host, SIOCETHTOOL, &ifr), 0);
	return value.data;
}

static bool tso_is(struct guest *g, unsigned on)
{
	(void)g;
	return !offload_of_tap(ETHTOOL_GTSO) == !on;
}

START_TEST(test_offloads)
{
	const uint64_t csum = BIT(VIRTIO_NET_F_GUEST_CSUM), tso4 = BIT(VIRTIO_NET_F_GUEST_TSO4);
	struct guest g;

	tap_power_on(&g, "", BIT(VIRTIO_NET_F_GUEST_UFO));
	wait_until(&g, tso_is, true);
	ck_assert_uint_eq(set_offloads(&g, csum), VIRTIO_NET_OK);
	ck_assert(tso_is(&g, false));
	ck_assert(offload_of_tap(ETHTOOL_GTXCSUM));
	/* Not negotiated: nothing changes. */
	ck_assert_uint_eq(set_offloads(&g, BIT(VIRTIO_NET_F_GUEST_UFO)), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_offloads(&g, BIT(VIRTIO_NET_F_MAC)), VIRTIO_NET_ERR);
	ck_assert_uint_eq(set_offloads(&g, UINT64_MAX), VIRTIO_NET_ERR);
	ck_assert(offload_of_tap(ETHTOOL_GTXCSUM));
	ck_assert_uint_eq(set_offloads(&g, csum | tso4), VIRTIO_NET_OK);
	ck_assert(tso_is(&g, true));
	ck_assert_uint_eq(set_offloads(&g, 0), VIRTIO_NET_OK);
	ck_assert(!offload_of_tap(ETHTOOL_GTXCSUM));
	/* All again after a reset, none if none was negotiated. */
	net_drive(&g, g.v->features);
	wait_until(&g, tso_is, true);
	net_drive(&g, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CTRL_VQ));
	wait_until(&g, tso_is, false);
	ck_assert_uint_eq(set_offloads(&g, 0), VIRTIO_NET_ERR);
	tap_power_off(&g);
}
END_TEST

/* A set that the kernel refuses, as it makes no sense, does not leave what was before. */
START_TEST(test_offloads_without_sense)
{
	struct guest g;

	tap_power_on(&g, "", 0);
	wait_until(&g, tso_is, true);
	ck_assert_uint_eq(set_offloads(&g, BIT(VIRTIO_NET_F_GUEST_ECN)), VIRTIO_NET_OK);
	ck_assert(tso_is(&g, false));
	tap_power_off(&g);
}
END_TEST

/* The link */

static void tap_set_up(bool up)
{
	CLEANUP(fd) int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = TAP };

	ck_assert_int_eq(ioctl(sock, SIOCGIFFLAGS, &ifr), 0);
	ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
	ck_assert_int_eq(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
}

static void tap_remove(void)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = RTM_DELLINK,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info = { .ifi_index = (int)if_nametoindex(TAP) },
	};
	CLEANUP(fd) int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	ck_assert_int_eq(send(netlink, &request, sizeof(request), 0), sizeof(request));
	ck_assert_int_gt(recv(netlink, &request, sizeof(request), 0), 0);
	ck_assert_uint_eq(if_nametoindex(TAP), 0);
}

START_TEST(test_link_follows_the_tap)
{
	struct guest g;

	tap_power_on(&g, "", 0);
	offer_all(&g, RX);
	for (unsigned n = 0; n < 3; n++) {
		uint8_t before = generation(&g);

		ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
		tap_set_up(false);
		wait_link(&g, 0, before);
		/* Lost, as without a cable */
		send_frame(&g, TX, 100, 60);
		tap_set_up(true);
		wait_link(&g, VIRTIO_NET_S_LINK_UP, (uint8_t)(before + 1));
		/* The socket was told, too. */
		recv(host, &before, 1, MSG_DONTWAIT);
		send_frame(&g, TX, n, 60);
		host_receive(n, 60);
		host_send(n, 60);
		take_frame(&g, RX, n, 60);
	}
	tap_power_off(&g);
}
END_TEST

/* What happened in the meantime is seen at the start. */
START_TEST(test_link_changes_while_stopped)
{
	struct guest g;

	tap_power_on(&g, "", BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	((struct net_saved *)device_state(&g.v->dev))->status = 0;
	ck_assert_int_eq(device_loaded(&g.v->dev, &(struct err){ "" }), 0);
	ck_assert(link_is(&g, 0));
	guest_start(&g);
	wait_link(&g, VIRTIO_NET_S_LINK_UP, 0);
	tap_power_off(&g);
}
END_TEST

START_TEST(test_tap_is_removed)
{
	struct guest g;

	tap_power_on(&g, ", \"num_queues\": 4", 0);
	offer_all(&g, RX);
	tap_remove();
	wait_link(&g, 0, 0);
	for (unsigned n = 0; n < 3; n++) {
		send_frame(&g, TX, n, 60);
		kick(&g, RX);
		ck_assert_uint_eq(set_pairs(&g, 2), VIRTIO_NET_OK);
		send_frame(&g, TX2, n, 60);
		net_drive(&g, g.v->features);
		offer_all(&g, RX);
		ck_assert(link_is(&g, 0));
		net_stop(&g);
		guest_start(&g);
	}
	ck_assert_uint_eq(used_idx(&g, RX), 0);
	/* Nothing is left that keeps a thread awake. */
	atomic_store(&loop_rounds, 0);
	guest_run(&g, 100);
	ck_assert_uint_lt(loop_rounds, ROUNDS_MAX);
	close(host);
	power_off(&g);
}
END_TEST

START_TEST(test_loaded)
{
	struct net_saved *s, saved;
	struct guest g;
	struct err e;

	tap_power_on(&g, ", \"num_queues\": 4", 0);
	ck_assert_uint_eq(set_pairs(&g, 2), VIRTIO_NET_OK);
	net_stop(&g);
	s = device_state(&g.v->dev);
	saved = *s;
	for (unsigned pairs = 0; pairs <= 3; pairs += 3) {
		s->pairs = (uint16_t)pairs;
		ck_assert_int_eq(device_loaded(&g.v->dev, &e), -EINVAL);
		ck_assert_ptr_nonnull(strstr(e.text, "the device has 2"));
	}
	*s = saved;
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), 0);
	guest_start(&g);
	send_frame(&g, TX2, 1, 60);
	host_receive(1, 60);
	tap_power_off(&g);
}
END_TEST

/* Taps that somebody else opened */

static int open_tap(unsigned flags)
{
	struct ifreq ifr = { .ifr_name = TAP, .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR);

	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static void use_both_pairs(struct guest *g)
{
	net_drive(g, g->v->features);
	ck_assert_uint_eq(set_pairs(g, 2), VIRTIO_NET_OK);
	offer_all(g, RX);
	offer_all(g, RX2);
	host_send_flows();
	wait_until(g, flows_came, 0);
	ck_assert_uint_gt(used_idx(g, RX2), 0);
	send_frame(g, TX2, 3, 60);
	host_receive(3, 60);
	ck_assert_uint_eq(set_pairs(g, 1), VIRTIO_NET_OK);
}

/* _i: a second pair.  A card that is gone leaves all as it was, for the next. */
START_TEST(test_fd)
{
	unsigned flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (_i ? IFF_MULTI_QUEUE : 0);
	char options[64];
	int fd[2];

	ck_assert(own_network());
	fd[0] = open_tap(flags);
	fd[1] = _i ? open_tap(flags) : -1;
	tap_set_up(true);
	snprintf(options, sizeof(options),
		 _i ? "{\"fd\": \"%d:%d\", \"num_queues\": 4}" : "{\"fd\": \"%d\"}", fd[0], fd[1]);
	for (unsigned life = 0; life < 3; life++) {
		struct guest g;

		host_open();
		power_on(&g, options, 0);
		ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
		offer_all(&g, RX);
		send_frame(&g, TX, 1, 60);
		host_receive(1, 60);
		host_send(2, 60);
		take_frame(&g, RX, 2, 60);
		if (_i)
			use_both_pairs(&g);
		tap_power_off(&g);
	}
	/* Nobody else has them open. */
	close(fd[0]);
	if (_i)
		close(fd[1]);
	ck_assert_uint_eq(if_nametoindex(TAP), 0);
}
END_TEST

START_TEST(test_fd_is_checked)
{
	static const struct {
		unsigned flags;
		const char *sentence;
	} refused[] = {
		{ IFF_TAP | IFF_NO_PI, "must be opened with IFF_VNET_HDR and IFF_NO_PI" },
		{ IFF_TAP | IFF_VNET_HDR, "must be opened with IFF_VNET_HDR and IFF_NO_PI" },
		{ IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "is no open tap" },
	};

	ck_assert(own_network());
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		int fd = open_tap(refused[i].flags);
		char options[32];

		snprintf(options, sizeof(options), "{\"fd\": \"%d\"}", fd);
		refuse(options, -EINVAL, refused[i].sentence);
		/* It is still ours. */
		ck_assert_int_eq(close(fd), 0);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("net_control");
	TCase *tc = tcase_create("net_control");

	log_set_level(LOG_ERROR); /* that a link goes down is no news here */
	tcase_set_timeout(tc, 60);
	if (own_network()) {
		tcase_add_test(tc, test_control_refuses);
		tcase_add_test(tc, test_pairs);
		tcase_add_test(tc, test_offloads);
		tcase_add_test(tc, test_offloads_without_sense);
		tcase_add_test(tc, test_link_follows_the_tap);
		tcase_add_test(tc, test_link_changes_while_stopped);
		tcase_add_test(tc, test_tap_is_removed);
		tcase_add_test(tc, test_loaded);
		tcase_add_loop_test(tc, test_fd, 0, 2);
		tcase_add_test(tc, test_fd_is_checked);
	} else {
		printf("skipped: virtio-net on a tap, as taps are not allowed here\n");
	}
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

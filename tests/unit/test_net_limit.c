/* SPDX-License-Identifier: Apache-2.0 */
/* A network card under limits, on a tap in a network of the test's own; nothing without one. */
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include "check_main.h"
#include "cleanup.h"
#include "counter_of.h"
#include "net.h"
#include "own_network.h"
#include "virtio_guest.h"

extern const struct device_class virtio_net_class;

/* Nothing comes back while the test lasts: the bucket and one packet, which is in debt, pass. */
#define NEVER_MS "4611686018427"
#define FOUR_OPS "{\"ops\": {\"size\": 4, \"refill_time\": " NEVER_MS "}}"

enum {
	RX = 0,
	TX = 1,
	FOUR_PASS = 5,
	QUIET_MS = 30,
	LOOKS = 20,
	PACKETS = 12,
	PACKET_BYTES = 100, /* without its header */
	BUFFER_BYTES = 2048,
};

static struct guest g;
static json_t *options;
static int wire = -1; /* the host's side of the tap */
static struct virtio_class counting;
static const struct virtio_class *counted;
static atomic_uint kicks;

static void count_kick(struct virtio_device *v, struct virtqueue *vq)
{
	kicks++;
	counted->kick(v, vq);
}

static void open_wire(void)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htobe16(ETH_P_802_EX1),
				  .sll_ifindex = (int)if_nametoindex("tap0") };

	wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, to.sll_protocol);
	ck_assert_int_ge(wire, 0);
	ck_assert_int_eq(bind(wire, (struct sockaddr *)&to, sizeof(to)), 0);
}

static bool card_on(const char *limits)
{
	const struct guest_mem_config config = { .size_bytes = RAM_BYTES };
	struct err e = { "" };
	struct device *dev;
	char text[256];

	if (!own_network())
		return false;
	snprintf(text, sizeof(text), "{\"tap\": \"tap0\", \"rate_limiter_config\": %s}", limits);
	options = json_loads(text, 0, NULL);
	g = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&g.loop, &e), 0);
	ck_assert_int_eq(vm_init(&g.vm, -1, g.loop, 2, &e), 0);
	ck_assert_int_eq(guest_mem_new(&g.vm.mem, &config, &e), 0);
	loop_set_lock(g.loop, &g.vm.lock);
	g.vm.pci = &g.bus;
	ck_assert_msg(!device_new(&dev, &virtio_net_class, "net0", &g.vm, options, &e), "%s",
		      e.text);
	g.v = container_of(dev, struct virtio_device, dev);
	find_capabilities(&g);
	counted = g.v->class;
	counting = *counted;
	counting.kick = count_kick;
	g.v->class = &counting;
	guest_start(&g);
	drive(&g);
	open_wire();
	return true;
}

static void card_off(void)
{
	close(wire);
	guest_free(&g);
	json_decref(options);
}

static void change(const char *limits)
{
	json_t *config = json_loads(limits, 0, NULL);
	struct limiter_config c = { 0 };
	struct err e = { "" };

	ck_assert_int_eq(option_load(&rate_limit_config_options, "test", config, &c, &e), 0);
	json_decref(config);
	pthread_mutex_lock(&g.vm.lock);
	ck_assert_int_eq(rate_limit_change(&g.vm, "net0", &c, &e), 0);
	pthread_mutex_unlock(&g.vm.lock);
}

static void stands_still_at(unsigned queue, unsigned used)
{
	unsigned before = 0;

	wait_until(&g, used_is, queue << 16 | used);
	/* A kick may still be on its way; who spins never rests. */
	for (unsigned look = 0; look < LOOKS; look++) {
		before = kicks;
		guest_run(&g, QUIET_MS);
		if (kicks == before)
			break;
	}
	ck_assert_uint_eq(kicks, before);
	ck_assert_uint_eq(used_idx(&g, queue), used);
}

static gpa_t buffer(unsigned queue, unsigned slot)
{
	return queue_gpa(queue) + DATA + BUFFER_BYTES * slot;
}

static void guest_offers(void)
{
	for (unsigned slot = 0; slot < PACKETS; slot++) {
		desc_of(&g, RX)[slot] = (struct vring_desc){ .addr = buffer(RX, slot),
							     .len = BUFFER_BYTES,
							     .flags = VRING_DESC_F_WRITE };
		publish(&g, RX, (uint16_t)slot);
	}
	kick(&g, RX);
}

static void make_packet(uint8_t packet[PACKET_BYTES], unsigned number)
{
	memset(packet, 0, PACKET_BYTES);
	memset(packet, 0xff, ETH_ALEN);
	memcpy(packet + ETH_ALEN, "\x52\x54\x00\x12\x34\x56", ETH_ALEN);
	packet[ETH_HLEN - 2] = ETH_P_802_EX1 >> 8;
	packet[ETH_HLEN - 1] = ETH_P_802_EX1 & 0xff;
	packet[ETH_HLEN] = (uint8_t)number;
}

static void guest_sends(void)
{
	for (unsigned slot = 0; slot < PACKETS; slot++) {
		desc_of(&g,
			TX)[slot] = (struct vring_desc){ .addr = buffer(TX, slot),
							 .len = TAP_HEADER_BYTES + PACKET_BYTES };
		make_packet((uint8_t *)ram(&g, buffer(TX, slot)) + TAP_HEADER_BYTES, slot);
		publish(&g, TX, (uint16_t)slot);
	}
	kick(&g, TX);
}

static void host_sends(void)
{
	uint8_t packet[PACKET_BYTES];

	for (unsigned i = 0; i < PACKETS; i++) {
		make_packet(packet, i);
		ck_assert_int_eq(send(wire, packet, sizeof(packet), 0), sizeof(packet));
	}
}

static void host_has_received(unsigned n)
{
	struct pollfd p = { .fd = wire, .events = POLLIN };
	uint8_t packet[PACKET_BYTES];

	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
		ck_assert_int_eq(recv(wire, packet, sizeof(packet), 0), sizeof(packet));
		ck_assert_uint_eq(packet[ETH_HLEN], i);
	}
	ck_assert_int_lt(recv(wire, packet, sizeof(packet), 0), 0);
}

static void guest_has_received(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *packet = ram(&g, buffer(RX, i));

		ck_assert_uint_eq(used_of(&g, RX)->ring[i].id, i);
		ck_assert_uint_eq(used_of(&g, RX)->ring[i].len, TAP_HEADER_BYTES + PACKET_BYTES);
		ck_assert_uint_eq(packet[TAP_HEADER_BYTES + ETH_HLEN], i);
	}
}

static struct net_pair *pair(void)
{
	return &container_of(g.v, struct net, v)->pair[0];
}

START_TEST(sending_waits)
{
	if (!card_on(FOUR_OPS))
		return;
	guest_sends();
	stands_still_at(TX, FOUR_PASS);
	ck_assert_uint_ge(counter_of(&g.vm, "net0", "tx_throttled"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "rx_throttled"), 0);
	change(FOUR_OPS);
	stands_still_at(TX, 2 * FOUR_PASS);
	change("{}");
	wait_until(&g, used_is, TX << 16 | PACKETS);
	host_has_received(PACKETS);
	card_off();
}
END_TEST

START_TEST(receiving_waits)
{
	if (!card_on(FOUR_OPS))
		return;
	guest_offers();
	host_sends();
	stands_still_at(RX, FOUR_PASS);
	ck_assert_uint_ge(counter_of(&g.vm, "net0", "rx_throttled"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_throttled"), 0);
	/* Packets are there, and nobody looks. */
	ck_assert(!pair()->packets.active);
	kick(&g, RX);
	stands_still_at(RX, FOUR_PASS);
	ck_assert(!pair()->packets.active);
	change("{}");
	wait_until(&g, used_is, RX << 16 | PACKETS);
	guest_has_received(PACKETS);
	card_off();
}
END_TEST

/* Packets with their headers: two fill the bucket, and one more is in debt. */
START_TEST(each_direction_has_its_own)
{
	if (!card_on("{\"bandwidth\": {\"size\": 224, \"refill_time\": " NEVER_MS "}}"))
		return;
	guest_offers();
	host_sends();
	stands_still_at(RX, 3);
	guest_has_received(3);
	guest_sends();
	stands_still_at(TX, 3);
	stands_still_at(RX, 3);
	change("{}");
	wait_until(&g, used_is, RX << 16 | PACKETS);
	wait_until(&g, used_is, TX << 16 | PACKETS);
	card_off();
}
END_TEST

START_TEST(all_pass_in_order)
{
	if (!card_on("{\"ops\": {\"size\": 1, \"refill_time\": 1}}"))
		return;
	guest_offers();
	host_sends();
	wait_until(&g, used_is, RX << 16 | PACKETS);
	guest_has_received(PACKETS);
	guest_sends();
	wait_until(&g, used_is, TX << 16 | PACKETS);
	card_off();
}
END_TEST

START_TEST(stop_does_not_wait)
{
	if (!card_on(FOUR_OPS))
		return;
	guest_offers();
	host_sends();
	guest_sends();
	stands_still_at(RX, FOUR_PASS);
	stands_still_at(TX, FOUR_PASS);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	ck_assert_uint_eq(g.v->s->queue[RX].next_avail, FOUR_PASS);
	ck_assert_uint_eq(g.v->s->queue[TX].next_avail, FOUR_PASS);
	guest_start(&g);
	stands_still_at(RX, FOUR_PASS);
	stands_still_at(TX, FOUR_PASS);
	change("{}");
	wait_until(&g, used_is, RX << 16 | PACKETS);
	wait_until(&g, used_is, TX << 16 | PACKETS);
	guest_has_received(PACKETS);
	card_off();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("net_limit");
	TCase *tc = tcase_create("net_limit");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, sending_waits);
	tcase_add_test(tc, receiving_waits);
	tcase_add_test(tc, each_direction_has_its_own);
	tcase_add_test(tc, all_pass_in_order);
	tcase_add_test(tc, stop_does_not_wait);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

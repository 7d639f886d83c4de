/* SPDX-License-Identifier: Apache-2.0 */
/* What a network card on a tap counts, also of packets that the kernel moves past the monitor. */
#include "check_main.h"
#include "counter_of.h"
#include "net.h"
#include "net_tap.h"

enum { SENT = 3, RECEIVED = 2, LEN = 100 };

static const char *const frames_and_bytes[] = { "rx_frames", "rx_bytes", "tx_frames", "tx_bytes" };
static const uint64_t expected[] = { RECEIVED, RECEIVED *LEN, SENT, SENT *LEN };

static struct net *net_of(struct guest *g)
{
	return container_of(g->v, struct net, v);
}

/* One for each frame. */
static uint64_t timed(struct guest *g, const char *device, const char *name)
{
	struct counter_readings all = { 0 };
	uint64_t ops = 0;

	ck_assert_int_eq(counters_read(&g->vm, &all), 0);
	for (size_t i = 0; i < all.n; i++)
		for (size_t k = 0;
		     !strcmp(all.reading[i].id, device) && k < all.reading[i].table->n; k++)
			if (!strcmp(all.reading[i].table->counter[k].name, name))
				ops += latency_ops(counter_latency(
					&all.reading[i], &all.reading[i].table->counter[k]));
	counters_free(&all);
	return ops;
}

static void check_counts(struct guest *g)
{
	for (unsigned i = 0; i < ARRAY_SIZE(expected); i++)
		ck_assert_msg(counter_of(&g->vm, "net0", frames_and_bytes[i]) == expected[i], "%s",
			      frames_and_bytes[i]);
}

static void traffic(struct guest *g)
{
	offer_all(g, RX);
	for (unsigned n = 0; n < SENT; n++) {
		send_frame(g, TX, n, LEN);
		host_receive(n, LEN);
	}
	for (unsigned n = 0; n < RECEIVED; n++) {
		host_send(n, LEN);
		take_frame(g, RX, n, LEN);
	}
}

START_TEST(test_tap)
{
	uint64_t before_ns = loop_now_ns(), first_ns;
	struct guest g;

	tap_power_on(&g, ", \"num_queues\": 4, \"vhost\": \"Off\"", 0);
	ck_assert_uint_eq(g.vm.arrival.first_frame_ns, 0);
	traffic(&g);
	check_counts(&g);
	ck_assert_uint_eq(timed(&g, "net0", "rx_latency"), RECEIVED);
	ck_assert_uint_eq(timed(&g, "net0", "tx_latency"), SENT);
	first_ns = g.vm.arrival.first_frame_ns;
	ck_assert(first_ns > before_ns && first_ns < loop_now_ns());
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_dropped"), 0);
	/* No frame. */
	put_desc(&g, TX, 0, SEND_GPA, HEADER_BYTES + 1, 0);
	publish(&g, TX, 0);
	kick(&g, TX);
	wait_used(&g, TX, avail_of(&g, TX)->idx);
	check_counts(&g);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_dropped"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "rx_dropped"), 0);
	tap_power_off(&g);
}
END_TEST

/* As if the kernel had moved some packets: a card with its fd asks the tap how many there were. */
START_TEST(test_kernel_moves_some)
{
	struct net_counters *c;
	struct guest g;
	struct net *net;

	tap_power_on(&g, ", \"vhost\": \"Off\"", 0);
	net = net_of(&g);
	traffic(&g);
	c = net->pair[0].rx_counters;
	counter_set(&c->rx_frames, 0);
	counter_set(&c->rx_bytes, 0);
	c = net->pair[0].tx_counters;
	counter_set(&c->tx_frames, 1);
	counter_set(&c->tx_bytes, LEN);
	net->pair[0].vhost = net->pair[0].packets.fd;
	for (unsigned looks = 0; looks < 3; looks++)
		check_counts(&g);
	/* What was there before the card is not its. */
	net->tap_before = (struct tap_counts){ SENT * LEN, SENT, RECEIVED * LEN, RECEIVED };
	for (unsigned i = 0; i < ARRAY_SIZE(expected); i++)
		ck_assert_uint_eq(counter_of(&g.vm, "net0", frames_and_bytes[i]), 0);
	net->pair[0].vhost = -1;
	tap_power_off(&g);
}
END_TEST

/* Nothing is better than a number that is wrong. */
START_TEST(test_unknown_to_the_monitor)
{
	struct tap_counts counts;
	struct guest g;
	struct net *net;
	uint64_t value;
	char options[64];
	int fd;

	tap_power_on(&g, ", \"vhost\": \"Off\"", 0);
	fd = dup(net_of(&g)->pair[0].packets.fd);
	tap_power_off(&g);
	snprintf(options, sizeof(options), "{\"fd\": \"%d\", \"vhost\": \"Off\"}", fd);
	power_on(&g, options, 0);
	net = net_of(&g);
	ck_assert_int_eq(tap_count(net->tap, &counts), -ENOTSUP);
	ck_assert(counter_find(&g.vm, "net0", "rx_frames", &value));
	net->pair[0].vhost = fd;
	ck_assert(!counter_find(&g.vm, "net0", "rx_frames", &value));
	net->pair[0].vhost = -1;
	power_off(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("net_counters");
	TCase *tc = tcase_create("net_counters");

	tcase_set_timeout(tc, 60);
	if (own_network()) {
		tcase_add_test(tc, test_tap);
		tcase_add_test(tc, test_kernel_moves_some);
		tcase_add_test(tc, test_unknown_to_the_monitor);
	} else {
		printf("skipped: counters of a tap, as taps are not allowed here\n");
	}
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

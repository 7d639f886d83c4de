/* SPDX-License-Identifier: Apache-2.0 */
/* Queues on their way to I/O threads and back, and guests that lie to them. */
#include "check_main.h"
#include "counter_of.h"
#include "classes.h"
#include "virtio_guest.h"

enum { LIVE = ACK | DRIVER | FEATURES_OK | DRIVER_OK, QUIET_MS = 20 };

static struct guest g;

static void setup(void)
{
	guest_new(&g, &probe_class);
}

static void setup_rng(void)
{
	guest_new(&g, &virtio_rng_class);
}

static void teardown(void)
{
	guest_free(&g);
}

static void used_will_be(unsigned queue, unsigned idx)
{
	wait_until(&g, used_is, queue << 16 | idx);
}

static bool back_and_status_is(struct guest *guest, unsigned value)
{
	return is_back(guest, 0) && status_is(guest, value);
}

START_TEST(test_requests)
{
	g.event_idx = _i;
	guest_start(&g);
	drive(&g);
	for (unsigned i = 0; i < QUEUES; i++) {
		ask(&g, i, 0, "HAL");
		ask(&g, i, 1, "hello");
		kick(&g, i);
		used_will_be(i, 2);
		ck_assert_str_eq(answer(&g, i, 0), "IBM");
		ck_assert_str_eq(answer(&g, i, 1), "ifmmp");
		ck_assert_uint_eq(used_of(&g, i)->ring[1].id, 2);
		ck_assert_uint_eq(used_of(&g, i)->ring[1].len, 5);
		wait_until(&g, has_interrupt, i + 1);
	}
	ck_assert_uint_eq(interrupts(&g, 0), 0);
	ck_assert_uint_eq(g.p->started, QUEUES);
}
END_TEST

START_TEST(test_threads_share_queues)
{
	guest_start(&g);
	drive(&g);
	for (unsigned i = 0; i < QUEUES; i++) {
		ask(&g, i, 0, "a");
		kick(&g, i);
		used_will_be(i, 1);
	}
	ck_assert_str_ne(g.p->queue[0].thread, g.p->queue[1].thread);
	ck_assert_str_eq(g.p->queue[0].thread, g.p->queue[2].thread);
	ck_assert(!strncmp(g.p->queue[0].thread, "_io", 3));
}
END_TEST

START_TEST(test_no_interrupt_without_vector)
{
	guest_start(&g);
	drive(&g);
	select_queue(&g, 0);
	wr(&g, g.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, MSIX_NO_VECTOR);
	ask(&g, 0, 0, "a");
	kick(&g, 0);
	used_will_be(0, 1);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	ck_assert_uint_eq(interrupts(&g, 1), 0);
	ck_assert_uint_eq(rd(&g, g.isr, 1), 1);
	ck_assert_uint_eq(rd(&g, g.isr, 1), 0);
}
END_TEST

START_TEST(test_queue_enabled_late)
{
	guest_start(&g);
	set_status(&g, ACK | DRIVER);
	set_features(&g, BIT(VIRTIO_F_VERSION_1));
	set_status(&g, LIVE);
	/* Kicks for a queue that is not enabled. */
	for (unsigned i = 0; i < 3; i++)
		kick(&g, 1);
	guest_run(&g, QUIET_MS);
	ck_assert_uint_eq(g.v->handed_over, 0);
	ask(&g, 1, 0, "late");
	setup_queue(&g, 1, queue_gpa(1));
	setup_queue(&g, 1, queue_gpa(2));
	ck_assert_uint_eq(g.v->handed_over, 1);
	used_will_be(1, 1);
	ck_assert_uint_eq(g.p->started, 1);
}
END_TEST

/* DRIVER_OK while stopped: the queues go out at start, and what waits in them is found. */
START_TEST(test_start)
{
	drive(&g);
	ask(&g, 2, 0, "z");
	kick(&g, 2);
	guest_run(&g, QUIET_MS);
	ck_assert_uint_eq(g.v->handed_over, 0);
	ck_assert_uint_eq(g.p->started, 0);
	guest_start(&g);
	used_will_be(2, 1);
}
END_TEST

START_TEST(test_stop_waits)
{
	guest_start(&g);
	drive(&g);
	g.p->hold = true;
	ask(&g, 0, 0, "a");
	kick(&g, 0);
	wait_until(&g, popped_is, 1);
	guest_stop(&g);
	ask(&g, 0, 1, "b");
	kick(&g, 0);
	guest_run(&g, QUIET_MS);
	ck_assert(!g.stopped);
	ck_assert_uint_eq(g.v->handed_over, 1);
	release(&g, 0);
	wait_until(&g, has_stopped, 0);
	ck_assert_uint_eq(used_idx(&g, 0), 1);
	ck_assert_uint_eq(g.p->stopped, QUEUES);
	ck_assert_uint_eq(g.v->s->queue[0].next_avail, 1);
	ck_assert_uint_eq(g.v->s->queue[0].next_used, 1);
	ck_assert_uint_eq(status(&g), LIVE);
	guest_start(&g);
	used_will_be(0, 2);
}
END_TEST

START_TEST(test_reset_waits)
{
	guest_start(&g);
	drive(&g);
	g.p->hold = true;
	ask(&g, 1, 0, "a");
	kick(&g, 1);
	wait_until(&g, popped_is, 1);
	set_status(&g, 0);
	ck_assert_uint_eq(status(&g), LIVE);
	guest_run(&g, QUIET_MS);
	ck_assert_uint_eq(status(&g), LIVE);
	/* Nothing else is heard meanwhile. */
	set_status(&g, 0);
	set_status(&g, ACK);
	release(&g, 1);
	wait_until(&g, back_and_status_is, 0);
	ck_assert_uint_eq(status(&g), 0);
	ck_assert_uint_eq(g.v->s->config_vector, MSIX_NO_VECTOR);
	ck_assert(!g.v->s->queue[1].enabled);
	drive(&g);
	ask(&g, 1, 0, "b");
	kick(&g, 1);
	used_will_be(1, 1);
}
END_TEST

START_TEST(test_stop_during_reset)
{
	guest_start(&g);
	drive(&g);
	g.p->hold = true;
	ask(&g, 1, 0, "a");
	kick(&g, 1);
	wait_until(&g, popped_is, 1);
	if (_i)
		guest_stop(&g);
	set_status(&g, 0);
	if (!_i)
		guest_stop(&g);
	guest_run(&g, QUIET_MS);
	ck_assert(!g.stopped);
	release(&g, 1);
	wait_until(&g, has_stopped, 0);
	ck_assert_uint_eq(status(&g), 0);
	ck_assert_uint_eq(g.p->stopped, QUEUES);
	guest_start(&g);
	drive(&g);
	ask(&g, 0, 0, "b");
	kick(&g, 0);
	used_will_be(0, 1);
}
END_TEST

START_TEST(test_bus_master)
{
	guest_start(&g);
	drive(&g);
	cfg_wr(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	wait_until(&g, is_back, 0);
	ask(&g, 0, 0, "a");
	kick(&g, 0);
	guest_run(&g, QUIET_MS);
	ck_assert_uint_eq(used_idx(&g, 0), 0);
	cfg_wr(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	used_will_be(0, 1);
	/* Off and on again at once: all queues go back and come again. */
	cfg_wr(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	cfg_wr(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ask(&g, 1, 0, "b");
	used_will_be(1, 1);
}
END_TEST

static bool refused_is(struct guest *guest, unsigned n)
{
	return guest->p->refused == n;
}

START_TEST(test_queue_start_fails)
{
	guest_start(&g);
	g.p->fail_start = true;
	drive(&g);
	wait_until(&g, status_is, LIVE | NEEDS_RESET);
	wait_until(&g, refused_is, QUEUES);
	ck_assert_uint_ge(interrupts(&g, 0), 1);
	g.p->fail_start = false;
	set_status(&g, 0);
	wait_until(&g, back_and_status_is, 0);
	ck_assert_uint_eq(g.p->stopped, 0);
	drive(&g);
	ask(&g, 0, 0, "a");
	kick(&g, 0);
	used_will_be(0, 1);
}
END_TEST

/* A device of the same kind in a new process takes over what this one left. */
START_TEST(test_move)
{
	struct guest to;
	struct guest_mem *own;
	struct err e;

	guest_start(&g);
	drive(&g);
	ask(&g, 0, 0, "a");
	kick(&g, 0);
	used_will_be(0, 1);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	/* A kick that nobody hears. */
	ask(&g, 0, 1, "b");
	kick(&g, 0);
	ck_assert_int_eq(device_fetch(&g.v->dev, &e), 0);
	guest_new(&to, &probe_class);
	own = to.vm.mem;
	to.vm.mem = g.vm.mem;
	to.p->s = g.p->s;
	ck_assert_msg(!device_loaded(&to.v->dev, &e), "%s", e.text);
	ck_assert_uint_eq(to.v->s->msix[0].pending, BIT(1));
	guest_start(&to);
	wait_until(&to, used_is, 2);
	ck_assert_str_eq(answer(&to, 0, 1), "c");
	guest_stop(&to);
	wait_until(&to, has_stopped, 0);
	ck_assert_uint_eq(interrupts(&to, 1), 1);
	to.vm.mem = own;
	guest_free(&to);
}
END_TEST

/* Guests that lie */

static void lie_head(void)
{
	publish(&g, 0, QUEUE_SIZE);
}

static void lie_loop(void)
{
	desc_of(&g, 0)[0] = (struct vring_desc){ DATA, 0, VRING_DESC_F_NEXT, 0 };
	publish(&g, 0, 0);
}

static void lie_unmapped(void)
{
	desc_of(&g, 0)[0] = (struct vring_desc){ 2 * RAM_BYTES, 1, 0, 0 };
	publish(&g, 0, 0);
}

static void lie_available(void)
{
	__atomic_store_n(&avail_of(&g, 0)->idx, 0x8000, __ATOMIC_RELEASE);
}

static void (*const lies[])(void) = { lie_head, lie_loop, lie_unmapped, lie_available };

START_TEST(test_lies)
{
	guest_start(&g);
	drive(&g);
	g.p->hold = true;
	ask(&g, 0, 7, "honest");
	kick(&g, 0);
	wait_until(&g, popped_is, 1);
	lies[_i]();
	kick(&g, 0);
	wait_until(&g, status_is, LIVE | NEEDS_RESET);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	/* One note, and no more for all the kicks that follow. */
	g.v->dev.notes.second = 0;
	for (unsigned i = 0; i < 100; i++)
		kick(&g, 0);
	guest_run(&g, QUIET_MS);
	ck_assert_uint_eq(g.v->dev.notes.second, 0);
	/* Other queues go on. */
	release(&g, 0);
	used_will_be(0, 1);
	ask(&g, 1, 0, "a");
	kick(&g, 1);
	used_will_be(1, 1);
	set_status(&g, 0);
	wait_until(&g, back_and_status_is, 0);
	drive(&g);
	ask(&g, 0, 0, "b");
	kick(&g, 0);
	used_will_be(0, 1);
}
END_TEST

static const gpa_t bad_base[] = { 8, RAM_BYTES - 128, 0xc0000000, UINT64_MAX - 15 };

START_TEST(test_bad_rings)
{
	guest_start(&g);
	set_status(&g, ACK | DRIVER);
	set_features(&g, BIT(VIRTIO_F_VERSION_1));
	set_status(&g, ACK | DRIVER | FEATURES_OK);
	setup_queue(&g, 0, bad_base[_i]);
	set_status(&g, LIVE);
	wait_until(&g, status_is, LIVE | NEEDS_RESET);
	kick(&g, 0);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	ck_assert_uint_eq(g.p->started, 0);
	ck_assert_uint_eq(g.p->stopped, 0);
}
END_TEST

/* A vCPU that writes anything anywhere while the device is stopped and started. */
enum { STORM_WRITES = 30000 };

static atomic_bool storm_over;

static void *storm(void *arg)
{
	unsigned seed = 1;

	(void)arg;
	for (unsigned n = 0; n < STORM_WRITES; n++) {
		unsigned r = (unsigned)rand_r(&seed);
		unsigned size = 1u << (r % 3);
		uint64_t at = g.common + (r >> 4 & 3) * 0x1000 + (r >> 8) % 64 / size * size;

		if (r >> 20 & 1)
			rd(&g, at, size);
		else if (r >> 20 & 2)
			wr(&g, at, size, (r >> 22) % 20);
		else if (r >> 20 & 4)
			set_status(&g, (uint8_t)(r >> 24 & 1 ? 15 : r >> 25));
		else
			setup_queue(&g, (r >> 24) % (QUEUES + 1), (gpa_t)(r >> 22) * 64);
		if (n % 64 == 0)
			set_features(&g, BIT(VIRTIO_F_VERSION_1));
	}
	storm_over = true;
	return NULL;
}

static bool is_over(struct guest *guest, unsigned arg)
{
	(void)guest;
	(void)arg;
	return storm_over;
}

START_TEST(test_storm)
{
	uint8_t *bytes = ram(&g, 0);
	pthread_t vcpu;

	for (unsigned i = 0; i < RAM_BYTES; i++)
		bytes[i] = (uint8_t)(rand() % 4 ? 0 : rand());
	storm_over = false;
	ck_assert_int_eq(pthread_create(&vcpu, NULL, storm, NULL), 0);
	for (unsigned i = 0; !storm_over; i++) {
		guest_start(&g);
		g.met = is_over;
		guest_run(&g, i % 8);
		guest_stop(&g);
		wait_until(&g, has_stopped, 0);
	}
	pthread_join(vcpu, NULL);
	ck_assert_uint_eq(g.p->started, g.p->stopped);
	/* It still works. */
	memset(bytes, 0, RAM_BYTES);
	cfg_wr(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	guest_start(&g);
	set_status(&g, 0);
	wait_until(&g, back_and_status_is, 0);
	drive(&g);
	ask(&g, 0, 0, "a");
	kick(&g, 0);
	used_will_be(0, 1);
}
END_TEST

/* The entropy device */

static void rng_ask(unsigned slot, uint32_t len, uint16_t flags)
{
	desc_of(&g, 0)[slot] = (struct vring_desc){ queue_gpa(0) + DATA, len, flags, 0 };
	publish(&g, 0, (uint16_t)slot);
}

START_TEST(test_rng)
{
	static const uint8_t zero[64];
	const uint8_t *data;

	guest_start(&g);
	drive(&g);
	data = ram(&g, queue_gpa(0) + DATA);
	rng_ask(0, 64, VRING_DESC_F_WRITE);
	kick(&g, 0);
	used_will_be(0, 1);
	ck_assert_uint_eq(counter_of(&g.vm, "probe0", "bytes"), 64);
	ck_assert_uint_eq(used_of(&g, 0)->ring[0].len, 64);
	ck_assert_int_ne(memcmp(data, zero, 64), 0);
	ck_assert_uint_eq(data[64], 0);
	/* Much is filled in part, nothing and a readable buffer not at all. */
	rng_ask(1, 0x8000, VRING_DESC_F_WRITE);
	rng_ask(2, 0, VRING_DESC_F_WRITE);
	rng_ask(3, 64, 0);
	kick(&g, 0);
	used_will_be(0, 4);
	ck_assert_uint_eq(used_of(&g, 0)->ring[1].len, 4096);
	ck_assert_uint_eq(used_of(&g, 0)->ring[2].len, 0);
	ck_assert_uint_eq(used_of(&g, 0)->ring[3].len, 0);
	ck_assert_uint_eq(status(&g), LIVE);
	ck_assert(!g.config);
}
END_TEST

/*
 * A guest that offers each buffer again as soon as it sees bytes in it, without waiting for
 * the used ring: its queue is never empty, but can be called back all the same.
 */
enum { RNG_ENTRIES = 64, RNG_BUFFER_BYTES = 512 };

static uint64_t *greedy_buffer(unsigned slot)
{
	return ram(&g, queue_gpa(0) + DATA + RNG_BUFFER_BYTES * slot);
}

__attribute__((no_sanitize("thread"))) static void *greedy(void *arg)
{
	struct vring_avail *avail = arg;

	for (unsigned n = 0;; n++) {
		volatile uint64_t *buffer = greedy_buffer(n % RNG_ENTRIES);

		while (!*buffer)
			if (storm_over)
				return NULL;
		*buffer = 0;
		__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
		atomic_thread_fence(memory_order_seq_cst);
		if (!(used_of(&g, 0)->flags & VRING_USED_F_NO_NOTIFY))
			kick(&g, 0);
	}
}

static bool used_is_past(struct guest *guest, unsigned idx)
{
	return used_idx(guest, 0) > idx;
}

START_TEST(test_rng_greedy_guest)
{
	pthread_t vcpu;

	guest_start(&g);
	drive(&g);
	storm_over = false;
	for (unsigned i = 0; i < RNG_ENTRIES; i++) {
		desc_of(&g, 0)[i] = (struct vring_desc){ queue_gpa(0) + DATA + RNG_BUFFER_BYTES * i,
							 RNG_BUFFER_BYTES, VRING_DESC_F_WRITE, 0 };
		publish(&g, 0, (uint16_t)i);
	}
	ck_assert_int_eq(pthread_create(&vcpu, NULL, greedy, avail_of(&g, 0)), 0);
	kick(&g, 0);
	wait_until(&g, used_is_past, RNG_ENTRIES);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	storm_over = true;
	pthread_join(vcpu, NULL);
	ck_assert_uint_eq(status(&g), LIVE);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("virtio_queue");
	TCase *t = tcase_create("probe"), *rng = tcase_create("rng");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_requests, 0, 2);
	tcase_add_test(t, test_threads_share_queues);
	tcase_add_test(t, test_no_interrupt_without_vector);
	tcase_add_test(t, test_queue_enabled_late);
	tcase_add_test(t, test_start);
	tcase_add_test(t, test_stop_waits);
	tcase_add_test(t, test_reset_waits);
	tcase_add_loop_test(t, test_stop_during_reset, 0, 2);
	tcase_add_test(t, test_bus_master);
	tcase_add_test(t, test_queue_start_fails);
	tcase_add_test(t, test_move);
	tcase_add_loop_test(t, test_lies, 0, ARRAY_SIZE(lies));
	tcase_add_loop_test(t, test_bad_rings, 0, ARRAY_SIZE(bad_base));
	tcase_add_test(t, test_storm);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(rng, setup_rng, teardown);
	tcase_set_timeout(rng, 60);
	tcase_add_test(rng, test_rng);
	tcase_add_test(rng, test_rng_greedy_guest);
	suite_add_tcase(s, rng);
	return s;
}

CHECK_MAIN(suite)

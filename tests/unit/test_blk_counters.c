/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk counts of a guest's requests. */
#include <errno.h>

#include "blk_guest.h"
#include "check_main.h"
#include "counter_of.h"
#include "forbid.h"
#include "in_child.h"

/* Each has begun and taken some time: how long is the host's affair. */
static void latency_is_plausible(struct guest *g, const char *op, uint64_t ops)
{
	char min[32], max[32], avg[32];

	snprintf(min, sizeof(min), "%s_latency_min", op);
	snprintf(max, sizeof(max), "%s_latency_max", op);
	snprintf(avg, sizeof(avg), "%s_latency_avg", op);
	ck_assert_uint_le(counter_of(&g->vm, "disk0", min), counter_of(&g->vm, "disk0", avg));
	ck_assert_uint_le(counter_of(&g->vm, "disk0", avg), counter_of(&g->vm, "disk0", max));
	ck_assert_uint_lt(counter_of(&g->vm, "disk0", max), UINT64_C(1000) * WAIT_MS);
	snprintf(min, sizeof(min), "%s_ops", op);
	ck_assert_uint_eq(counter_of(&g->vm, "disk0", min), ops);
}

static uint64_t latencies(struct guest *g, const char *name)
{
	struct counter_readings all;
	uint64_t ops = 0;

	ck_assert_int_eq(counters_read(&g->vm, &all), 0);
	for (size_t i = 0; i < all.reading[0].table->n; i++)
		if (!strcmp(all.reading[0].table->counter[i].name, name))
			ops = latency_ops(counter_latency(&all.reading[0],
							  &all.reading[0].table->counter[i]));
	counters_free(&all);
	return ops;
}

static void check_counters(void)
{
	uint64_t before_ns = loop_now_ns(), first_ns;
	struct guest g;

	power_on(&g, "");
	ck_assert_uint_eq(g.vm.arrival.first_request_ns, 0);
	for (unsigned slot = 0; slot < 3; slot++)
		put_request(&g, slot, VIRTIO_BLK_T_IN, 0, BUFFER + 8 * slot * SECTOR, 8 * SECTOR);
	finish(&g);
	first_ns = g.vm.arrival.first_request_ns;
	ck_assert(first_ns >= before_ns && first_ns <= loop_now_ns());
	request(&g, VIRTIO_BLK_T_OUT, 8, 2 * SECTOR);
	request(&g, VIRTIO_BLK_T_FLUSH, 0, 0);
	request(&g, VIRTIO_BLK_T_IN, SECTORS, SECTOR);
	request(&g, VIRTIO_BLK_T_SECURE_ERASE, 0, 16);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "read_bytes"), 24 * SECTOR);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "write_bytes"), 2 * SECTOR);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "flush_ops"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "errors"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "throttled"), 0);
	latency_is_plausible(&g, "read", 3);
	latency_is_plausible(&g, "write", 1);
	ck_assert_uint_eq(latencies(&g, "read_latency"), 3);
	ck_assert_uint_eq(latencies(&g, "write_latency"), 1);
	/* They survive the guest's reset. */
	blk_drive(&g, offered(&g));
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "read_ops"), 3);
	/* A write that ends with a flush, for a driver that does not flush, is a write. */
	blk_drive(&g, offered(&g) & ~BIT(VIRTIO_BLK_F_FLUSH));
	request(&g, VIRTIO_BLK_T_OUT, 8, SECTOR);
	latency_is_plausible(&g, "write", 2);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "flush_ops"), 1);
	ck_assert_uint_eq(g.vm.arrival.first_request_ns, first_ns);
	power_off(&g);
}

static void check_counters_of_pool(void)
{
	forbid_syscall(SYS_io_uring_setup, EPERM);
	check_counters();
}

START_TEST(test_counters)
{
	check_counters();
	in_child(check_counters_of_pool);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("blk_counters");
	TCase *tc = tcase_create("blk_counters");

	tcase_add_checked_fixture(tc, image_setup, blk_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_counters);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

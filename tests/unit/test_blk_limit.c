/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk under limits: what passes, in which order, and what waits without a sound. */
#include <errno.h>

#include "blk_guest.h"
#include "check_main.h"
#include "counter_of.h"
#include "rate_limit.h"

extern const struct device_class limit_group_class;

/* So long that nothing comes back while the test lasts: exactly the bucket and one request, which
 * goes into debt, pass. */
#define NEVER_MS "4611686018427"
#define FOUR_OPS "{\"ops\": {\"size\": 4, \"refill_time\": " NEVER_MS "}}"
#define OWN(limits) ", \"rate_limiter_config\": " limits

enum { FOUR_PASS = 5, QUIET_MS = 30, LOOKS = 20, SLOTS = 16 };

static struct guest g;
static struct virtio_class counting;
static const struct virtio_class *counted;
static atomic_uint kicks;

static void count_kick(struct virtio_device *v, struct virtqueue *vq)
{
	kicks++;
	counted->kick(v, vq);
}

/* As power_on(), and kicks of queue 0 are counted. */
static void limited_on(const char *options)
{
	struct err e = { "" };
	int r = blk_new(&g, options, &e);

	ck_assert_msg(!r, "%s", e.text);
	counted = g.v->class;
	counting = *counted;
	counting.kick = count_kick;
	g.v->class = &counting;
	kicks = 0;
	guest_start(&g);
	blk_drive(&g, offered(&g));
}

static void put_many(unsigned n, uint32_t type, uint32_t len)
{
	for (unsigned slot = 0; slot < n; slot++)
		put_request(&g, slot, type, slot, BUFFER + slot * SECTOR, len);
	kick(&g, 0);
}

static void change(const char *id, const char *limits, int expected)
{
	json_t *config = json_loads(limits, 0, NULL);
	struct limiter_config c = { 0 };
	struct err e = { "" };

	ck_assert_msg(!option_load(&rate_limit_config_options, "test", config, &c, &e), "%s",
		      e.text);
	json_decref(config);
	pthread_mutex_lock(&g.vm.lock);
	ck_assert_int_eq(rate_limit_change(&g.vm, id, &c, &e), expected);
	pthread_mutex_unlock(&g.vm.lock);
}

/* No more than this is done, and while that is so nobody works. */
static void stands_still_at(unsigned used)
{
	unsigned before = 0;

	wait_until(&g, used_is, used);
	/* A kick may still be on its way; who spins never rests. */
	for (unsigned look = 0; look < LOOKS; look++) {
		before = kicks;
		guest_run(&g, QUIET_MS);
		if (kicks == before)
			break;
	}
	ck_assert_uint_eq(kicks, before);
	ck_assert_uint_eq(used_idx(&g, 0), used);
}

/* One at a time; those that complete on the spot show in which order they were taken. */
START_TEST(all_complete_in_order)
{
	limited_on(OWN("{\"ops\": {\"size\": 1, \"refill_time\": 1}}"));
	put_many(SLOTS, VIRTIO_BLK_T_GET_ID, 20);
	wait_until(&g, used_is, SLOTS);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		ck_assert_uint_eq(used_of(&g, 0)->ring[slot].id, 3 * slot);
		ck_assert_uint_eq(*(uint8_t *)at(&g, STATUS + slot), VIRTIO_BLK_S_OK);
	}
	/* Start, the driver's, and one for each time that it waited. */
	ck_assert_uint_ge(kicks, SLOTS);
	ck_assert_uint_le(kicks, SLOTS + 3);
	power_off(&g);
}
END_TEST

START_TEST(data_is_whole)
{
	uint8_t expected[SECTOR];

	limited_on(OWN("{\"bandwidth\": {\"size\": 2048, \"refill_time\": 1}}"));
	for (unsigned slot = 0; slot < SLOTS; slot++)
		fill(at(&g, BUFFER + slot * SECTOR), SECTOR, slot);
	put_many(SLOTS, VIRTIO_BLK_T_OUT, SECTOR);
	wait_until(&g, used_is, SLOTS);
	memset(at(&g, BUFFER), 0xee, SLOTS * SECTOR);
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	wait_until(&g, used_is, 2 * SLOTS);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		fill(expected, SECTOR, slot);
		ck_assert_int_eq(memcmp(at(&g, BUFFER + slot * SECTOR), expected, SECTOR), 0);
	}
	power_off(&g);
}
END_TEST

START_TEST(reads_and_writes_have_bytes)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT };

	limited_on(OWN("{\"bandwidth\": {\"size\": 1536, \"refill_time\": " NEVER_MS "}}"));
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		/* Nothing of the bucket. */
		blk_drive(&g, offered(&g));
		put_many(SLOTS, VIRTIO_BLK_T_FLUSH, 0);
		wait_until(&g, used_is, SLOTS);
		put_many(SLOTS, VIRTIO_BLK_T_GET_ID, 20);
		wait_until(&g, used_is, 2 * SLOTS);
		/* Three sectors and one in debt. */
		put_many(SLOTS, types[i], SECTOR);
		stands_still_at(2 * SLOTS + 4);
		change("disk0", "{\"bandwidth\": {\"size\": 1536, \"refill_time\": " NEVER_MS "}}",
		       0);
		stands_still_at(2 * SLOTS + 8);
		change("disk0", "{}", 0);
		wait_until(&g, used_is, 3 * SLOTS);
		change("disk0", "{\"bandwidth\": {\"size\": 1536, \"refill_time\": " NEVER_MS "}}",
		       0);
	}
	/* Larger than the bucket. */
	put_many(3, VIRTIO_BLK_T_IN, 8 * SECTOR);
	stands_still_at(3 * SLOTS + 1);
	power_off(&g);
}
END_TEST

static bool kicks_are(struct guest *guest, unsigned n)
{
	(void)guest;
	return kicks == n;
}

START_TEST(waiting_is_quiet)
{
	uint64_t throttled;
	unsigned before;

	limited_on(OWN(FOUR_OPS));
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	stands_still_at(FOUR_PASS);
	ck_assert_uint_eq(g.v->s->queue[0].next_avail, FOUR_PASS);
	throttled = counter_of(&g.vm, "disk0", "throttled");
	ck_assert_uint_ge(throttled, 1);
	/* A guest that kicks all the same is heard, and that is all. */
	for (unsigned i = 1; i <= 5; i++) {
		before = kicks;
		kick(&g, 0);
		wait_until(&g, kicks_are, before + 1);
		stands_still_at(FOUR_PASS);
		ck_assert_uint_eq(kicks, before + 1);
	}
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "throttled"), throttled);
	power_off(&g);
}
END_TEST

START_TEST(a_burst_passes_first)
{
	limited_on(OWN("{\"ops\": {\"size\": 4, \"one_time_burst\": 3, \"refill_time\": " NEVER_MS
		       "}}"));
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	stands_still_at(FOUR_PASS + 3);
	power_off(&g);
}
END_TEST

START_TEST(stop_does_not_wait)
{
	limited_on(OWN(FOUR_OPS));
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	stands_still_at(FOUR_PASS);
	for (unsigned round = 0; round < 3; round++) {
		guest_stop(&g);
		wait_until(&g, has_stopped, 0);
		ck_assert_uint_eq(g.v->handed_over, 0);
		ck_assert_uint_eq(g.v->s->queue[0].next_avail, FOUR_PASS);
		ck_assert_uint_eq(g.v->s->queue[0].next_used, FOUR_PASS);
		/* And changes nothing about the limit. */
		guest_start(&g);
		stands_still_at(FOUR_PASS);
	}
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	change("disk0", "{}", 0);
	guest_start(&g);
	wait_until(&g, used_is, SLOTS);
	power_off(&g);
}
END_TEST

START_TEST(a_reset_does_not_get_around_it)
{
	limited_on(OWN(FOUR_OPS));
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	stands_still_at(FOUR_PASS);
	blk_drive(&g, offered(&g));
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	stands_still_at(0);
	power_off(&g);
}
END_TEST

START_TEST(limits_change_while_it_waits)
{
	static const char *const more[] = {
		"{}",
		"{\"ops\": {\"size\": 0}}",
		"{\"ops\": {\"size\": 1000000}}",
		"{\"bandwidth\": {\"size\": \"1G\"}}",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		limited_on(OWN(FOUR_OPS));
		put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
		stands_still_at(FOUR_PASS);
		change("disk0", FOUR_OPS, 0);
		stands_still_at(2 * FOUR_PASS);
		change("disk0", more[i], 0);
		wait_until(&g, used_is, SLOTS);
		/* And on again. */
		change("disk0", FOUR_OPS, 0);
		put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
		stands_still_at(SLOTS + FOUR_PASS);
		power_off(&g);
	}
	power_on(&g, "");
	change("disk1", "{}", -ENOENT);
	power_off(&g);
}
END_TEST

/* The group is there before its members; each as if from the configuration. */
static void group_on(json_t **options)
{
	const struct guest_mem_config config = { .size_bytes = RAM_BYTES };
	struct device *dev;
	struct err e = { "" };

	g = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&g.loop, &e), 0);
	ck_assert_int_eq(vm_init(&g.vm, -1, g.loop, 2, &e), 0);
	ck_assert_int_eq(guest_mem_new(&g.vm.mem, &config, &e), 0);
	loop_set_lock(g.loop, &g.vm.lock);
	g.vm.pci = &g.bus;
	options[0] = json_loads("{\"id\": \"gold\"" OWN(FOUR_OPS) "}", 0, NULL);
	options[1] = json_pack("{s:s, s:b, s:i, s:s}", "path", image, "readonly", 1, "num_queues",
			       2, "rate_limit_group", "gold");
	ck_assert_msg(!device_new(&dev, &limit_group_class, "gold", &g.vm, options[0], &e), "%s",
		      e.text);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_msg(!device_new(&dev, &virtio_blk_class, i ? "disk1" : "disk0", &g.vm,
					  options[1], &e),
			      "%s", e.text);
		if (!i)
			g.v = container_of(dev, struct virtio_device, dev);
	}
	find_capabilities(&g);
	guest_start(&g);
	blk_drive(&g, offered(&g));
}

static void read_from_queue_1(void)
{
	gpa_t base = queue_gpa(1) + DATA;
	struct vring_desc *d = desc_of(&g, 1);

	*(struct virtio_blk_outhdr *)ram(&g, base) =
		(struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	d[0] = (struct vring_desc){ base, 16, VRING_DESC_F_NEXT, 1 };
	d[1] = (struct vring_desc){ base + 64, SECTOR, MORE_WRITABLE, 2 };
	d[2] = (struct vring_desc){ base + 16, 1, VRING_DESC_F_WRITE, 0 };
	publish(&g, 1, 0);
	kick(&g, 1);
}

START_TEST(a_group_is_shared)
{
	json_t *options[2];
	struct rate_limit *group, *disk1;

	group_on(options);
	group = vm_device(&g.vm, "gold")->limit;
	disk1 = vm_device(&g.vm, "disk1")->limit;
	ck_assert_ptr_eq(rate_limit_limiter(disk1, 0), rate_limit_limiter(g.v->dev.limit, 0));
	put_many(SLOTS, VIRTIO_BLK_T_IN, SECTOR);
	stands_still_at(FOUR_PASS);
	/* What the other queue has taken was not there any more: one request in debt. */
	read_from_queue_1();
	wait_until(&g, used_is, 1 << 16 | 1);
	read_from_queue_1();
	stands_still_at(FOUR_PASS);
	ck_assert_uint_eq(used_idx(&g, 1), 1);
	/* Through the group only, and then all look again. */
	change("disk0", "{}", -EINVAL);
	change("disk1", "{}", -EINVAL);
	change("gold", "{}", 0);
	wait_until(&g, used_is, SLOTS);
	wait_until(&g, used_is, 1 << 16 | 2);
	/* Who is gone is no member. */
	ck_assert_ptr_eq(group->members.prev, &disk1->node);
	device_free(disk1->dev);
	ck_assert_ptr_eq(group->members.prev, &g.v->dev.limit->node);
	power_off(&g);
	json_decref(options[0]);
	json_decref(options[1]);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("blk_limit");
	TCase *tc = tcase_create("blk_limit");

	tcase_add_checked_fixture(tc, image_setup, blk_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_complete_in_order);
	tcase_add_test(tc, data_is_whole);
	tcase_add_test(tc, reads_and_writes_have_bytes);
	tcase_add_test(tc, waiting_is_quiet);
	tcase_add_test(tc, a_burst_passes_first);
	tcase_add_test(tc, stop_does_not_wait);
	tcase_add_test(tc, a_reset_does_not_get_around_it);
	tcase_add_test(tc, limits_change_while_it_waits);
	tcase_add_test(tc, a_group_is_shared);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

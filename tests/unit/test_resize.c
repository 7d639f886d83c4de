/* SPDX-License-Identifier: Apache-2.0 */
/* A device whose host takes its time to resize what is behind it. */
#include <semaphore.h>

#include "check_main.h"
#include "resize.h"
#include "virtio_guest.h"

enum { BYTES = 4711, NOT_YET = 1 };

static struct guest g;
static struct device_class slow_class;
static struct resize resize;
static struct work step;
static sem_t host_may_go_on;
static uint64_t asked_bytes;
static unsigned told_guest, ended;
static int result;

static int slow_resize(struct device *dev, uint64_t bytes, struct err *e)
{
	while (sem_wait(&host_may_go_on))
		;
	asked_bytes = bytes;
	return bytes ? 0 : err_set(e, -ENOSPC, "%s: no room", dev->id);
}

static void slow_resized(struct device *dev)
{
	ck_assert_int_eq(dev->phase, DEVICE_STOPPED);
	told_guest++;
}

static void on_step(void *arg)
{
	(void)arg;
	resize_settle(&resize, true);
}

static void on_stopped(struct device *dev, void *arg)
{
	(void)dev;
	(void)arg;
	loop_post(g.loop, &step);
}

static void on_done(void *arg, int r, const char *why)
{
	ck_assert_ptr_eq(arg, &g);
	ck_assert_int_eq(!r, !why);
	ended++;
	result = r;
}

static void setup(void)
{
	slow_class = probe_class;
	slow_class.resize = slow_resize;
	slow_class.resized = slow_resized;
	guest_new(&g, &slow_class);
	step = (struct work){ .run = on_step };
	resize_init(&resize, &g.vm, &step, on_stopped, NULL);
	sem_init(&host_may_go_on, 0, 0);
	told_guest = ended = 0;
	result = NOT_YET;
	guest_start(&g);
	drive(&g);
}

static void teardown(void)
{
	guest_free(&g);
	sem_destroy(&host_may_go_on);
}

static void ask_for(uint64_t bytes)
{
	struct err e;

	pthread_mutex_lock(&g.vm.lock);
	ck_assert_int_eq(resize_device(&resize, "probe0", bytes, on_done, &g, &e), 0);
	ck_assert_int_eq(resize_device(&resize, "probe0", bytes, on_done, &g, &e), -EBUSY);
	ck_assert_int_eq(resize_device(&resize, "other", bytes, on_done, &g, &e), -ENOENT);
	pthread_mutex_unlock(&g.vm.lock);
}

static bool is_at_work(struct guest *guest, unsigned arg)
{
	(void)guest;
	(void)arg;
	return resize.at_work;
}

static bool has_ended(struct guest *guest, unsigned arg)
{
	(void)guest;
	return ended == arg;
}

/* Main, which wait_until() needs, goes on, and so does a vCPU, which needs the lock. */
START_TEST(nobody_waits_for_the_host)
{
	ask_for(BYTES);
	wait_until(&g, is_at_work, 0);
	ck_assert_uint_eq(status(&g), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_uint_eq(ended, 0);
	sem_post(&host_may_go_on);
	wait_until(&g, has_ended, 1);
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(asked_bytes, BYTES);
	ck_assert_uint_eq(told_guest, 1);
	ck_assert_int_eq(g.v->dev.phase, DEVICE_RUNNING);
	ck_assert_ptr_null(resize.at_work);
}
END_TEST

START_TEST(a_failure_is_told_and_changes_nothing)
{
	ask_for(0);
	sem_post(&host_may_go_on);
	wait_until(&g, has_ended, 1);
	ck_assert_int_eq(result, -ENOSPC);
	ck_assert_uint_eq(told_guest, 0);
	ck_assert_int_eq(g.v->dev.phase, DEVICE_RUNNING);
}
END_TEST

/* Whoever waits is told at once, and once; what the host does ends some time. */
START_TEST(it_is_cancelled_at_work)
{
	ask_for(BYTES);
	wait_until(&g, is_at_work, 0);
	resize_cancel(&resize);
	resize_cancel(&resize);
	ck_assert_uint_eq(ended, 1);
	ck_assert_int_eq(result, -ECANCELED);
	ck_assert_ptr_nonnull(resize.at_work);
	sem_post(&host_may_go_on);
	while (resize.at_work || !list_empty(&resize.changes))
		guest_run(&g, 1);
	ck_assert_uint_eq(ended, 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("resize");
	TCase *tc = tcase_create("resize");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, nobody_waits_for_the_host);
	tcase_add_test(tc, a_failure_is_told_and_changes_nothing);
	tcase_add_test(tc, it_is_cancelled_at_work);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

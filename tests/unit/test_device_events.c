/* SPDX-License-Identifier: Apache-2.0 */
/* What devices tell others: each thing once, with the device's id, however often a guest makes it
 * happen. */
#include <sys/mman.h>

#include "blk_guest.h"
#include "check_main.h"
#include "counter_of.h"
#include "events.h"

#define ONE_OP ", \"rate_limiter_config\": {\"ops\": {\"size\": 1, \"refill_time\": 4611686018427}}"

static struct guest g;
static struct events *ev;

static void power_on_with_events(const char *options)
{
	struct err e = { "" };

	ck_assert_int_eq(events_new(&ev, &e), 0);
	ck_assert_msg(!blk_new(&g, options, &e), "%s", e.text);
	g.vm.events = ev;
	guest_start(&g);
	blk_drive(&g, offered(&g));
}

static void power_off_with_events(void)
{
	power_off(&g);
	events_free(ev);
}

/* How many of this name there are; the properties of the last are put into *last. */
static unsigned count(const char *source, const char *event, json_t **last)
{
	char line[EVENT_BYTES_MAX];
	uint64_t seq = 0;
	unsigned n = 0;

	*last = NULL;
	while (events_next(ev, &seq, line)) {
		json_t *it = json_loads(line, 0, NULL);

		ck_assert_ptr_nonnull(it);
		if (!strcmp(json_string_value(json_object_get(it, "source")), source) &&
		    !strcmp(json_string_value(json_object_get(it, "event")), event)) {
			json_decref(*last);
			*last = json_incref(json_object_get(it, "properties"));
			n++;
		}
		json_decref(it);
	}
	return n;
}

static void told(unsigned times, const char *source, const char *event, const char *key,
		 const char *value)
{
	json_t *last;

	ck_assert_uint_eq(count(source, event, &last), times);
	ck_assert_str_eq(json_string_value(json_object_get(last, "id")), "disk0");
	ck_assert_str_eq(json_string_value(json_object_get(last, key)), value);
	json_decref(last);
}

START_TEST(a_driver_comes_and_goes)
{
	power_on_with_events("");
	told(1, "virtio-device", "activated", "id", "disk0");
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	told(1, "virtio-device", "reset", "id", "disk0");
	/* Of a device without a driver there is nothing to tell. */
	set_status(&g, 0);
	told(1, "virtio-device", "reset", "id", "disk0");
	power_off_with_events();
}
END_TEST

START_TEST(a_driver_that_does_it_for_ever)
{
	char line[EVENT_BYTES_MAX];
	uint64_t seq = 0;

	power_on_with_events("");
	for (unsigned i = 0; i < 1000; i++)
		blk_drive(&g, offered(&g));
	while (events_next(ev, &seq, line))
		;
	ck_assert_uint_lt(seq, 1000); /* of 2000 */
	power_off_with_events();
}
END_TEST

START_TEST(a_queue_that_breaks)
{
	power_on_with_events("");
	__atomic_store_n(&avail_of(&g, 0)->idx, 0x8000, __ATOMIC_RELEASE);
	kick(&g, 0);
	wait_until(&g, status_is, ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET);
	told(1, "virtio-device", "needs-reset", "id", "disk0");
	power_off_with_events();
}
END_TEST

/* The memory behind the buffer is away, which the host's call refuses. */
static void fail_read(void)
{
	ck_assert_int_eq(mprotect(at(&g, 0xc000), GUEST_PAGE_BYTES, PROT_NONE), 0);
	put_request(&g, 0, VIRTIO_BLK_T_IN, 8, 0xc000, GUEST_PAGE_BYTES);
	ck_assert_uint_eq(finish(&g), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(mprotect(at(&g, 0xc000), GUEST_PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
}

START_TEST(the_host_fails)
{
	power_on_with_events("");
	fail_read();
	told(1, "block", "io-error", "operation", "read");
	told(1, "block", "io-error", "reason", "Bad address");
	power_off_with_events();
}
END_TEST

/* What the guest does for ever hides nothing that the host does. */
START_TEST(the_guest_asks_in_vain)
{
	json_t *last;

	power_on_with_events("");
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, SECTORS, 3 * SECTOR), VIRTIO_BLK_S_IOERR);
	told(1, "block", "request-refused", "reason", "it is not within the disk");
	ck_assert_uint_eq(count("block", "request-refused", &last), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "type")), VIRTIO_BLK_T_IN);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "sector")), SECTORS);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "readable_bytes")), 16);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "writable_bytes")),
			 3 * SECTOR + 1);
	json_decref(last);
	for (unsigned i = 0; i < 1000; i++)
		request(&g, VIRTIO_BLK_T_OUT, 0, SECTOR - 1);
	ck_assert_uint_lt(count("block", "request-refused", &last), 1000);
	json_decref(last);
	fail_read();
	told(1, "block", "io-error", "operation", "read");
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "errors"), 1002);
	power_off_with_events();
}
END_TEST

START_TEST(a_limit_is_met)
{
	power_on_with_events(ONE_OP);
	for (unsigned slot = 0; slot < 4; slot++)
		put_request(&g, slot, VIRTIO_BLK_T_IN, slot, BUFFER + slot * SECTOR, SECTOR);
	kick(&g, 0);
	wait_until(&g, used_is, 2);
	told(1, "virtio-device", "throttled", "id", "disk0");
	power_off_with_events();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device_events");
	TCase *tc = tcase_create("device_events");

	tcase_add_checked_fixture(tc, image_setup, blk_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_driver_comes_and_goes);
	tcase_add_test(tc, a_driver_that_does_it_for_ever);
	tcase_add_test(tc, a_queue_that_breaks);
	tcase_add_test(tc, the_host_fails);
	tcase_add_test(tc, the_guest_asks_in_vain);
	tcase_add_test(tc, a_limit_is_met);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

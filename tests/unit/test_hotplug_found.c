/* SPDX-License-Identifier: Apache-2.0 */
/* What others are told of disks that a running guest is given: whether it looks for them. */
#include <sys/mman.h>

#include "events.h"
#include "hotplug_rig.h"

static struct events *ev;

static void setup_with_events(void)
{
	struct err e;

	setup();
	ck_assert_int_eq(events_new(&ev, &e), 0);
	rig.vm.events = ev;
}

static void teardown_with_events(void)
{
	teardown();
	events_free(ev);
}

/* How often others were told this of the device. */
static unsigned count(const char *event, const char *id)
{
	char line[EVENT_BYTES_MAX];
	uint64_t seq = 0;
	unsigned n = 0;

	while (events_next(ev, &seq, line)) {
		json_auto_t *it = json_loads(line, 0, NULL);
		const char *of = NULL, *name, *source;

		ck_assert_int_eq(json_unpack(it, "{s:s, s:s, s?{s?s}}", "source", &source, "event",
					     &name, "properties", "id", &of),
				 0);
		n += !strcmp(source, "virtio-device") && !strcmp(name, event) && !strcmp(of, id);
	}
	return n;
}

/* Main has had its turns, and what expires at once has. */
static void pass(void)
{
	for (int i = 0; i < 10; i++)
		rig_pump(&rig);
}

START_TEST(a_look_is_told_of_each_disk)
{
	add("a");
	add("b");
	pass();
	ck_assert_uint_eq(count("found", "a") + count("found", "b"), 0);
	event(PLATFORM_PCI_HOTPLUG_INSERTED);
	add("c");
	for (int i = 0; i < 2; i++) {
		pass();
		ck_assert_uint_eq(count("found", "a"), 1);
		ck_assert_uint_eq(count("found", "b"), 1);
		ck_assert_uint_eq(count("found", "c"), i);
		in32(PLATFORM_PCI_HOTPLUG_INSERTED);
	}
}
END_TEST

/* What log_warn() writes until the event of this name is told. */
static void wait_and_listen(const char *name, const char *id, char said[256])
{
	int fd = memfd_create("log", MFD_CLOEXEC), old = dup(STDERR_FILENO);

	ck_assert(fd >= 0 && old >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	log_set_level(LOG_WARN);
	while (!count(name, id))
		rig_pump(&rig);
	pass();
	log_set_level(LOG_ERROR);
	ck_assert_int_ge(dup2(old, STDERR_FILENO), 0);
	memset(said, 0, 256);
	ck_assert_int_ge(pread(fd, said, 255, 0), 0);
	close(old);
	close(fd);
}

START_TEST(a_guest_that_does_not_look)
{
	char said[256];

	hotplug.limit_ns = 1;
	add("data");
	wait_and_listen("not-found", "data", said);
	ck_assert_ptr_nonnull(strstr(said, "data: the guest did not look for it"));
	ck_assert_ptr_eq(strchr(said, '\n'), strrchr(said, '\n'));
	ck_assert_uint_eq(count("not-found", "data"), 1);
	ck_assert_uint_eq(count("found", "data"), 0);
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
	/* Later it does. */
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_INSERTED), 1u << 1);
	pass();
	ck_assert_uint_eq(count("found", "data"), 1);
	ck_assert_uint_eq(count("not-found", "data"), 1);
}
END_TEST

static void look(void *arg)
{
	(void)arg;
	in32(PLATFORM_PCI_HOTPLUG_INSERTED);
}

/* The time is over before main hears of it: what expires together runs before what is posted. */
START_TEST(a_look_at_the_last_moment)
{
	struct timer before = { .expired = look };

	hotplug.limit_ns = 1;
	add("data");
	loop_timer_set(rig.loop, &before, 1);
	pass();
	ck_assert_uint_eq(count("found", "data"), 1);
	ck_assert_uint_eq(count("not-found", "data"), 0);
}
END_TEST

START_TEST(a_paused_guest_has_time_to_look)
{
	power(false);
	hotplug.limit_ns = 1;
	add("data");
	pass();
	ck_assert_uint_eq(count("not-found", "data"), 0);
	power(true);
	while (!count("not-found", "data"))
		rig_pump(&rig);
}
END_TEST

/* After a reset, before there is a guest, and when the VM has ended. */
START_TEST(nobody_waits_for_no_guest)
{
	power(false);
	hotplug.limit_ns = 1;
	add("data");
	reset_all();
	add("more");
	power(true);
	pass();
	add("last");
	hotplug_cancel(&hotplug);
	pass();
	event(PLATFORM_PCI_HOTPLUG_INSERTED);
	pass();
	for (const char *const *id = (const char *const[]){ "data", "more", "last", NULL }; *id;
	     id++)
		ck_assert_uint_eq(count("found", *id) + count("not-found", *id), 0);
}
END_TEST

/* It was added elsewhere, or has gone before the guest looks. */
START_TEST(a_look_at_nothing)
{
	pci_hotplug_insert(vm_device(&rig.vm, "pci-hotplug"), 7);
	add("data");
	ask("data");
	eject(1);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_INSERTED), 1u << 1 | 1u << 7);
	add("next"); /* in its place, before main hears of it */
	pass();
	ck_assert_uint_eq(count("found", "data") + count("found", "next"), 0);
	in32(PLATFORM_PCI_HOTPLUG_INSERTED);
	pass();
	ck_assert_uint_eq(count("found", "data"), 0);
	ck_assert_uint_eq(count("found", "next"), 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("hotplug_found");
	TCase *t = tcase_create("hotplug_found");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup_with_events, teardown_with_events);
	tcase_add_test(t, a_look_is_told_of_each_disk);
	tcase_add_test(t, a_guest_that_does_not_look);
	tcase_add_test(t, a_look_at_the_last_moment);
	tcase_add_test(t, a_paused_guest_has_time_to_look);
	tcase_add_test(t, nobody_waits_for_no_guest);
	tcase_add_test(t, a_look_at_nothing);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

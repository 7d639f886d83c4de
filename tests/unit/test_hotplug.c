/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that come to a VM and leave it. */
#include "hotplug_rig.h"
#include "virtio.h"

enum { ROUNDS = 1000 };

/* Addresses for the disk's BARs, then a driver with requests in its queues. */
static void use(struct device *dev, uint64_t *seed)
{
	unsigned devfn;

	rig.dev = dev;
	devfn = function_of(&rig)->slot << 3;
	ck_assert_uint_eq(pci_config_read(rig.vm.pci, devfn, PCI_COMMAND, 2), 0);
	pthread_mutex_lock(&rig.vm.lock);
	for (unsigned i = 0; i < 2; i++)
		pci_config_write(rig.vm.pci, devfn, PCI_BASE_ADDRESS_0 + 4 * i, 4,
				 0xd0000000 + i * 0x10000);
	pci_config_write(rig.vm.pci, devfn, PCI_COMMAND, 2,
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pthread_mutex_unlock(&rig.vm.lock);
	drive(&rig, seed, false);
	ck_assert_uint_eq(container_of(dev, struct virtio_device, dev)->handed_over, 2);
}

/* The tests */

START_TEST(the_guest_is_told_of_a_disk)
{
	struct device *dev = add("data"), *last = vm_device(&rig.vm, "vcpu0");

	ck_assert_int_eq(dev->phase, DEVICE_RUNNING);
	ck_assert_ptr_eq(dev->node.next, &last->node);
	ck_assert_int_eq(pci_slot_of(rig.vm.pci, dev), 1);
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_INSERTED), 1u << 1);
	ck_assert(!is_told());
}
END_TEST

START_TEST(ids_are_taken)
{
	struct device *dev = NULL;
	struct err e;

	ck_assert_str_eq(add("disk1")->id, "disk1");
	ck_assert_int_eq(try_add("disk1", &dev, &e), -EEXIST);
	ck_assert_ptr_nonnull(strstr(e.text, "disk1"));
	ck_assert_ptr_null(dev);
}
END_TEST

START_TEST(slots_end)
{
	struct traces before;
	struct device *dev;
	struct err e;

	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		char id[8];

		snprintf(id, sizeof(id), "disk%u", slot);
		ck_assert_int_eq(pci_slot_of(rig.vm.pci, add(id)), (int)slot);
	}
	before = traces_of(&rig);
	ck_assert_int_eq(try_add("disk0", &dev, &e), -ENOSPC);
	ck_assert_str_ne(e.text, "");
	no_new_traces(&rig, &before, "no slot");
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_INSERTED), ~1u);
}
END_TEST

START_TEST(not_all_can_be_removed)
{
	struct err e = { "" };

	add("data");
	ck_assert_int_eq(try_remove("other", &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "other"));
	ck_assert_int_eq(try_remove("serial", &e), -ENOTSUP);
	ck_assert_int_eq(try_remove("extra", &e), -ENOTSUP);
	ck_assert_int_eq(try_remove("vcpu0", &e), -ENOTSUP);
	ck_assert_int_eq(try_remove("data", &e), 0);
	ck_assert_int_eq(try_remove("data", &e), -EBUSY);
	ck_assert_uint_eq(told, 0);
}
END_TEST

START_TEST(a_disk_in_use_comes_and_goes)
{
	uint64_t seed = 1;
	struct traces before = traces_of(&rig);

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct device *dev = add("data");

		ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_INSERTED), 1u << 1);
		use(dev, &seed);
		if (i % 2)
			rig_pump(&rig);
		ask("data");
		ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_WANTED), 1u << 1);
		ck_assert_int_eq(dev->phase, DEVICE_RUNNING);
		rig.dev = NULL;
		eject(1);
		/* At once: a guest that looks for new devices must not find this one. */
		ck_assert_uint_eq(pci_config_read(rig.vm.pci, 1 << 3, 0, 2), 0xffff);
		ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
		wait_until_told();
		ck_assert_msg(!result, "%s", why);
		ck_assert_uint_eq(told, i + 1);
		ck_assert_ptr_null(vm_device(&rig.vm, "data"));
		ck_assert_uint_eq(pci_config_read(rig.vm.pci, 1 << 3, 0, 2), 0xffff);
	}
	no_new_traces(&rig, &before, "removal");
}
END_TEST

/* Each goes when its own slot does, whatever the order. */
START_TEST(several_leave_at_once)
{
	add("a");
	add("b");
	add("c");
	event(PLATFORM_PCI_HOTPLUG_INSERTED);
	ask("a");
	ask("c");
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_WANTED), 1u << 1 | 1u << 3);
	eject(3);
	wait_until_told();
	ck_assert_ptr_null(vm_device(&rig.vm, "c"));
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "a"));
	result = NOT_YET;
	eject(1);
	wait_until_told();
	ck_assert_ptr_null(vm_device(&rig.vm, "a"));
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "b"));
	ck_assert_uint_eq(told, 2);
}
END_TEST

START_TEST(what_nobody_wants_stays)
{
	add("data");
	eject(1);
	eject(31);
	rig_pump(&rig);
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
	ck_assert_uint_eq(pci_config_read(rig.vm.pci, 1 << 3, 0, 2), 0x1af4);
	ask("data");
	rig_pump(&rig);
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
}
END_TEST

START_TEST(a_guest_that_does_not_answer)
{
	add("data");
	event(PLATFORM_PCI_HOTPLUG_INSERTED);
	hotplug.limit_ns = 1;
	ask("data");
	wait_until_told();
	ck_assert_int_eq(result, -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(why, "data"));
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_WANTED), 0);
	/* Too late; and once more, in time. */
	eject(1);
	rig_pump(&rig);
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
	hotplug.limit_ns = UINT64_C(60) * 1000000000;
	ask("data");
	ck_assert_uint_eq(event(PLATFORM_PCI_HOTPLUG_WANTED), 1u << 1);
	eject(1);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(told, 2);
}
END_TEST

START_TEST(a_paused_guest_has_time)
{
	struct device *dev;

	power(false);
	dev = add("data");
	ck_assert_int_eq(dev->phase, DEVICE_STOPPED);
	hotplug.limit_ns = 1;
	ask("data");
	for (int i = 0; i < 10; i++)
		rig_pump(&rig);
	ck_assert_uint_eq(told, 0);
	ck_assert(!is_told());
	hotplug.limit_ns = UINT64_C(60) * 1000000000;
	rig_pump(&rig); /* the short one expires */
	power(true);
	ck_assert_uint_eq(bus_read(&rig.vm.pio, PLATFORM_ACPI_EVENT, 1), PLATFORM_ACPI_EVENT_PCI);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 1u << 1);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_WANTED), 1u << 1);
	eject(1);
	wait_until_told();
	ck_assert_int_eq(result, 0);
}
END_TEST

START_TEST(a_reset_ends_what_was_asked)
{
	add("data");
	add("more");
	ask("data");
	power(false);
	reset_all();
	ck_assert_int_eq(result, 0);
	ck_assert_ptr_null(vm_device(&rig.vm, "data"));
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "more"));
	power(true);
	ck_assert(!is_told());
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 0);
	/* It was there at power-on now: with addresses. */
	ck_assert_uint_ne(pci_config_read(rig.vm.pci, 2 << 3, PCI_BASE_ADDRESS_0, 4), 0);
}
END_TEST

START_TEST(without_a_guest_it_goes_at_once)
{
	power(false);
	reset_all();
	add("data");
	ck_assert_uint_eq(pci_config_read(rig.vm.pci, 1 << 3, PCI_COMMAND, 2),
			  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ask("data");
	ck_assert_uint_eq(told, 0);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	ck_assert_ptr_null(vm_device(&rig.vm, "data"));
	power(true);
	ck_assert(!is_told());
}
END_TEST

START_TEST(whoever_waits_hears_of_the_end)
{
	add("data");
	ask("data");
	hotplug_cancel(&hotplug);
	ck_assert_int_eq(result, -ECANCELED);
	ck_assert_str_ne(why, "");
	ck_assert_ptr_nonnull(vm_device(&rig.vm, "data"));
}
END_TEST

static Suite *suite(void)
{
	const TTest *const tests[] = {
		the_guest_is_told_of_a_disk,
		ids_are_taken,
		slots_end,
		not_all_can_be_removed,
		a_disk_in_use_comes_and_goes,
		several_leave_at_once,
		what_nobody_wants_stays,
		a_guest_that_does_not_answer,
		a_paused_guest_has_time,
		a_reset_ends_what_was_asked,
		without_a_guest_it_goes_at_once,
		whoever_waits_hears_of_the_end,
	};
	Suite *s = suite_create("hotplug");
	TCase *t = tcase_create("hotplug");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

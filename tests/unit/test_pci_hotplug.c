/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of PCI hotplug and the event behind them. */
#include <errno.h>

#include "device_fixture.h"
#include "pci.h"
#include "pci_hotplug.h"
#include "platform.h"

extern const struct device_class acpi_pm_class, pci_host_class, pci_hotplug_class;

static struct fixture f;
static struct device *acpi;

static void setup(void)
{
	struct err e;

	fixture_open(&f, &pci_hotplug_class, NULL);
	ck_assert_int_eq(device_new(&acpi, &acpi_pm_class, "acpi", &f.vm, NULL, &e), 0);
	device_start(acpi);
}

static void teardown(void)
{
	bool stopped;

	device_stop(acpi, fixture_stopped, &stopped);
	fixture_close(&f);
}

static uint32_t in32(unsigned reg)
{
	return (uint32_t)bus_read(&f.vm.pio, PLATFORM_PCI_HOTPLUG + reg, 4);
}

static void out32(unsigned reg, uint32_t value)
{
	bus_write(&f.vm.pio, PLATFORM_PCI_HOTPLUG + reg, 4, value);
}

/* As _EVT begins. */
static uint8_t event(void)
{
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	return in8(&f, PLATFORM_ACPI_EVENT);
}

static unsigned raised(void)
{
	f.events = 0;
	fixture_run_ms(&f, 1);
	return f.events;
}

START_TEST(insertions_are_told_once)
{
	pci_hotplug_insert(f.dev, 3);
	pci_hotplug_insert(f.dev, 31);
	ck_assert_uint_eq(event(), PLATFORM_ACPI_EVENT_PCI);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 1u << 3 | 1u << 31);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 0);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_WANTED), 0);
}
END_TEST

/* However often it looks, and at what else. */
START_TEST(a_look_at_insertions_is_told_once)
{
	pci_hotplug_insert(f.dev, 31);
	pci_hotplug_want(f.dev, 2);
	in32(PLATFORM_PCI_HOTPLUG_WANTED);
	ck_assert_uint_eq(raised(), 0);
	ck_assert(pci_hotplug_is_unread(f.dev, 31));
	ck_assert(!pci_hotplug_is_unread(f.dev, 2));
	in32(PLATFORM_PCI_HOTPLUG_INSERTED);
	ck_assert(!pci_hotplug_is_unread(f.dev, 31));
	ck_assert_uint_eq(raised(), VM_HOTPLUG);
	in32(PLATFORM_PCI_HOTPLUG_INSERTED);
	ck_assert_uint_eq(raised(), 0);
}
END_TEST

START_TEST(wishes_are_told_once_and_can_be_withdrawn)
{
	pci_hotplug_want(f.dev, 1);
	pci_hotplug_want(f.dev, 2);
	pci_hotplug_withdraw(f.dev, 1);
	vm_press_power_button(&f.vm);
	ck_assert_uint_eq(event(), PLATFORM_ACPI_EVENT_PCI | PLATFORM_ACPI_EVENT_BUTTON);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 0);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_WANTED), 1u << 2);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_WANTED), 0);
	pci_hotplug_want(f.dev, 2);
	ck_assert_uint_eq(event(), PLATFORM_ACPI_EVENT_PCI);
}
END_TEST

START_TEST(ejections_reach_the_control_layer)
{
	out32(PLATFORM_PCI_HOTPLUG_EJECT, 0);
	out32(PLATFORM_PCI_HOTPLUG_INSERTED, 1u << 4);
	out32(PLATFORM_PCI_HOTPLUG_WANTED, 1u << 4);
	bus_write(&f.vm.pio, PLATFORM_PCI_HOTPLUG + PLATFORM_PCI_HOTPLUG_EJECT, 1, 1u << 4);
	ck_assert_uint_eq(raised(), 0);
	out32(PLATFORM_PCI_HOTPLUG_EJECT, 1u << 4);
	out32(PLATFORM_PCI_HOTPLUG_EJECT, 1u << 30);
	ck_assert_uint_eq(raised(), VM_HOTPLUG);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_EJECT), 0);
	ck_assert_uint_eq(pci_hotplug_take_ejected(f.dev), 1u << 4 | 1u << 30);
	ck_assert_uint_eq(pci_hotplug_take_ejected(f.dev), 0);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 0);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_WANTED), 0);
}
END_TEST

START_TEST(what_is_not_read_moves)
{
	struct fixture g;
	struct err e;

	fixture_open(&g, &pci_hotplug_class, NULL);
	pci_hotplug_insert(f.dev, 5);
	pci_hotplug_want(f.dev, 6);
	ck_assert_msg(!fixture_move(&g, &f, &e), "%s", e.text);
	ck_assert_uint_eq(bus_read(&g.vm.pio, PLATFORM_PCI_HOTPLUG, 4), 1u << 5);
	ck_assert_uint_eq(bus_read(&g.vm.pio, PLATFORM_PCI_HOTPLUG + 4, 4), 1u << 6);
	fixture_close(&g);
	device_reset(f.dev);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_INSERTED), 0);
	ck_assert_uint_eq(in32(PLATFORM_PCI_HOTPLUG_WANTED), 0);
}
END_TEST

/* There is no event without a guest's ACPI; and no harm either. */
START_TEST(works_alone)
{
	struct fixture g;

	fixture_fail_claims(&pci_hotplug_class, NULL, 1);
	fixture_open(&g, &pci_hotplug_class, NULL);
	pci_hotplug_insert(g.dev, 1);
	ck_assert_int_eq(vm_raise_acpi(&g.vm, PLATFORM_ACPI_EVENT_PCI), -ENOTSUP);
	fixture_close(&g);
}
END_TEST

/* Functions that are made from now on belong to a guest that runs, until the next power-on. */
START_TEST(a_bus_is_live_from_start_to_reset)
{
	struct fixture g;
	struct err e;

	fixture_open(&g, &pci_host_class, NULL);
	ck_assert(g.vm.pci->live);
	fixture_stop(&g);
	ck_assert(g.vm.pci->live);
	device_reset(g.dev);
	ck_assert(!g.vm.pci->live);
	ck_assert_msg(!device_loaded(g.dev, &e), "%s", e.text);
	ck_assert(g.vm.pci->live);
	fixture_close(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pci_hotplug");
	TCase *t = tcase_create("registers");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, insertions_are_told_once);
	tcase_add_test(t, a_look_at_insertions_is_told_once);
	tcase_add_test(t, wishes_are_told_once_and_can_be_withdrawn);
	tcase_add_test(t, ejections_reach_the_control_layer);
	tcase_add_test(t, what_is_not_read_moves);
	tcase_add_test(t, works_alone);
	tcase_add_test(t, a_bus_is_live_from_start_to_reset);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

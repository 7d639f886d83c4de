/* SPDX-License-Identifier: Apache-2.0 */
/* The small platform devices: acpi_pm, i8042 and pvpanic. */
#include <errno.h>

#include "device_fixture.h"
#include "platform.h"

extern const struct device_class acpi_pm_class, i8042_class, pvpanic_class;

enum { I8042_DATA = 0x60, I8042_COMMAND = 0x64 };

static unsigned raised(struct fixture *f)
{
	f->events = 0;
	fixture_run_ms(f, 1);
	return f->events;
}

START_TEST(only_s5_powers_off)
{
	struct fixture f;

	fixture_open(&f, &acpi_pm_class, NULL);
	for (unsigned type = 0; type < 8; type++) {
		out8(&f, PLATFORM_ACPI_SLEEP_CONTROL, (uint8_t)(type << 2));
		ck_assert_uint_eq(raised(&f), 0);
		out8(&f, PLATFORM_ACPI_SLEEP_CONTROL, (uint8_t)(type << 2 | 1 << 5));
		ck_assert_uint_eq(raised(&f), type == PLATFORM_ACPI_S5 ? VM_POWEROFF : 0);
		ck_assert_uint_eq(in8(&f, PLATFORM_ACPI_SLEEP_CONTROL), type << 2);
	}
	out8(&f, PLATFORM_ACPI_SLEEP_STATUS, 0xff);
	ck_assert_uint_eq(in8(&f, PLATFORM_ACPI_SLEEP_STATUS), 0);
	bus_write(&f.vm.pio, PLATFORM_ACPI_SLEEP_CONTROL, 2, 0x34);
	ck_assert_uint_eq(raised(&f), 0);
	fixture_close(&f);
}
END_TEST

START_TEST(reset_register_takes_one_value)
{
	struct fixture f;

	fixture_open(&f, &acpi_pm_class, NULL);
	for (unsigned value = 0; value < 256; value++) {
		out8(&f, PLATFORM_ACPI_RESET, (uint8_t)value);
		ck_assert_uint_eq(raised(&f), value == PLATFORM_ACPI_RESET_VALUE ? VM_RESET : 0);
	}
	fixture_close(&f);
}
END_TEST

START_TEST(power_button_interrupts_until_read)
{
	struct fixture f;

	fixture_open(&f, &acpi_pm_class, NULL);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_int_eq(vm_press_power_button(&f.vm), 0);
	ck_assert_int_eq(vm_press_power_button(&f.vm), 0);
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	out8(&f, PLATFORM_ACPI_EVENT, 0);
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_uint_eq(in8(&f, PLATFORM_ACPI_EVENT), PLATFORM_ACPI_EVENT_BUTTON);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_uint_eq(in8(&f, PLATFORM_ACPI_EVENT), 0);
	fixture_close(&f);
}
END_TEST

START_TEST(power_button_survives_stop_and_move)
{
	struct fixture f, g;
	struct err e;

	fixture_open(&f, &acpi_pm_class, NULL);
	fixture_open(&g, &acpi_pm_class, NULL);
	fixture_stop(&f);
	vm_press_power_button(&f.vm);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	device_start(f.dev);
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_int_eq(fixture_move(&g, &f, &e), 0);
	ck_assert(irq_level(&g.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_uint_eq(in8(&g, PLATFORM_ACPI_EVENT), PLATFORM_ACPI_EVENT_BUTTON);
	fixture_stop(&g);
	vm_press_power_button(&g.vm);
	device_reset(g.dev);
	device_start(g.dev);
	ck_assert(!irq_level(&g.vm.irq, PLATFORM_IRQ_ACPI));
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

START_TEST(claims_fail_cleanly)
{
	struct fixture f;

	fixture_fail_claims(&acpi_pm_class, NULL, 3);
	fixture_fail_claims(&i8042_class, NULL, 3);
	fixture_fail_claims(&pvpanic_class, NULL, 1);
	fixture_open(&f, &pvpanic_class, NULL);
	ck_assert_int_eq(vm_press_power_button(&f.vm), -ENOTSUP);
	fixture_close(&f);
}
END_TEST

START_TEST(i8042_resets)
{
	struct fixture f;

	fixture_open(&f, &i8042_class, NULL);
	/* As Linux does: wait for an empty input buffer, then pulse the reset line. */
	ck_assert_uint_eq(in8(&f, I8042_COMMAND) & 2, 0);
	out8(&f, I8042_COMMAND, 0xfe);
	ck_assert_uint_eq(raised(&f), VM_RESET);
	out8(&f, I8042_COMMAND, 0xff);
	out8(&f, I8042_COMMAND, 0xfd);
	ck_assert_uint_eq(raised(&f), 0);
	out8(&f, I8042_COMMAND, 0xd1);
	out8(&f, I8042_DATA, 0x03);
	ck_assert_uint_eq(raised(&f), 0);
	out8(&f, I8042_COMMAND, 0xd1);
	out8(&f, I8042_DATA, 0x02);
	ck_assert_uint_eq(raised(&f), VM_RESET);
	fixture_close(&f);
}
END_TEST

static int answer(struct fixture *f, uint8_t command)
{
	out8(f, I8042_COMMAND, command);
	if (!(in8(f, I8042_COMMAND) & 1))
		return -1;
	return in8(f, I8042_DATA);
}

START_TEST(i8042_probe_ends_at_once)
{
	struct fixture f;

	fixture_open(&f, &i8042_class, NULL);
	ck_assert_uint_eq(in8(&f, I8042_COMMAND), 1 << 4 | 1 << 2);
	ck_assert_int_eq(answer(&f, 0xaa), 0x55);
	ck_assert_int_eq(answer(&f, 0xab), 0);
	ck_assert_int_eq(answer(&f, 0xa9), 1);
	out8(&f, I8042_COMMAND, 0x60);
	out8(&f, I8042_DATA, 0x74);
	ck_assert_int_eq(answer(&f, 0x20), 0x74);
	ck_assert_int_eq(answer(&f, 0xae), -1);
	ck_assert_int_eq(answer(&f, 0xa8), -1);
	ck_assert_int_eq(answer(&f, 0x20), 0x44);
	/* The loop of the auxiliary port answers, but not as one. */
	out8(&f, I8042_COMMAND, 0xd3);
	out8(&f, I8042_DATA, 0x5a);
	ck_assert_uint_eq(in8(&f, I8042_COMMAND) & 0x21, 1);
	ck_assert_uint_eq(in8(&f, I8042_DATA), 0x5a);
	fixture_close(&f);
}
END_TEST

START_TEST(i8042_keyboard_is_absent)
{
	struct fixture f, g;
	struct err e;

	fixture_open(&f, &i8042_class, NULL);
	fixture_open(&g, &i8042_class, NULL);
	out8(&f, I8042_DATA, 0xf2);
	ck_assert(!irq_level(&f.vm.irq, PLATFORM_IRQ_I8042));
	ck_assert_uint_eq(in8(&f, I8042_DATA), 0xfe);
	out8(&f, I8042_COMMAND, 0x60);
	out8(&f, I8042_DATA, 0x45);
	out8(&f, I8042_DATA, 0xf2);
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_I8042));
	ck_assert_int_eq(fixture_move(&g, &f, &e), 0);
	ck_assert(irq_level(&g.vm.irq, PLATFORM_IRQ_I8042));
	ck_assert_uint_eq(in8(&g, I8042_COMMAND) & 0x41, 0x41);
	ck_assert_uint_eq(in8(&g, I8042_DATA), 0xfe);
	ck_assert_uint_eq(in8(&g, I8042_COMMAND) & 0x41, 0);
	ck_assert(!irq_level(&g.vm.irq, PLATFORM_IRQ_I8042));
	fixture_close(&f);
	fixture_close(&g);
}
END_TEST

START_TEST(pvpanic_reports)
{
	struct fixture f;

	fixture_open(&f, &pvpanic_class, NULL);
	ck_assert_uint_eq(in8(&f, PLATFORM_PVPANIC), 3);
	out8(&f, PLATFORM_PVPANIC, 2);
	out8(&f, PLATFORM_PVPANIC, 0xfc);
	ck_assert_uint_eq(raised(&f), 0);
	out8(&f, PLATFORM_PVPANIC, 1);
	ck_assert_uint_eq(raised(&f), VM_PANIC);
	fixture_close(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("acpi_pm");
	TCase *t = tcase_create("platform");

	tcase_add_test(t, only_s5_powers_off);
	tcase_add_test(t, reset_register_takes_one_value);
	tcase_add_test(t, power_button_interrupts_until_read);
	tcase_add_test(t, power_button_survives_stop_and_move);
	tcase_add_test(t, claims_fail_cleanly);
	tcase_add_test(t, i8042_resets);
	tcase_add_test(t, i8042_probe_ends_at_once);
	tcase_add_test(t, i8042_keyboard_is_absent);
	tcase_add_test(t, pvpanic_reports);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of CPU hotplug and the event behind them. */
#include <errno.h>

#include "cpu_hotplug.h"
#include "device_fixture.h"
#include "log.h"
#include "platform.h"

extern const struct device_class acpi_pm_class, cpu_hotplug_class;

static const char two_of_forty[] = "{\"boot\": 2, \"max\": 40}";

static struct fixture f;
static struct device *acpi;

static void setup(void)
{
	struct err e;

	log_set_level(LOG_ERROR);
	fixture_open(&f, &cpu_hotplug_class, two_of_forty);
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
	return (uint32_t)bus_read(&f.vm.pio, PLATFORM_CPU_HOTPLUG + reg, 4);
}

static void out32(unsigned reg, uint32_t value)
{
	bus_write(&f.vm.pio, PLATFORM_CPU_HOTPLUG + reg, 4, value);
}

static void eject(unsigned cpu)
{
	out32(PLATFORM_CPU_HOTPLUG_EJECT + cpu / 32 * 4, UINT32_C(1) << cpu % 32);
}

static void ost(unsigned cpu, unsigned event, unsigned status)
{
	out32(PLATFORM_CPU_HOTPLUG_OST, cpu << 16 | event << 8 | status);
}

static enum cpu_answer answer(unsigned cpu)
{
	uint8_t status;

	return cpu_hotplug_answer(f.dev, cpu, &status);
}

/* As _EVT begins. */
static uint8_t event(void)
{
	ck_assert(irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI));
	return in8(&f, PLATFORM_ACPI_EVENT);
}

static bool is_told(void)
{
	return irq_level(&f.vm.irq, PLATFORM_IRQ_ACPI);
}

static unsigned raised(void)
{
	f.events = 0;
	fixture_run_ms(&f, 1);
	return f.events;
}

START_TEST(insertions_are_told_once)
{
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT), 3);
	cpu_hotplug_insert(f.dev, 31);
	cpu_hotplug_insert(f.dev, 32);
	ck_assert_uint_eq(cpu_hotplug_count(f.dev), 4);
	ck_assert_uint_eq(event(), PLATFORM_ACPI_EVENT_CPU);
	ck_assert(!is_told());
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT), 3 | 1u << 31);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT + 4), 1);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_INSERTED), 1u << 31);
	ck_assert_uint_eq(raised(), VM_HOTPLUG);
	ck_assert(!cpu_hotplug_is_unread(f.dev, 31));
	ck_assert(cpu_hotplug_is_unread(f.dev, 32));
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_INSERTED), 0);
	ck_assert_uint_eq(raised(), 0);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_INSERTED + 4), 1);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED), 0);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT + 4), 1);
}
END_TEST

START_TEST(what_is_asked_for_is_given_up)
{
	cpu_hotplug_insert(f.dev, 39);
	event();
	cpu_hotplug_want(f.dev, 39);
	ck_assert_uint_eq(event(), PLATFORM_ACPI_EVENT_CPU);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED + 4), 1u << 7);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED + 4), 0);
	ck_assert_int_eq(answer(39), CPU_SILENT);
	eject(39);
	ck_assert_uint_eq(raised(), VM_HOTPLUG);
	ck_assert_int_eq(answer(39), CPU_GIVEN_UP);
	/* The guest sees at once what its host makes true later. */
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT + 4), 0);
	ck_assert(cpu_hotplug_is_present(f.dev, 39));
	eject(39);
	ck_assert_uint_eq(raised(), 0);
	cpu_hotplug_remove(f.dev, 39);
	ck_assert_int_eq(answer(39), CPU_SILENT);
	ck_assert_uint_eq(cpu_hotplug_count(f.dev), 2);
	ck_assert(!is_told());
	/* Again, as if nothing had been. */
	cpu_hotplug_insert(f.dev, 39);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT + 4), 1u << 7);
}
END_TEST

/* Also what was asked for before, and is not any more. */
START_TEST(what_nobody_asks_for_comes_back)
{
	cpu_hotplug_want(f.dev, 1);
	event();
	cpu_hotplug_withdraw(f.dev, 1);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED), 0);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		eject(cpu);
		ck_assert_uint_eq(raised(), 0);
		ck_assert_int_eq(answer(cpu), CPU_SILENT);
		ck_assert_uint_eq(event(), PLATFORM_ACPI_EVENT_CPU);
		ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT), 3);
		ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_INSERTED), 1u << cpu);
		ck_assert_uint_eq(raised(), VM_HOTPLUG);
	}
	/* There are none of these. */
	for (unsigned dword = 0; dword < PLATFORM_CPU_HOTPLUG_DWORDS; dword++)
		out32(PLATFORM_CPU_HOTPLUG_EJECT + 4 * dword, dword ? UINT32_MAX : ~3u);
	ck_assert(!is_told());
	ck_assert_uint_eq(cpu_hotplug_count(f.dev), 2);
}
END_TEST

START_TEST(refusals)
{
	uint8_t status;

	ost(1, 3, 0x80);
	ck_assert_uint_eq(raised(), 0);
	cpu_hotplug_want(f.dev, 1);
	ost(1, 1, 0x80); /* of another event */
	ost(1, 3, 0); /* it has worked */
	ost(1, 3, 0x84); /* it is at it */
	ost(0, 3, 0x80); /* not that one */
	ost(40, 3, 0x80);
	ost(255, 3, 0x80);
	ost(0xffff, 3, 0x80);
	ck_assert_uint_eq(raised(), 0);
	ck_assert_int_eq(answer(1), CPU_SILENT);
	ost(1, 3, 0x82);
	ck_assert_uint_eq(raised(), VM_HOTPLUG);
	ck_assert_int_eq(cpu_hotplug_answer(f.dev, 1, &status), CPU_REFUSED);
	ck_assert_uint_eq(status, 0x82);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_OST), 0);
	cpu_hotplug_withdraw(f.dev, 1);
	cpu_hotplug_want(f.dev, 1);
	ck_assert_int_eq(answer(1), CPU_SILENT);
}
END_TEST

START_TEST(a_reset_keeps_what_is_there)
{
	cpu_hotplug_insert(f.dev, 7);
	cpu_hotplug_want(f.dev, 1);
	eject(1);
	fixture_stop(&f);
	device_reset(f.dev);
	device_start(f.dev);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT), 3 | 1u << 7);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_INSERTED), 0);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED), 0);
	ck_assert_int_eq(answer(1), CPU_SILENT);
	eject(1);
	ck_assert_int_eq(answer(1), CPU_SILENT);
}
END_TEST

static void opens(struct fixture *g, unsigned boot, unsigned max)
{
	char options[64];

	snprintf(options, sizeof(options), "{\"boot\": %u, \"max\": %u}", boot, max);
	fixture_open(g, &cpu_hotplug_class, options);
}

/* To a VM whose configuration says as many; there may be gaps in them. */
START_TEST(presence_moves)
{
	struct fixture g;
	struct err e;

	opens(&g, 3, 40);
	cpu_hotplug_insert(f.dev, 38);
	cpu_hotplug_insert(f.dev, 39);
	cpu_hotplug_remove(f.dev, 1);
	cpu_hotplug_want(f.dev, 39);
	ck_assert_msg(!fixture_move(&g, &f, &e), "%s", e.text);
	ck_assert_uint_eq(bus_read(&g.vm.pio, PLATFORM_CPU_HOTPLUG, 4), 1);
	ck_assert_uint_eq(bus_read(&g.vm.pio, PLATFORM_CPU_HOTPLUG + 4, 4), 3 << 6);
	ck_assert_uint_eq(bus_read(&g.vm.pio, PLATFORM_CPU_HOTPLUG + 32 + 4, 4), 3 << 6);
	ck_assert_uint_eq(bus_read(&g.vm.pio, PLATFORM_CPU_HOTPLUG + 64 + 4, 4), 1 << 7);
	fixture_close(&g);
}
END_TEST

START_TEST(states_that_contradict_the_configuration)
{
	static const struct {
		unsigned boot, max, drop;
	} others[] = { { 3, 40, 0 }, { 2, 35, 0 }, { 1, 40, 0 }, { 1, 40, 1 } };

	cpu_hotplug_insert(f.dev, 35);
	cpu_hotplug_remove(f.dev, 1); /* 0 and 35 */
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		struct fixture g;
		struct err e;

		if (others[i].drop)
			cpu_hotplug_remove(f.dev, 0);
		opens(&g, others[i].boot, others[i].max);
		ck_assert_int_eq(fixture_move(&g, &f, &e), -EINVAL);
		ck_assert_ptr_nonnull(strstr(e.text, "saved with other vCPUs"));
		device_start(f.dev);
		fixture_close(&g);
	}
}
END_TEST

START_TEST(attach_that_fails)
{
	fixture_fail_claims(&cpu_hotplug_class, two_of_forty, 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpu_hotplug");
	TCase *t = tcase_create("registers");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, insertions_are_told_once);
	tcase_add_test(t, what_is_asked_for_is_given_up);
	tcase_add_test(t, what_nobody_asks_for_comes_back);
	tcase_add_test(t, refusals);
	tcase_add_test(t, a_reset_keeps_what_is_there);
	tcase_add_test(t, presence_moves);
	tcase_add_test(t, states_that_contradict_the_configuration);
	tcase_add_test(t, attach_that_fails);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* Room for VMs to come: never more than there is, whoever asks and however often. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "ledger.h"

enum { NOW = 1000 };

static struct ledger ledger;
static struct ledger_view view;
static struct err e;

static void setup(void)
{
	ledger_init(&ledger);
	view = (struct ledger_view){ .state = "up",
				     .known = true,
				     .memory = 1024 * MIB,
				     .reserve = 128 * MIB,
				     .available = 700 * MIB,
				     .committed = 256 * MIB,
				     .in_max = 3 };
}

static void teardown(void)
{
	ledger_free(&ledger);
}

static int ask(const char *vm, uint64_t memory_mib, uint64_t resident_mib,
	       const struct reservation_entry **r)
{
	const struct reservation_request q = { .vm = vm,
					       .from = "h2",
					       .memory = memory_mib * MIB,
					       .resident = resident_mib * MIB,
					       .vcpus = 1 };
	const struct reservation_entry *ignored;

	e.text[0] = '\0';
	return ledger_reserve(&ledger, &view, &q, NOW, r ? r : &ignored, &e);
}

static void refused(const char *vm, uint64_t memory_mib, uint64_t resident_mib, const char *why)
{
	ck_assert_int_eq(ask(vm, memory_mib, resident_mib, NULL), -EBUSY);
	ck_assert_msg(strstr(e.text, why), "\"%s\" has no \"%s\"", e.text, why);
}

START_TEST(to_the_last_byte)
{
	const struct reservation_entry *a;

	ck_assert_int_eq(ask("a", 640, 10, &a), 0);
	ck_assert_uint_eq(a->until, NOW + LEDGER_EXPIRES_S);
	refused("b", 1, 1, "have no room");
	ck_assert_ptr_eq(ledger_find(&ledger, a->token), a);
	ledger_release(ledger_find(&ledger, a->token));
	refused("b", 641, 10, "have no room");
	ck_assert_int_eq(ask("b", 640, 10, NULL), 0);
}
END_TEST

START_TEST(what_is_free)
{
	refused("a", 600, 573, "that are free");
	ck_assert_int_eq(ask("a", 300, 272, NULL), 0);
	refused("b", 340, 301, "that are free");
	ck_assert_int_eq(ask("b", 340, 300, NULL), 0);
	view.available = 0; /* and less than the reserve */
	refused("c", 0, 0, "that are free");
}
END_TEST

START_TEST(lies)
{
	refused("a", UINT64_MAX / MIB, 1, "more memory");
	refused("a", 10, 11, "more memory");
	view.committed = 2000 * MIB;
	refused("a", 0, 0, "have no room");
}
END_TEST

START_TEST(others)
{
	ck_assert_int_eq(ask("a", 1, 1, NULL), 0);
	refused("a", 1, 1, "waits for a VM of that name");
	ck_assert_int_eq(ask("b", 1, 1, NULL), 0);
	ck_assert_int_eq(ask("c", 1, 1, NULL), 0);
	refused("d", 1, 1, "on their way");
	view.has_vm = true;
	refused("d", 1, 1, "has a VM of that name");
	view.known = false;
	refused("d", 1, 1, "does not know yet");
	view.state = "draining";
	refused("d", 1, 1, "takes no VMs");
}
END_TEST

START_TEST(time_passes)
{
	const struct reservation_entry *a;
	struct reservation_entry *r;

	ck_assert_int_eq(ask("a", 1, 1, &a), 0);
	r = ledger_find(&ledger, a->token);
	ck_assert(!ledger_has_expired(r, NOW + LEDGER_EXPIRES_S - 1));
	ck_assert(ledger_has_expired(r, NOW + LEDGER_EXPIRES_S));
	r->arrives = true;
	ck_assert(!ledger_has_expired(r, NOW + 1000));
	ck_assert_ptr_null(ledger_find(&ledger, "00000000-0000-4000-8000-000000000000"));
	ledger_release(NULL);
}
END_TEST

static Suite *ledger_suite(void)
{
	Suite *s = suite_create("ledger");
	TCase *c = tcase_create("reservations");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, to_the_last_byte);
	tcase_add_test(c, what_is_free);
	tcase_add_test(c, lies);
	tcase_add_test(c, others);
	tcase_add_test(c, time_passes);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(ledger_suite)

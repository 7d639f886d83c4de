/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "guest_mem.h"
#include "platform.h"

static struct guest_mem *mem_new(uint64_t size, bool shared)
{
	const struct guest_mem_config c = { .size_bytes = size, .shared = shared, .thp = true };
	struct guest_mem *m;
	struct err e;

	ck_assert_msg(guest_mem_new(&m, &c, &e) == 0, "%s", e.text);
	return m;
}

START_TEST(splits_around_the_hole)
{
	struct guest_mem *m = mem_new(PLATFORM_LOW_RAM_END + 64 * MIB, false);

	ck_assert_uint_eq(m->nregions, 2);
	ck_assert_ptr_nonnull(guest_mem_at(m, PLATFORM_LOW_RAM_END - 1, 1));
	ck_assert_ptr_null(guest_mem_at(m, PLATFORM_LOW_RAM_END - 1, 2));
	ck_assert_ptr_null(guest_mem_at(m, PLATFORM_LOW_RAM_END, 1));
	ck_assert_ptr_null(guest_mem_at(m, PLATFORM_HIGH_RAM_BASE - 1, 1));
	ck_assert_ptr_nonnull(guest_mem_at(m, PLATFORM_HIGH_RAM_BASE + 64 * MIB - 1, 1));
	ck_assert_ptr_null(guest_mem_at(m, PLATFORM_HIGH_RAM_BASE + 64 * MIB, 1));
	guest_mem_free(m);
}
END_TEST

START_TEST(refuses_what_wraps)
{
	struct guest_mem *m = mem_new(16 * MIB, false);
	char c = 0;

	ck_assert_ptr_null(guest_mem_at(m, 0, UINT64_MAX));
	ck_assert_ptr_null(guest_mem_at(m, UINT64_MAX, 2));
	ck_assert_ptr_null(guest_mem_at(m, 16 * MIB - 1, UINT64_MAX));
	ck_assert_int_eq(guest_mem_read(m, 16 * MIB, &c, 1), -EFAULT);
	ck_assert_int_eq(guest_mem_write(m, UINT64_MAX, &c, 1), -EFAULT);
	guest_mem_free(m);
}
END_TEST

START_TEST(more_than_a_tebibyte)
{
	struct guest_mem *m = mem_new(UINT64_C(3) << 39, false);
	gpa_t last = PLATFORM_HIGH_RAM_BASE + (UINT64_C(3) << 39) - PLATFORM_LOW_RAM_END - 1;
	char c = 'x', back = 0;

	ck_assert_int_eq(guest_mem_write(m, last, &c, 1), 0);
	ck_assert_int_eq(guest_mem_read(m, last, &back, 1), 0);
	ck_assert_int_eq(back, 'x');
	guest_mem_free(m);
}
END_TEST

START_TEST(marks_the_pages_it_writes)
{
	struct guest_mem *m = mem_new(16 * MIB, true);
	_Atomic uint64_t dirty[64] = { 0 };
	char data[GUEST_PAGE_BYTES + 2] = { 0 };

	ck_assert_int_ge(m->fd, 0);
	ck_assert_int_eq(guest_mem_write(m, 0, data, 1), 0);
	m->region[0].dirty = dirty;
	ck_assert_int_eq(guest_mem_write(m, 64 * GUEST_PAGE_BYTES - 1, data, sizeof(data)), 0);
	ck_assert_uint_eq(dirty[0], BIT(63));
	ck_assert_uint_eq(dirty[1], 3);
	guest_mem_mark_dirty(m, 5 * GUEST_PAGE_BYTES, 0);
	guest_mem_mark_dirty(m, 16 * MIB, 1);
	ck_assert_uint_eq(dirty[0], BIT(63));
	guest_mem_free(m);
}
END_TEST

START_TEST(too_few_huge_pages_is_said)
{
	const struct guest_mem_config c = { .size_bytes = UINT64_C(1) << 40,
					    .hugepages = true,
					    .hugepage_size_bytes = 2 * MIB };
	struct guest_mem *m;
	struct err e;

	ck_assert_int_lt(guest_mem_new(&m, &c, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.text, "nr_hugepages"));
}
END_TEST

static Suite *guest_mem_suite(void)
{
	Suite *s = suite_create("guest_mem");
	TCase *t = tcase_create("guest_mem");

	tcase_add_test(t, splits_around_the_hole);
	tcase_add_test(t, refuses_what_wraps);
	tcase_add_test(t, more_than_a_tebibyte);
	tcase_add_test(t, marks_the_pages_it_writes);
	tcase_add_test(t, too_few_huge_pages_is_said);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(guest_mem_suite)

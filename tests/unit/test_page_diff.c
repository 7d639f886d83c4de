/* SPDX-License-Identifier: Apache-2.0 */
/* Pages as differences, and what is kept to make them. */
#include <string.h>

#include "../../src/migrate/page_cache.h"
#include "../../src/migrate/page_diff.h"
#include "bits.h"
#include "check_main.h"

enum { PAGE = GUEST_PAGE_BYTES, SEEDS = 300 };

struct page {
	uint8_t bytes[PAGE];
} __attribute__((aligned(64)));

static struct page base, page, there;
static uint8_t diff[PAGE_DIFF_MAX];

static void fill(unsigned *seed)
{
	for (unsigned i = 0; i < PAGE; i++)
		base.bytes[i] = (uint8_t)rand_r(seed);
	page = there = base;
}

/* What is said of the page makes it there; how long that is. */
static size_t goes_over(void)
{
	size_t len = SIZE_MAX;

	ck_assert(page_diff_make(&base, &page, diff, &len));
	ck_assert_uint_le(len, PAGE_DIFF_MAX);
	ck_assert(page_diff_apply(&there, diff, len));
	ck_assert(!memcmp(&there, &page, PAGE));
	return len;
}

START_TEST(test_each_byte)
{
	unsigned seed = 1;

	fill(&seed);
	ck_assert_uint_eq(goes_over(), 0);
	for (unsigned i = 0; i < PAGE; i++) {
		page = there = base;
		page.bytes[i] ^= 0x80;
		ck_assert_uint_eq(goes_over(), i < 0x80 ? 3 : 4);
	}
}
END_TEST

/* Runs of all lengths and distances, until they are too many. */
START_TEST(test_random_pages)
{
	unsigned seed = (unsigned)_i + 1, at = 0, changed = 0;
	unsigned distance = 1 + (unsigned)rand_r(&seed) % 300;
	size_t len;

	fill(&seed);
	for (at = (unsigned)rand_r(&seed) % distance; at < PAGE;
	     at += 1 + (unsigned)rand_r(&seed) % distance)
		for (unsigned n = 1 + (unsigned)rand_r(&seed) % 12; n && at < PAGE; n--, changed++)
			page.bytes[at++] ^= (uint8_t)(1 + (unsigned)rand_r(&seed) % 255);
	if (changed < PAGE_DIFF_MAX / 8)
		goes_over();
	else if (page_diff_make(&base, &page, diff, &len))
		ck_assert_uint_ge(goes_over(), changed);
}
END_TEST

START_TEST(test_as_long_as_can_be)
{
	unsigned seed = 2;
	size_t len;

	fill(&seed);
	for (unsigned i = 0; i < PAGE_DIFF_MAX - 4; i++)
		page.bytes[PAGE - 1 - i] ^= 1;
	ck_assert_uint_eq(goes_over(), PAGE_DIFF_MAX);
	page.bytes[PAGE - PAGE_DIFF_MAX + 3] ^= 1;
	ck_assert(!page_diff_make(&base, &page, diff, &len));
	for (unsigned i = 0; i < PAGE; i++)
		page.bytes[i] = (uint8_t)~base.bytes[i];
	ck_assert(!page_diff_make(&base, &page, diff, &len));
}
END_TEST

/* A few bytes that stayed cost less than a run of their own. */
START_TEST(test_small_gaps)
{
	unsigned seed = 3;

	fill(&seed);
	page.bytes[10] ^= 1;
	page.bytes[13] ^= 1;
	ck_assert_uint_eq(goes_over(), 2 + 4);
	page = there = base;
	page.bytes[10] ^= 1;
	page.bytes[14] ^= 1;
	ck_assert_uint_eq(goes_over(), 3 + 3);
}
END_TEST

static void refuse(const void *lie, size_t len)
{
	uint8_t *exact = malloc(len);

	memcpy(exact, lie, len);
	ck_assert(!page_diff_apply(&there, exact, len));
	ck_assert(!memcmp(&there, &base, PAGE));
	free(exact);
}

START_TEST(test_lies)
{
	/* Each begins with a run that would be fine. */
	static const struct {
		uint8_t bytes[10];
		size_t len;
	} lies[] = {
		{ { 1, 1, 0xaa, 5 }, 4 }, /* cut short */
		{ { 1, 1, 0xaa, 0x85 }, 4 },
		{ { 1, 1, 0xaa, 5, 1 }, 5 },
		{ { 1, 1, 0xaa, 5, 3, 1, 2 }, 7 },
		{ { 1, 1, 0xaa, 5, 0 }, 5 }, /* a run of nothing */
		{ { 1, 1, 0xaa, 0xfe, 0x1f, 1, 9 }, 7 }, /* one byte behind the page */
		{ { 1, 1, 0xaa, 0xff, 0x7f, 1, 9 }, 7 },
		{ { 1, 1, 0xaa, 0xfd, 0x1f, 2, 9, 9 }, 8 },
		{ { 1, 1, 0xaa, 0x80, 0x80, 0x01, 1, 9 }, 8 }, /* a number of three bytes */
		{ { 1, 1, 0xaa, 0, 0xff, 0xff }, 6 },
	};
	unsigned seed = 4;

	fill(&seed);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++)
		refuse(lies[i].bytes, lies[i].len);
	/* The last byte of the page is not behind it. */
	ck_assert(page_diff_apply(&there, (const uint8_t[]){ 0xff, 0x1f, 1, 9 }, 4));
	ck_assert_uint_eq(there.bytes[PAGE - 1], 9);
}
END_TEST

/* Refused, or no more of the page changed than there are bytes. */
START_TEST(test_random_lies)
{
	unsigned seed = (unsigned)_i + 1, changed = 0;
	uint8_t lie[64];
	size_t len = 1 + (unsigned)rand_r(&seed) % sizeof(lie);

	fill(&seed);
	for (size_t i = 0; i < len; i++)
		lie[i] = (uint8_t)rand_r(&seed) % (_i % 2 ? 256 : 12);
	if (page_diff_apply(&there, lie, len)) {
		for (unsigned i = 0; i < PAGE; i++)
			changed += there.bytes[i] != base.bytes[i];
		ck_assert_uint_lt(changed, len);
	} else {
		ck_assert(!memcmp(&there, &base, PAGE));
	}
}
END_TEST

static gpa_t gpa_of(uint64_t number)
{
	return number * PAGE;
}

/* _i: connections. Pages that lie together, as many as there is room for, keep their slots. */
START_TEST(test_cache)
{
	enum { PIECE_PAGES = 512 };
	const unsigned n = (unsigned)_i;
	struct page_cache *c = page_cache_new(GIB, n);
	uint64_t pages = (64 * (uint64_t)MIB / PAGE) / (n * PIECE_PAGES) * (n * PIECE_PAGES);

	for (uint64_t i = 0; i < pages; i++)
		memcpy(page_cache_put(c, gpa_of(i + 7), 2), &i, sizeof(i));
	for (uint64_t i = 0; i < pages; i++)
		ck_assert_uint_eq(get_le(page_cache_find(c, gpa_of(i + 7)), 8), i);
	ck_assert_ptr_null(page_cache_find(c, gpa_of(6)));
	/* Not in the place of the first before that was left alone for a round. */
	ck_assert_ptr_null(page_cache_put(c, gpa_of(pages + 7), 3));
	ck_assert_ptr_nonnull(page_cache_find(c, gpa_of(7)));
	ck_assert_ptr_nonnull(page_cache_put(c, gpa_of(pages + 7), 4));
	ck_assert_ptr_null(page_cache_find(c, gpa_of(7)));
	ck_assert_ptr_nonnull(page_cache_find(c, gpa_of(pages + 7)));
	page_cache_forget(c, gpa_of(7)); /* is not there, and nobody else goes */
	ck_assert_ptr_nonnull(page_cache_find(c, gpa_of(pages + 7)));
	page_cache_forget(c, gpa_of(pages + 7));
	ck_assert_ptr_null(page_cache_find(c, gpa_of(pages + 7)));
	page_cache_clear(c, n - 1);
	for (uint64_t i = 8; i < pages; i++)
		ck_assert_int_eq(!page_cache_find(c, gpa_of(i)), i / PIECE_PAGES % n == n - 1);
	page_cache_free(c);
}
END_TEST

START_TEST(test_cache_of_a_small_guest)
{
	struct page_cache *c = page_cache_new(16 * MIB, 2);

	page_cache_put(c, gpa_of(0), 2);
	page_cache_put(c, gpa_of(1023), 2);
	ck_assert_ptr_nonnull(page_cache_find(c, gpa_of(0)));
	ck_assert_ptr_null(page_cache_put(c, gpa_of(1024), 2));
	ck_assert_ptr_null(page_cache_find(c, gpa_of(1024)));
	page_cache_free(c);
}
END_TEST

static Suite *page_diff_suite(void)
{
	Suite *s = suite_create("page_diff");
	TCase *tc = tcase_create("page_diff");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_each_byte);
	tcase_add_loop_test(tc, test_random_pages, 0, SEEDS);
	tcase_add_test(tc, test_as_long_as_can_be);
	tcase_add_test(tc, test_small_gaps);
	tcase_add_test(tc, test_lies);
	tcase_add_loop_test(tc, test_random_lies, 0, SEEDS);
	tcase_add_loop_test(tc, test_cache, 1, 17);
	tcase_add_test(tc, test_cache_of_a_small_guest);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(page_diff_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that a guest says are free, when it is asked before a move. */
#include "balloon_guest.h"

enum { HINTS = 3 }; /* without reporting */

static void ask_for_hints(bool wanted)
{
	pthread_mutex_lock(&g.vm.lock);
	balloon_hint(&g.v->dev, wanted);
	pthread_mutex_unlock(&g.vm.lock);
}

static bool can_hint(void)
{
	bool can;

	pthread_mutex_lock(&g.vm.lock);
	can = balloon_can_hint(&g.v->dev);
	pthread_mutex_unlock(&g.vm.lock);
	return can;
}

static void say_number(uint32_t id, uint32_t len)
{
	memcpy(ram(&g, PFNS_GPA), &id, sizeof(id));
	send(HINTS, PFNS_GPA, len, 0);
}

/* Eight pages are free; how many of the 32 that may be are known to be now. */
static unsigned say_free(unsigned first)
{
	const struct guest_mem_region *r = g.vm.mem->region;

	send(HINTS, first * GUEST_PAGE_BYTES, 8 * GUEST_PAGE_BYTES, VRING_DESC_F_WRITE);
	return (unsigned)__builtin_popcountll(guest_mem_hinted(r, FIRST) & UINT32_MAX);
}

START_TEST(test_hints)
{
	uint32_t id, other;
	struct err e;

	json = json_array();
	make(&g, "{\"size\": 0, \"free_page_hinting\": true}");
	guest_start(&g);
	ck_assert_int_eq(guest_mem_hints_start(g.vm.mem, &e), 0);
	balloon_drive(&g, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BALLOON_F_STATS_VQ));
	ck_assert(!can_hint());
	balloon_drive(&g, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BALLOON_F_STATS_VQ) |
				  BIT(VIRTIO_BALLOON_F_PAGE_POISON) |
				  BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT));
	ck_assert(can_hint());
	fill(FIRST, 64);
	ck_assert_uint_eq(FIELD(free_page_hint_cmd_id), 0);
	say_number(0, 4);
	ck_assert_uint_eq(say_free(FIRST), 0); /* nobody has asked */
	ask_for_hints(true);
	id = FIELD(free_page_hint_cmd_id);
	ck_assert_uint_ge(id, 2);
	ck_assert_uint_eq(say_free(FIRST), 0); /* it was not meant */
	say_number(id, 3);
	ck_assert_uint_eq(say_free(FIRST), 0);
	say_number(id, 4);
	ck_assert_uint_eq(say_free(FIRST), 8);
	send(HINTS, (FIRST + 8) * GUEST_PAGE_BYTES + 1, 3 * GUEST_PAGE_BYTES, VRING_DESC_F_WRITE);
	ck_assert_uint_eq(say_free(FIRST), 10); /* parts of pages are none */
	say_number(0, 4);
	ck_assert_uint_eq(say_free(FIRST + 16), 10); /* it has said stop */
	say_number(id, 4);
	wr(&g, g.config + 12, 4, 0xaa);
	ck_assert(!can_hint());
	ck_assert_uint_eq(say_free(FIRST + 16), 10); /* a pattern must stay */
	wr(&g, g.config + 12, 4, 0);
	ask_for_hints(false);
	ck_assert_uint_eq(FIELD(free_page_hint_cmd_id), 1);
	say_number(1, 4);
	ck_assert_uint_eq(say_free(FIRST + 16), 10);
	ask_for_hints(true);
	other = FIELD(free_page_hint_cmd_id);
	ck_assert_uint_ne(other, id);
	say_number(id, 4);
	ck_assert_uint_eq(say_free(FIRST + 16), 10); /* meant for who asked before */
	say_number(other, 4);
	ck_assert_uint_eq(say_free(FIRST + 16), 18);
	ck_assert_uint_eq(resident(FIRST, 64), 64);
	ck_assert_uint_eq(counter("hinted"), 27 * GUEST_PAGE_BYTES);
	guest_mem_hints_stop(g.vm.mem);
	ck_assert_uint_eq(say_free(FIRST + 24), 0);
	teardown();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("balloon_hints");
	TCase *tc = tcase_create("balloon_hints");

	tcase_add_test(tc, test_hints);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

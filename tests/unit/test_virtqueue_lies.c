/* SPDX-License-Identifier: Apache-2.0 */
/* Rings and descriptors that break the rules. */
#include <errno.h>

#include "check_main.h"
#include "virtqueue_bench.h"

static void lie_head(void)
{
	offer(SIZE);
}

static void lie_next(void)
{
	put(0, DATA, 1, N, SIZE);
	offer(0);
}

static void lie_loop(void)
{
	put(0, DATA, 0, N, 1);
	put(1, DATA, 0, N, 0);
	offer(0);
}

static void lie_order(void)
{
	put(0, DATA, 1, N | W, 1);
	put(1, DATA, 1, 0, 0);
	offer(0);
}

static void lie_unmapped(void)
{
	put(0, UINT64_C(0xc0000000), 1, W, 0);
	offer(0);
}

static void lie_past_end(void)
{
	put(0, HIGH + HIGH_BYTES - 1, 2, 0, 0);
	offer(0);
}

static void lie_wrap(void)
{
	put(0, UINT64_MAX, 2, 0, 0);
	offer(0);
}

static void lie_long(void)
{
	b.mem.region[0].size_bytes = UINT64_C(0xc0000000);
	put(0, 0, 0x80000000, N, 1);
	put(1, 0, 0x80000000, 0, 0);
	offer(0);
}

static void lie_segments(void)
{
	for (unsigned i = 0; i < SIZE; i++)
		put(i, DATA, 1, i < SEGMENTS ? N : 0, (uint16_t)(i + 1));
	offer(0);
}

static void lie_available(void)
{
	b.avail->idx = SIZE + 2; /* one was popped already */
}

static void lie_backwards(void)
{
	b.avail->idx = 0xffff;
}

static void lie_table_odd(void)
{
	put(0, TABLE, 24, I, 0);
	offer(0);
}

static void lie_table_empty(void)
{
	put(0, TABLE, 0, I, 0);
	offer(0);
}

static void lie_table_unmapped(void)
{
	put(0, LOW_BYTES - 16, 32, I, 0);
	offer(0);
}

static void lie_table_chained(void)
{
	put(0, TABLE, 16, I | N, 1);
	offer(0);
}

static void lie_table_nested(void)
{
	*(struct vring_desc *)at(TABLE) = (struct vring_desc){ TABLE, 16, I, 0 };
	put(0, TABLE, 16, I, 0);
	offer(0);
}

static void lie_table_next(void)
{
	*(struct vring_desc *)at(TABLE) = (struct vring_desc){ DATA, 1, N, 1 };
	put(0, TABLE, 16, I, 0);
	offer(0);
}

static void lie_table_loop(void)
{
	*(struct vring_desc *)at(TABLE) = (struct vring_desc){ DATA, 0, N, 0 };
	put(0, TABLE, 0x1000, I, 0);
	offer(0);
}

static void lie_table_long(void)
{
	struct vring_desc *table = at(TABLE);

	for (unsigned i = 0; i <= SIZE; i++)
		table[i] = (struct vring_desc){ DATA, 0, i < SIZE ? N : 0, (uint16_t)(i + 1) };
	put(0, TABLE, 16 * (SIZE + 1), I, 0);
	offer(0);
}

static const struct lie {
	void (*tell)(void);
	const char *sentence;
} lies[] = {
	{ lie_head, "index is out of range" },
	{ lie_next, "index is out of range" },
	{ lie_loop, "or a loop" },
	{ lie_order, "readable buffer follows" },
	{ lie_unmapped, "buffer is not in memory" },
	{ lie_past_end, "buffer is not in memory" },
	{ lie_wrap, "buffer is not in memory" },
	{ lie_long, "exceed 4 GiB" },
	{ lie_segments, "more buffers than this device" },
	{ lie_available, "more requests are available" },
	{ lie_backwards, "more requests are available" },
	{ lie_table_odd, "odd length" },
	{ lie_table_empty, "odd length" },
	{ lie_table_unmapped, "table is not in memory" },
	{ lie_table_chained, "both indirect and chained" },
	{ lie_table_nested, "inside another" },
	{ lie_table_next, "index is out of range" },
	{ lie_table_loop, "or a loop" },
	{ lie_table_long, "longer than its queue" },
};

START_TEST(test_lies)
{
	const struct lie *lie = &lies[_i];

	start(false);
	/* An honest request is in flight, and comes back all the same. */
	put(7, DATA, 4, W, 0);
	offer(7);
	ck_assert(vq_pop(&b.vq, &b.req));

	struct vq_request second = b.req;
	struct iovec segment[SEGMENTS];
	struct vq_range range[SEGMENTS];

	second.segment = segment;
	second.range = range;
	lie->tell();
	ck_assert(!vq_pop(&b.vq, &second));
	ck_assert_ptr_nonnull(b.why);
	ck_assert_msg(strstr(b.why, lie->sentence), "\"%s\" lacks \"%s\"", b.why, lie->sentence);
	/* Broken until it is started again; told once. */
	ck_assert(!vq_pop(&b.vq, &second));
	ck_assert(!vq_enable_kicks(&b.vq));
	ck_assert_uint_eq(b.s.next_avail, 1);
	ck_assert_uint_eq(req_write(&b.req, "done", 4), 4);
	vq_complete(&b.vq, &b.req, 4);
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.used->idx, 1);
}
END_TEST

START_TEST(test_more_in_flight_than_entries)
{
	start(false);
	put(0, DATA, 1, W, 0);
	for (unsigned i = 0; i < SIZE; i++) {
		offer(0);
		ck_assert(vq_pop(&b.vq, &b.req));
	}
	offer(0);
	ck_assert(!vq_pop(&b.vq, &b.req));
	ck_assert_ptr_nonnull(b.why);
}
END_TEST

static const struct bad_rings {
	struct virtqueue_state s;
	const char *sentence;
} bad_rings[] = {
	{ { .size = 0 }, "no size" },
	{ { .size = 3 }, "no size" },
	{ { .size = 2048 }, "no size" },
	{ { .size = 8, .desc = DESC + 8, .driver = AVAIL, .device = USED }, "misaligned" },
	{ { .size = 8, .desc = DESC, .driver = AVAIL + 1, .device = USED }, "misaligned" },
	{ { .size = 8, .desc = DESC, .driver = AVAIL, .device = USED + 2 }, "misaligned" },
	{ { .size = 8, .desc = LOW_BYTES - 112, .driver = AVAIL, .device = USED },
	  "descriptor table at 0x3ff90 is not in memory" },
	{ { .size = 8, .desc = DESC, .driver = LOW_BYTES - 20, .device = USED }, "available ring" },
	{ { .size = 8, .desc = DESC, .driver = AVAIL, .device = LOW_BYTES - 68 }, "used ring" },
	{ { .size = 8, .desc = DESC, .driver = AVAIL, .device = UINT64_C(0xfffffffffffffffc) },
	  "not in memory" },
};

START_TEST(test_bad_rings)
{
	struct err e;

	b.s = bad_rings[_i].s;
	ck_assert_int_eq(vq_start(&b.vq, &b.mem, true, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, bad_rings[_i].sentence), "%s", e.text);
}
END_TEST

/* The last byte of each ring may be the last of memory. */
START_TEST(test_rings_at_the_end)
{
	b.s.desc = HIGH + HIGH_BYTES - 128;
	start(true);
	b.s.desc = DESC;
	b.s.driver = HIGH + HIGH_BYTES - 22;
	start(true);
	b.s.driver = AVAIL;
	b.s.device = HIGH + HIGH_BYTES - 72;
	start(true);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("virtqueue_lies");
	TCase *t = tcase_create("lies");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_lies, 0, ARRAY_SIZE(lies));
	tcase_add_test(t, test_more_in_flight_than_entries);
	tcase_add_loop_test(t, test_bad_rings, 0, ARRAY_SIZE(bad_rings));
	tcase_add_test(t, test_rings_at_the_end);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

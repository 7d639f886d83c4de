/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory that goes over in fewer bytes than it has. */
#include "../../src/migrate/encodings.h"
#include "check_main.h"
#include "ram_moves.h"

enum {
	PAGES = 1024,
	SLOW = 8 << 20, /* bytes a second: slower than any comparison */
	SEEDS = 24,
};

/* Every third page is full of what looks like noise. */
static void rig_new(struct ram_rig *rig, unsigned n, unsigned encodings, unsigned seed)
{
	ram_rig_new(rig, PAGES * GUEST_PAGE_BYTES, n, false);
	for (unsigned i = 0; i < PAGES; i += 3)
		for (unsigned k = 0; k < GUEST_PAGE_BYTES; k++)
			ram_page(rig->vm.mem, i)[k] = (uint8_t)rand_r(&seed);
	ram_sender_allow(rig->sender, encodings);
}

/* The first round, over a slow link. */
static void begin_slowly(struct ram_rig *rig)
{
	begin(rig);
	ram_sender_set_bandwidth(rig->sender, SLOW);
	go_round(rig);
	ram_sender_set_bandwidth(rig->sender, 0);
}

static void change(struct ram_rig *rig, uint64_t page, unsigned *seed)
{
	uint8_t bytes[3] = { (uint8_t)rand_r(seed), (uint8_t)rand_r(seed), (uint8_t)rand_r(seed) };
	uint64_t at = (uint64_t)rand_r(seed) % (GUEST_PAGE_BYTES - sizeof(bytes));

	ck_assert_int_eq(
		guest_mem_write(rig->vm.mem, page * GUEST_PAGE_BYTES + at, bytes, sizeof(bytes)),
		0);
}

/* _i: connections */
START_TEST(test_differences)
{
	/* One piece of each connection, where memory is small */
	const unsigned cached = MIN(PAGES, (unsigned)_i * 512);
	struct ram_round round;
	unsigned seed = 1;
	struct ram_rig rig;

	rig_new(&rig, (unsigned)_i, ENCODING_DIFF, seed);
	begin_slowly(&rig);
	for (unsigned i = 0; i < PAGES; i++)
		change(&rig, i, &seed);
	round = go_round(&rig); /* the first that the cache sees of them */
	ck_assert_uint_eq(round.pages, PAGES);
	ck_assert_uint_eq(round.diff_pages, 0);
	for (unsigned i = 0; i < PAGES; i++)
		change(&rig, i, &seed);
	ram_write(&rig, 5, 0);
	round = go_round(&rig);
	ck_assert_uint_eq(round.diff_pages, cached - 1);
	ck_assert_uint_eq(round.zero_pages, 1);
	ck_assert_uint_eq(round.pages, PAGES - cached);
	ck_assert_uint_lt(round.bytes, (PAGES - cached) * GUEST_PAGE_BYTES + PAGES * 16);
	change(&rig, 5, &seed); /* was sent as zeros: nothing is known of it */
	change(&rig, 6, &seed);
	ram_write(&rig, 7, 0x7777); /* little of it is as it was */
	memset(ram_page(rig.vm.mem, 9), 0x55, GUEST_PAGE_BYTES);
	guest_mem_mark_dirty(rig.vm.mem, 9 * GUEST_PAGE_BYTES, GUEST_PAGE_BYTES);
	guest_mem_mark_dirty(rig.vm.mem, 8 * GUEST_PAGE_BYTES, 1); /* written as it was */
	round = finish(&rig);
	ck_assert_uint_eq(round.diff_pages + round.pages, 5);
	ck_assert_uint_ge(round.diff_pages, 2);
	ck_assert_uint_ge(round.pages, 2);
	ram_rig_free(&rig);
}
END_TEST

/* A destination that does not know them, and a guest that leaves no page as it was: it is not tried
 * again at once. */
START_TEST(test_whole_pages)
{
	struct ram_rig rig;
	unsigned seed = 1;

	rig_new(&rig, 1, _i ? ENCODING_DIFF : 0, seed);
	begin_slowly(&rig);
	for (int round = 0; _i && round < 3; round++) {
		for (unsigned i = 0; i < PAGES; i++)
			memset(ram_page(rig.vm.mem, i), 1 + round + 8 * (int)(i % 16),
			       GUEST_PAGE_BYTES);
		guest_mem_mark_dirty(rig.vm.mem, 0, PAGES * GUEST_PAGE_BYTES);
		go_round(&rig);
	}
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < PAGES; i++)
			change(&rig, i, &seed);
		ck_assert_uint_eq(go_round(&rig).diff_pages, 0);
	}
	finish(&rig);
	ram_rig_free(&rig);
}
END_TEST

/* _i: codec and connections. Noise, which goes as it is, text of a kind, and little of anything. */
START_TEST(test_compressed)
{
	const enum migration_compress wanted = MIGRATION_COMPRESS_LZ4 + (unsigned)_i % 2;
	const struct ram_progress *p;
	struct ram_rig rig;
	unsigned seed = 1;

	rig_new(&rig, (unsigned)_i / 2 + 1, ENCODING_LZ4 | ENCODING_ZSTD, seed);
	p = ram_sender_progress(rig.sender);
	for (unsigned i = 512; i < PAGES; i++)
		for (unsigned k = 0; k < GUEST_PAGE_BYTES; k++)
			ram_page(rig.vm.mem,
				 i)[k] = "words, "[(unsigned)rand_r(&seed) % 40 * k % 7];
	begin(&rig);
	ram_sender_set_compress(rig.sender, wanted);
	go_round(&rig);
	ck_assert_uint_eq(p->pages, 171 + 512);
	ck_assert_uint_ge(p->compressed_pages, 448);
	ck_assert_uint_lt(p->compressed_bytes, p->compressed_pages * GUEST_PAGE_BYTES * 7 / 8);
	ck_assert_uint_eq(p->codec, (unsigned)_i % 2 + 1);
	for (unsigned i = 0; i < PAGES; i += 7)
		change(&rig, i, &seed);
	finish(&rig);
	ram_rig_free(&rig);
}
END_TEST

/* From then on, both ways; and what the other side does not read is not sent. */
START_TEST(test_compression_changes)
{
	const struct ram_progress *p;
	struct ram_rig rig;
	uint64_t before;

	rig_new(&rig, 1, ENCODING_ZSTD, 1);
	p = ram_sender_progress(rig.sender);
	begin(&rig);
	ram_sender_set_compress(rig.sender, MIGRATION_COMPRESS_LZ4);
	for (unsigned i = 0; i < PAGES; i++)
		ram_write(&rig, i, 1);
	go_round(&rig);
	ck_assert_uint_eq(p->compressed_pages, 0);
	ram_sender_set_compress(rig.sender, MIGRATION_COMPRESS_ZSTD);
	for (unsigned i = 0; i < PAGES; i++)
		ram_write(&rig, i, 2);
	go_round(&rig);
	before = p->compressed_pages;
	ck_assert_uint_eq(before, PAGES);
	ram_sender_set_compress(rig.sender, MIGRATION_COMPRESS_NONE);
	for (unsigned i = 0; i < PAGES; i++)
		ram_write(&rig, i, 3);
	finish(&rig);
	ck_assert_uint_eq(p->compressed_pages, before);
	ck_assert_uint_eq(p->codec, 0);
	ram_rig_free(&rig);
}
END_TEST

/* Before the cuts each connection has sent differences; its new one begins with whole pages. */
START_TEST(test_lost_connections)
{
	struct cuts c = { .seed = (unsigned)_i + 1, .cut = 4, .others = _i % 2 };
	struct ram_rig rig;

	rig_new(&rig, (unsigned)_i % 3 + 1, ENCODING_DIFF | ENCODING_LZ4, c.seed);
	begin_slowly(&rig);
	if (_i / 2 % 2)
		ram_sender_set_compress(rig.sender, MIGRATION_COMPRESS_LZ4);
	c.rig = &rig;
	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 200; i++)
			change(&rig, (uint64_t)rand_r(&c.seed) % (PAGES / 4), &c.seed);
		if (round % 4 == 2)
			reconnect(&c);
		until_done(&c, ram_sender_round);
	}
	until_done(&c, ram_sender_finish);
	ram_disconnect(&rig, 0);
	ram_assert_same(&rig);
	ck_assert_uint_gt(ram_sender_progress(rig.sender)->diff_pages, 0);
	ram_rig_free(&rig);
}
END_TEST

static Suite *ram_pack_suite(void)
{
	Suite *s = suite_create("ram_pack");
	TCase *tc = tcase_create("ram_pack");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_differences, 1, 4);
	tcase_add_loop_test(tc, test_whole_pages, 0, 2);
	tcase_add_loop_test(tc, test_compressed, 0, 6);
	tcase_add_test(tc, test_compression_changes);
	tcase_add_loop_test(tc, test_lost_connections, 0, SEEDS);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(ram_pack_suite)

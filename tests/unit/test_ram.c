/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory on its way to another host. */
#include "../../src/migrate/page.h"
#include "../../src/migrate/section.h"
#include "check_main.h"
#include "ram_moves.h"

enum { PAGES = 4096, SEEDS = 120 };

START_TEST(test_zero_pages)
{
	uint8_t page[GUEST_PAGE_BYTES] __attribute__((aligned(GUEST_PAGE_BYTES))) = { 0 };

	ck_assert(page_is_zero(page));
	for (int i = 0; i < GUEST_PAGE_BYTES; i++) {
		page[i] = 0x80;
		ck_assert(!page_is_zero(page));
		page[i] = 0;
	}
}
END_TEST

static unsigned resident(struct guest_mem *m)
{
	unsigned char in[PAGES];
	unsigned n = 0;

	ck_assert_int_eq(mincore(m->region[0].host, m->region[0].size_bytes, in), 0);
	for (unsigned i = 0; i < PAGES; i++)
		n += in[i] & 1;
	return n;
}

/* _i: connections; the other thing is shared memory. */
START_TEST(test_first_pass)
{
	unsigned n = (unsigned)_i % 4 + 1, written = 0;
	bool shared = _i >= 4;
	struct ram_round round;
	struct ram_rig rig;
	struct err e;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, n, shared);
	for (unsigned i = 0; i < PAGES; i += 1 + i % 7, written++)
		ram_page(rig.vm.mem, i)[i] = 1;
	memset(ram_page(rig.vm.mem, 2), 0, GUEST_PAGE_BYTES); /* touched, and zero */
	begin(&rig);
	round = go_round(&rig);
	ck_assert_uint_eq(round.pages, written);
	ck_assert_uint_eq(round.zero_pages, 0);
	ck_assert_uint_eq(round.pending, written + 1);
	ok(ram_sender_finish(rig.sender, &round, &e), &e);
	ck_assert_uint_eq(round.pages, 0);
	ram_disconnect(&rig, 0);
	ck_assert_uint_eq(resident(rig.to), written);
	ram_assert_same(&rig);
	ram_rig_free(&rig);
}
END_TEST

START_TEST(test_no_page_is_touched_here)
{
	struct ram_rig rig;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 1, _i);
	ram_page(rig.vm.mem, 77)[0] = 1;
	begin(&rig);
	ck_assert_uint_eq(go_round(&rig).pending, 1);
	ck_assert_uint_eq(resident(rig.vm.mem), 1);
	finish(&rig);
	ram_rig_free(&rig);
}
END_TEST

/* _i: shared memory.  Given back before the move and in the middle of it. */
START_TEST(test_discarded_pages)
{
	struct ram_round round;
	struct ram_rig rig;
	struct err e;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 2, _i);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig.vm.mem, i)[0] = 1;
	ck_assert_int_eq(guest_mem_discard(rig.vm.mem, 0, 256 * GUEST_PAGE_BYTES), 0);
	begin(&rig);
	round = go_round(&rig);
	ck_assert_uint_eq(round.pending, PAGES - 256);
	ck_assert_uint_eq(round.pages, PAGES - 256);
	ck_assert_uint_eq(round.zero_pages, 0);
	ck_assert_uint_eq(resident(rig.to), PAGES - 256);
	/* Much at once, a page that is zero over there already, and one by itself. */
	ck_assert_int_eq(
		guest_mem_discard(rig.vm.mem, 255 * GUEST_PAGE_BYTES, 513 * GUEST_PAGE_BYTES), 0);
	ck_assert_int_eq(guest_mem_discard(rig.vm.mem, 2000 * GUEST_PAGE_BYTES, GUEST_PAGE_BYTES),
			 0);
	round = go_round(&rig);
	ck_assert_uint_eq(round.pending, 514);
	ck_assert_uint_eq(round.pages, 0);
	ck_assert_uint_eq(round.zero_pages, 513);
	ok(ram_sender_finish(rig.sender, &round, &e), &e);
	ram_disconnect(&rig, 0);
	if (_i) /* else what was read is the host's page of zeros */
		ck_assert_uint_eq(resident(rig.vm.mem), PAGES - 769);
	ck_assert_uint_eq(resident(rig.to), PAGES - 256 - 512);
	ram_assert_same(&rig);
	ram_rig_free(&rig);
}
END_TEST

START_TEST(test_pages_written_meanwhile)
{
	struct ram_round round;
	struct ram_rig rig;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 2, false);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig.vm.mem, i)[0] = 1;
	begin(&rig);
	ck_assert_uint_eq(go_round(&rig).pages, PAGES);
	ck_assert_uint_eq(go_round(&rig).pending, 0);
	ram_write(&rig, 5, 1);
	ram_write(&rig, 6, 2);
	ram_write(&rig, 4000, 3);
	ram_write(&rig, 9, 0); /* was not zero, and is now */
	round = go_round(&rig);
	ck_assert_uint_eq(round.pending, 4);
	ck_assert_uint_eq(round.pages, 3);
	ck_assert_uint_eq(round.zero_pages, 1);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->round, 3);
	ram_write(&rig, 5, 4);
	ck_assert_uint_eq(finish(&rig).pages, 1);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->pages, PAGES + 4);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->resent_pages, 0);
	ram_rig_free(&rig);
}
END_TEST

static void expect_hints(struct ram_rig *rig)
{
	struct err e;

	ok(ram_sender_expect_hints(rig->sender, &e), &e);
}

static void hint(struct ram_rig *rig, unsigned first, unsigned n)
{
	guest_mem_hint(rig->vm.mem, first * GUEST_PAGE_BYTES, n * GUEST_PAGE_BYTES);
}

/* Left out of the first round; but not what was written since the guest was asked, before the hint
 * or behind it. */
START_TEST(test_hinted_pages)
{
	struct ram_round round;
	struct ram_rig rig;
	struct err e;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 2, _i);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig.vm.mem, i)[0] = 1;
	begin(&rig);
	hint(&rig, 0, PAGES); /* nobody has asked */
	expect_hints(&rig);
	ram_write(&rig, 1100, 5);
	hint(&rig, 1000, 1500);
	hint(&rig, 3000, 1);
	ram_write(&rig, 1200, 6);
	round = go_round(&rig);
	ck_assert_uint_eq(round.hinted_pages, 1501);
	ck_assert_uint_eq(round.pages, PAGES - 1501);
	ck_assert_uint_eq(round.pending, PAGES - 1501);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->remaining, 0);
	ram_sender_end_hints(rig.sender);
	hint(&rig, 0, PAGES);
	ram_write(&rig, 3000, 7);
	ck_assert_uint_eq(go_round(&rig).pages, 3);
	ok(ram_sender_finish(rig.sender, &round, &e), &e);
	ram_disconnect(&rig, 0);
	ck_assert_uint_eq(resident(rig.to), PAGES - 1498);
	for (unsigned i = 1000; i < 2500; i++) /* it may have anything in them */
		if (i != 1100 && i != 1200)
			memset(ram_page(rig.vm.mem, i), 0, GUEST_PAGE_BYTES);
	ram_assert_same(&rig);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->hinted_pages, 1501);
	ram_rig_free(&rig);
}
END_TEST

/* A connection that is lost in that round: what was left out needs nobody later, either. */
START_TEST(test_hints_and_a_lost_connection)
{
	const uint64_t bytes[] = { 500 * GUEST_PAGE_BYTES, UINT64_MAX };
	struct ram_round round;
	struct ram_rig rig;
	struct err e;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 1, false);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig.vm.mem, i)[0] = 1;
	ok(ram_connect(&rig, &bytes[0], &e), &e);
	ok(ram_sender_start(rig.sender, &e), &e);
	expect_hints(&rig);
	hint(&rig, 0, 100);
	ram_write(&rig, 50, 9);
	ck_assert_int_eq(ram_sender_round(rig.sender, &round, &e), -ENOTCONN);
	ram_sender_end_hints(rig.sender);
	ram_disconnect(&rig, -ENOTCONN);
	ok(ram_connect(&rig, &bytes[1], &e), &e);
	ok(ram_sender_round(rig.sender, &round, &e), &e);
	ok(ram_sender_finish(rig.sender, &round, &e), &e);
	ram_disconnect(&rig, 0);
	ck_assert_uint_eq(resident(rig.to), PAGES - 99);
	for (unsigned i = 0; i < 100; i++)
		if (i != 50)
			memset(ram_page(rig.vm.mem, i), 0, GUEST_PAGE_BYTES);
	ram_assert_same(&rig);
	ram_rig_free(&rig);
}
END_TEST

/* More sections than the ring holds. */
START_TEST(test_many_rounds)
{
	struct ram_rig rig;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 1, false);
	begin(&rig);
	for (unsigned i = 0; i < 40 * SECTION_ACK_EVERY; i++) {
		ram_write(&rig, i % PAGES, i + 1);
		ck_assert_uint_eq(go_round(&rig).pages, 1);
	}
	finish(&rig);
	ram_rig_free(&rig);
}
END_TEST

START_TEST(test_memory_above_the_hole)
{
	struct ram_round round;
	struct ram_rig rig;
	struct err e;
	uint8_t *high;

	ram_rig_new(&rig, 4 * (uint64_t)GIB, 2, false);
	ck_assert_uint_eq(rig.vm.mem->nregions, 2);
	high = rig.vm.mem->region[1].host;
	high[rig.vm.mem->region[1].size_bytes - 1] = 1;
	begin(&rig);
	ck_assert_uint_eq(go_round(&rig).pages, 1);
	guest_mem_write(rig.vm.mem, rig.vm.mem->region[1].base, "x", 1);
	ok(ram_sender_finish(rig.sender, &round, &e), &e);
	ck_assert_uint_eq(round.pages, 1);
	ck_assert_int_eq(rig.to->region[1].host[0], 'x');
	ck_assert_int_eq(rig.to->region[1].host[rig.to->region[1].size_bytes - 1], 1);
	ram_disconnect(&rig, 0);
	ram_rig_free(&rig);
}
END_TEST

START_TEST(test_lost_connections)
{
	struct cuts c = { .seed = (unsigned)_i + 1, .others = _i % 2 };
	struct ram_rig rig;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, (unsigned)_i % 3 + 1, _i / 2 % 2);
	for (unsigned i = 0; i < PAGES; i += 1 + (unsigned)rand_r(&c.seed) % 3)
		ram_page(rig.vm.mem, i)[i] = 1;
	begin(&rig);
	c.rig = &rig;
	reconnect(&c);
	for (int round = 0; round < 4; round++) {
		until_done(&c, ram_sender_round);
		for (int i = 0; i < 300; i++)
			ram_write(&rig, (uint64_t)rand_r(&c.seed) % PAGES,
				  (uint64_t)rand_r(&c.seed) % 3);
	}
	until_done(&c, ram_sender_finish);
	ram_disconnect(&rig, 0);
	ram_assert_same(&rig);
	ck_assert_uint_gt(ram_sender_progress(rig.sender)->resent_pages, 0);
	ram_rig_free(&rig);
}
END_TEST

enum { FILLED = 300 * GUEST_PAGE_BYTES }; /* of each block */

static void *unplug_all(void *arg)
{
	struct guest_mem *m = arg;
	const struct guest_mem_region *r = guest_mem_pluggable(m);

	for (unsigned b = 0; b < r->size_bytes / r->block_bytes; b++) {
		ck_assert_int_eq(guest_mem_unplug(m, b, 1), 0);
		usleep(500);
	}
	return NULL;
}

/* The guest unplugs what is on its way, or was on a connection that is lost. */
START_TEST(test_blocks_unplugged_meanwhile)
{
	const struct guest_mem_config config = { .size_bytes = MIB,
						 .pluggable_bytes = MIB,
						 .plugged = true };
	struct cuts c = { .seed = (unsigned)_i + 1 };
	struct guest_mem_region *r;
	struct ram_rig rig;
	pthread_t thread;

	ram_rig_of(&rig, &config, (unsigned)_i % 2 + 1);
	r = guest_mem_pluggable(rig.vm.mem);
	for (uint64_t at = 0; at < r->size_bytes; at += r->block_bytes)
		memset(r->host + at, 'x', FILLED);
	begin(&rig);
	c.rig = &rig;
	reconnect(&c);
	pthread_create(&thread, NULL, unplug_all, rig.vm.mem);
	until_done(&c, ram_sender_round);
	pthread_join(thread, NULL);
	until_done(&c, ram_sender_finish);
	ram_disconnect(&rig, 0);
	ram_assert_same(&rig);
	ram_rig_free(&rig);
}
END_TEST

/* One connection, and all of memory is to be sent. */
static void begin_full(struct ram_rig *rig)
{
	ram_rig_new(rig, PAGES * GUEST_PAGE_BYTES, 1, false);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig->vm.mem, i)[0] = 1;
	begin(rig);
}

/* It ends before all is sent, and goes on with another number of connections. */
START_TEST(test_round_ends_early)
{
	struct ram_round round;
	struct ram_rig rig;
	struct err e = { "" };

	begin_full(&rig);
	ram_sender_set_end(rig.sender, 0);
	ck_assert_int_eq(ram_sender_round(rig.sender, &round, &e), -ETIME);
	ck_assert_uint_eq(round.pages, 0);
	ram_disconnect(&rig, -ENOTCONN);
	ram_resize(&rig, 3);
	ok(ram_connect(&rig, uncut, &e), &e);
	ram_sender_set_end(rig.sender, UINT64_MAX);
	ck_assert_uint_eq(go_round(&rig).pages, PAGES);
	ram_write(&rig, 5, 2);
	ram_sender_set_end(rig.sender, 0);
	ck_assert_uint_eq(finish(&rig).pages, 1);
	ram_rig_free(&rig);
}
END_TEST

/* The round of a rig that is ended as soon as so many pages went. */
struct ending {
	struct ram_rig *rig;
	uint64_t pages;
};

static void *end_round(void *arg)
{
	const struct ending *end = arg;
	const struct ram_progress *p = ram_sender_progress(end->rig->sender);

	while (p->pages < end->pages)
		usleep(1000);
	ram_sender_set_end(end->rig->sender, 0);
	return NULL;
}

/* What it has gathered by then went before what is found afterwards, and does not go again. */
START_TEST(test_next_round_is_newer)
{
	const unsigned a_section = SECTION_PAGES_MAX / GUEST_PAGE_BYTES;
	struct ending end;
	struct ram_round round;
	struct ram_rig rig;
	struct err e = { "" };
	pthread_t thread;

	begin_full(&rig);
	go_round(&rig);
	end = (struct ending){ &rig, PAGES + a_section };
	ram_write(&rig, 0, 0);
	for (unsigned i = 1; i <= a_section + 1; i++)
		ram_write(&rig, i, 2);
	ram_write(&rig, PAGES - 1, 2);
	/* The limit holds it up behind the first section until its end. */
	ram_sender_set_bandwidth(rig.sender, 1);
	pthread_create(&thread, NULL, end_round, &end);
	ck_assert_int_eq(ram_sender_round(rig.sender, &round, &e), -ETIME);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(ram_sender_pending(rig.sender), 1);
	ck_assert_uint_eq(round.pages, a_section + 1);
	ck_assert_uint_eq(round.zero_pages, 1);
	ok(ram_sender_settle(rig.sender, &e), &e);
	ram_disconnect(&rig, 0);
	ram_resize(&rig, 2);
	ok(ram_connect(&rig, uncut, &e), &e);
	ram_write(&rig, 0, 3);
	ram_sender_set_bandwidth(rig.sender, 0);
	ram_sender_set_end(rig.sender, UINT64_MAX);
	/* It is the same round. */
	ck_assert_uint_eq(go_round(&rig).pages, a_section + 3);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->round, 2);
	finish(&rig);
	ck_assert_uint_eq(ram_sender_progress(rig.sender)->resent_pages, 0);
	ram_rig_free(&rig);
}
END_TEST

static void *round_of(void *arg)
{
	return (void *)(uintptr_t)go_round(arg).pages;
}

START_TEST(test_bandwidth_limit)
{
	const unsigned a_section = SECTION_PAGES_MAX / GUEST_PAGE_BYTES;
	const struct ram_progress *p;
	struct ram_rig rig;
	pthread_t thread;
	void *pages;

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 1, false);
	p = ram_sender_progress(rig.sender);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig.vm.mem, i)[0] = 1;
	begin(&rig);
	ram_sender_set_bandwidth(rig.sender, 1);
	pthread_create(&thread, NULL, round_of, &rig);
	while (p->pages < a_section)
		usleep(1000);
	usleep(50000);
	ck_assert_uint_eq(p->pages, a_section);
	ck_assert_uint_gt(p->remaining, 0);
	ram_sender_set_bandwidth(rig.sender, 0);
	pthread_join(thread, &pages);
	ck_assert_uint_eq((uintptr_t)pages, PAGES);
	/* It does not hold where the guest waits. */
	ram_sender_set_bandwidth(rig.sender, 1);
	for (unsigned i = 0; i < PAGES; i++)
		ram_write(&rig, i, 2);
	ck_assert_uint_eq(finish(&rig).pages, PAGES);
	ram_rig_free(&rig);
}
END_TEST

START_TEST(test_cancel)
{
	struct ram_round round;
	struct ram_rig rig;
	struct err e;
	int fds[2];

	ram_rig_new(&rig, PAGES * GUEST_PAGE_BYTES, 2, false);
	for (unsigned i = 0; i < PAGES; i++)
		ram_page(rig.vm.mem, i)[0] = 1;
	begin(&rig);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	rig.wire[0].out.cancel_fd = rig.wire[1].out.cancel_fd = fds[0];
	ram_sender_set_bandwidth(rig.sender, 1);
	ck_assert_int_eq(ram_sender_round(rig.sender, &round, &e), -ECANCELED);
	ck_assert_ptr_nonnull(rig.vm.mem->region[0].dirty);
	ram_sender_stop(rig.sender);
	ck_assert_ptr_null(rig.vm.mem->region[0].dirty);
	ram_disconnect(&rig, -ENOTCONN);
	close(fds[0]);
	close(fds[1]);
	ram_rig_free(&rig);
}
END_TEST

static Suite *ram_suite(void)
{
	Suite *s = suite_create("ram");
	TCase *tc = tcase_create("ram");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_zero_pages);
	tcase_add_loop_test(tc, test_first_pass, 0, 8);
	tcase_add_loop_test(tc, test_no_page_is_touched_here, 0, 2);
	tcase_add_loop_test(tc, test_discarded_pages, 0, 2);
	tcase_add_test(tc, test_pages_written_meanwhile);
	tcase_add_loop_test(tc, test_hinted_pages, 0, 2);
	tcase_add_test(tc, test_hints_and_a_lost_connection);
	tcase_add_test(tc, test_many_rounds);
	tcase_add_test(tc, test_memory_above_the_hole);
	tcase_add_loop_test(tc, test_lost_connections, 0, SEEDS);
	tcase_add_loop_test(tc, test_blocks_unplugged_meanwhile, 0, 20);
	tcase_add_test(tc, test_round_ends_early);
	tcase_add_test(tc, test_next_round_is_newer);
	tcase_add_test(tc, test_bandwidth_limit);
	tcase_add_test(tc, test_cancel);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(ram_suite)

/* SPDX-License-Identifier: Apache-2.0 */
/* What a few looks at random pages say of the whole memory, and what they leave alone. */
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "guest_mem.h"
#include "loop.h"
#include "page_sample.h"
#include "vm.h"

enum { SIZE = 64 * MIB, PAGES = SIZE / GUEST_PAGE_BYTES };

static struct guest_mem *mem;
static struct page_sample *sample;
static uint8_t stamp;

static void begin(bool shared)
{
	const struct guest_mem_config c = { .size_bytes = SIZE, .shared = shared };
	struct err e;

	ck_assert_msg(!guest_mem_new(&mem, &c, &e), "%s", e.text);
	sample = page_sample_new(mem);
	ck_assert_ptr_nonnull(sample);
}

static void end(void)
{
	page_sample_free(sample);
	guest_mem_free(mem);
}

/* One word of each, anew. */
static void write_part(unsigned first, unsigned n)
{
	stamp++;
	for (unsigned i = first; i < first + n; i++)
		mem->region[0].host[i * GUEST_PAGE_BYTES + 2000] = stamp;
}

static struct memory_writes look(enum page_window window)
{
	struct memory_writes w = { 0 };

	/* What long windows find says how often something is written at least: in none of the short
	 * ones, as late as they may come, as often as that. */
	usleep(window == PAGE_WINDOW_LONG ? 40000 : 2000);
	page_sample_look(sample, window);
	page_sample_find(sample, &w);
	return w;
}

static uint64_t held(void)
{
	static _Atomic uint64_t all[PAGES / 64];

	memset((void *)all, 0xff, sizeof(all));
	return guest_mem_count_held(mem, &mem->region[0], all);
}

/* About a half, as 512 pages show it. */
static void is_half(uint64_t bytes)
{
	ck_assert_uint_gt(bytes, SIZE / 3);
	ck_assert_uint_lt(bytes, SIZE / 3 * 2);
}

START_TEST(takes_no_memory)
{
	struct memory_writes w;

	begin(_i);
	for (unsigned i = 0; i < 4; i++) {
		w = look(i % 2 ? PAGE_WINDOW_SHORT : PAGE_WINDOW_LONG);
		ck_assert(!w.bytes && !w.rate && !w.set);
	}
	ck_assert_uint_eq(held(), 0);
	write_part(0, PAGES / 2);
	is_half(look(PAGE_WINDOW_LONG).bytes);
	ck_assert_uint_eq(held(), PAGES / 2);
	end();
}
END_TEST

/* By a balloon: it stays there, and nobody has written it. */
START_TEST(given_back)
{
	struct memory_writes w;

	begin(_i);
	write_part(0, PAGES);
	look(PAGE_WINDOW_LONG);
	ck_assert_int_eq(guest_mem_discard(mem, 0, SIZE), 0);
	w = look(PAGE_WINDOW_LONG);
	ck_assert(!w.bytes && !w.rate && !w.set);
	ck_assert_uint_eq(held(), 0);
	write_part(0, PAGES);
	ck_assert_uint_eq(look(PAGE_WINDOW_LONG).set, SIZE);
	end();
}
END_TEST

/* Pages that hold zeros are none to send, though the host holds them. */
START_TEST(zeros)
{
	begin(false);
	memset(mem->region[0].host, 0, SIZE);
	ck_assert_uint_eq(look(PAGE_WINDOW_LONG).bytes, 0);
	write_part(0, PAGES);
	ck_assert_uint_eq(look(PAGE_WINDOW_SHORT).bytes, SIZE);
	end();
}
END_TEST

/* The same half again and again is a half; quarters add up, until they are forgotten. */
START_TEST(write_set)
{
	struct memory_writes w;

	begin(false);
	write_part(0, PAGES);
	w = look(PAGE_WINDOW_LONG);
	ck_assert_uint_eq(w.bytes, SIZE);
	ck_assert(!w.rate && !w.set);
	write_part(0, PAGES / 2);
	w = look(PAGE_WINDOW_SHORT);
	ck_assert_uint_gt(w.rate, SIZE / 3);
	ck_assert_uint_eq(w.set, 0); /* nobody knows yet */
	for (unsigned i = 0; i < 5; i++) {
		write_part(0, PAGES / 2);
		w = look(i % 2 ? PAGE_WINDOW_SHORT : PAGE_WINDOW_LONG);
		is_half(w.set);
		ck_assert_uint_gt(w.rate, SIZE);
	}
	for (unsigned i = 0; i < 2; i++) {
		write_part(PAGES / 2 + i * PAGES / 4, PAGES / 4);
		w = look(PAGE_WINDOW_LONG);
	}
	ck_assert_uint_eq(w.set, SIZE);
	for (unsigned i = 0; i < 8; i++) {
		look(PAGE_WINDOW_LONG);
		w = look(PAGE_WINDOW_SHORT);
	}
	ck_assert(!w.set && !w.rate);
	ck_assert_uint_eq(w.bytes, SIZE);
	end();
}
END_TEST

/* Where half of a set is found in a short window, more was written: some of it twice. */
START_TEST(what_is_lost_in_a_window)
{
	struct memory_writes few, many;

	begin(false);
	look(PAGE_WINDOW_LONG);
	write_part(0, PAGES);
	look(PAGE_WINDOW_LONG);
	write_part(0, PAGES / 16);
	few = look(PAGE_WINDOW_SHORT);
	end();
	begin(false);
	look(PAGE_WINDOW_LONG);
	write_part(0, PAGES);
	look(PAGE_WINDOW_LONG);
	write_part(0, PAGES);
	many = look(PAGE_WINDOW_SHORT);
	end();
	ck_assert_uint_eq(few.set, SIZE);
	ck_assert_uint_eq(many.set, SIZE);
	ck_assert_uint_gt(many.rate, few.rate);
}
END_TEST

/* Where all of a set is found, one cannot tell how often it was written; so windows get shorter
 * until it can be told, and longer when it is written less. */
START_TEST(short_windows)
{
	struct memory_writes w;

	begin(false);
	look(PAGE_WINDOW_LONG);
	ck_assert_uint_eq(page_sample_short_ms(sample), 1000);
	for (unsigned i = 0; i < 3; i++) {
		write_part(0, PAGES / 2);
		look(PAGE_WINDOW_LONG);
		write_part(0, PAGES / 2);
		w = look(PAGE_WINDOW_SHORT);
		is_half(w.set);
		ck_assert_uint_gt(w.rate, w.set);
	}
	ck_assert_uint_eq(page_sample_short_ms(sample), 31);
	/* Those of another length are forgotten, what is written is not. */
	for (unsigned i = 0; i < 5; i++) {
		write_part(0, PAGES / 64);
		w = look(PAGE_WINDOW_SHORT);
		is_half(w.set);
	}
	ck_assert_uint_ge(page_sample_short_ms(sample), 248);
	end();
}
END_TEST

static void count_up(void *count)
{
	++*(unsigned *)count;
}

static void quit(void *loop)
{
	loop_quit(loop);
}

/* The first time it takes a second, then what is known is told at once. */
START_TEST(watches)
{
	struct vm vm = { .mem = NULL };
	struct memory_watch_ask ask = { .done = quit };
	struct memory_writes w;
	struct memory_watch *watch;
	unsigned told = 0;
	struct err e;

	begin(false);
	write_part(0, PAGES);
	vm.mem = mem;
	ck_assert_int_eq(loop_new(&vm.loop, &e), 0);
	ck_assert_int_eq(memory_watch_new(&watch, &vm, &e), 0);
	ck_assert(!memory_watch_read(watch, &w));
	ask.arg = vm.loop;
	memory_watch_ask(watch, &ask);
	memory_watch_want(watch);
	loop_run(vm.loop);
	ck_assert(memory_watch_read(watch, &w));
	ck_assert_uint_eq(w.samples, 1);
	ck_assert_uint_eq(w.bytes, SIZE);
	ask = (struct memory_watch_ask){ .done = count_up, .arg = &told };
	memory_watch_ask(watch, &ask);
	ck_assert_uint_eq(told, 1);
	memory_watch_free(watch);
	/* One that waits is told that there will be nothing more. */
	ck_assert_int_eq(memory_watch_new(&watch, &vm, &e), 0);
	memory_watch_ask(watch, &ask);
	ck_assert_uint_eq(told, 1);
	memory_watch_free(watch);
	ck_assert_uint_eq(told, 2);
	loop_free(vm.loop);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("page_sample");
	TCase *t = tcase_create("page_sample");

	tcase_add_loop_test(t, takes_no_memory, 0, 2);
	tcase_add_loop_test(t, given_back, 0, 2);
	tcase_add_test(t, zeros);
	tcase_add_test(t, write_set);
	tcase_add_test(t, what_is_lost_in_a_window);
	tcase_add_test(t, short_windows);
	tcase_add_test(t, watches);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "cleanup.h"
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

enum { PAGES = 4096 };

static uint8_t *page(struct guest_mem *m, unsigned n)
{
	return guest_mem_at(m, n * (gpa_t)GUEST_PAGE_BYTES, GUEST_PAGE_BYTES);
}

static void fill(struct guest_mem *m, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		memset(page(m, i), 'x', GUEST_PAGE_BYTES);
}

/* A view of a file full of 'f'. */
static struct guest_mem *view_new(void)
{
	struct guest_mem_config c = { .size_bytes = PAGES * GUEST_PAGE_BYTES, .from_file = true };
	char block[GUEST_PAGE_BYTES];
	struct guest_mem *m;
	struct err e;

	memset(block, 'f', sizeof(block));
	c.file_fd = memfd_create("view", MFD_CLOEXEC);
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert_int_eq(write(c.file_fd, block, sizeof(block)), sizeof(block));
	ck_assert_msg(guest_mem_new(&m, &c, &e) == 0, "%s", e.text);
	close(c.file_fd);
	return m;
}

/* The first two blocks of a view of a file full of 'f', as they were saved: one is plugged. */
START_TEST(blocks_of_a_view)
{
	struct guest_mem_config c = {
		.size_bytes = MIB, .pluggable_bytes = MIB, .plugged = true, .from_file = true
	};
	uint64_t total = guest_mem_file_bytes(c.size_bytes, c.pluggable_bytes);
	struct guest_mem_region *r;
	struct guest_mem *m;
	struct err e;

	c.file_fd = memfd_create("view", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(c.file_fd, (off_t)total), 0);
	ck_assert_msg(guest_mem_new(&m, &c, &e) == 0, "%s", e.text);
	r = guest_mem_pluggable(m);
	ck_assert_uint_eq(c.size_bytes + r->size_bytes, total);
	for (unsigned b = 0; b < 2; b++)
		ck_assert_int_eq(
			pwrite(c.file_fd, "f", 1, (off_t)(c.size_bytes + b * r->block_bytes)), 1);
	close(c.file_fd);
	ck_assert_int_eq(guest_mem_unplug(m, 1, 1), 0);
	ck_assert_uint_eq(guest_mem_bytes(m), total - r->block_bytes);
	ck_assert_uint_eq(*r->host, 'f');
	ck_assert_uint_eq(r->host[r->block_bytes], 0);
	ck_assert_ptr_null(guest_mem_at(m, r->base, r->block_bytes + 1));
	ck_assert_ptr_eq(
		guest_mem_page(m, MIB / GUEST_PAGE_BYTES + r->block_bytes / GUEST_PAGE_BYTES),
		r->host + 2 * r->block_bytes);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(guest_mem_plug(m, 1, 1), 0);
		memset(guest_mem_at(m, r->base + r->block_bytes, r->block_bytes), 'x',
		       r->block_bytes);
		ck_assert_int_eq(guest_mem_unplug(m, 1, 1), 0);
		ck_assert_uint_eq(r->host[r->block_bytes], 0);
	}
	guest_mem_free(m);
}
END_TEST

enum { PRIVATE, SHARED, VIEW, KINDS };

static struct guest_mem *mem_of(int kind)
{
	const struct guest_mem_config c = { .size_bytes = PAGES * GUEST_PAGE_BYTES,
					    .shared = kind == SHARED };
	struct guest_mem *m;
	struct err e;

	if (kind == VIEW)
		return view_new();
	ck_assert_msg(guest_mem_new(&m, &c, &e) == 0, "%s", e.text);
	return m;
}

static uint64_t held(struct guest_mem *m)
{
	static _Atomic uint64_t all[PAGES / 64];

	for (unsigned i = 0; i < PAGES / 64; i++)
		all[i] = UINT64_MAX;
	return guest_mem_count_held(m, &m->region[0], all);
}

static int discard(struct guest_mem *m, unsigned first, unsigned n)
{
	return guest_mem_discard(m, first * (gpa_t)GUEST_PAGE_BYTES, n * GUEST_PAGE_BYTES);
}

START_TEST(gives_pages_back)
{
	struct guest_mem *m = mem_of(_i);
	char other = _i == VIEW ? 'f' : 0;

	ck_assert_uint_eq(held(m), 0);
	fill(m, 512, 1024);
	ck_assert_uint_eq(held(m), 512);
	ck_assert_int_eq(discard(m, 600, 100), 0);
	ck_assert_uint_eq(held(m), 412);
	/* In part again, and some that were never there. */
	ck_assert_int_eq(discard(m, 500, 112), 0);
	ck_assert_int_eq(discard(m, 650, 1), 0);
	ck_assert_uint_eq(held(m), 324);
	ck_assert_uint_eq(page(m, 499)[5], other);
	for (unsigned i = 500; i < 700; i++)
		ck_assert_uint_eq(page(m, i)[5], 0);
	ck_assert_uint_eq(page(m, 700)[5], 'x');
	if (_i != SHARED)
		ck_assert_uint_eq(held(m), 324); /* a look takes no memory */
	fill(m, 650, 651);
	ck_assert_uint_eq(page(m, 650)[5], 'x');
	ck_assert_int_eq(discard(m, 0, PAGES), 0);
	ck_assert_uint_eq(held(m), 0);
	guest_mem_free(m);
}
END_TEST

START_TEST(counts_only_what_is_asked_for)
{
	struct guest_mem *m = mem_of(_i);
	_Atomic uint64_t bits[PAGES / 64] = { 0 };

	fill(m, 100, 200);
	ck_assert_uint_eq(guest_mem_count_held(m, &m->region[0], bits), 0);
	bits[1] = BIT(99 % 64) | BIT(100 % 64) | BIT(101 % 64);
	bits[3] = BIT(199 % 64) | BIT(200 % 64);
	ck_assert_uint_eq(guest_mem_count_held(m, &m->region[0], bits), 3);
	guest_mem_free(m);
}
END_TEST

START_TEST(finds_what_was_touched)
{
	struct guest_mem *m = mem_of(_i ? VIEW : PRIVATE);
	uint64_t bits[PAGES / 64] = { 0 };

	fill(m, 64, 128);
	ck_assert_int_eq(discard(m, 96, 64), 0);
	fill(m, 150, 151);
	guest_mem_find_touched(&m->region[0], bits);
	ck_assert_uint_eq(bits[0], _i ? UINT64_MAX : 0); /* the file may hold anything */
	ck_assert_uint_eq(bits[1], UINT32_MAX);
	ck_assert_uint_eq(bits[2], BIT(150 % 64) | (_i ? UINT64_MAX << 32 : 0));
	guest_mem_free(m);
}
END_TEST

static int looks_like(struct guest_mem *m, unsigned i)
{
	CLEANUP(fd) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	return (int)guest_mem_look_up(m, guest_mem_page(m, i), fd);
}

START_TEST(knows_what_is_here)
{
	struct guest_mem *m = mem_of(_i);

	fill(m, 600, 700);
	ck_assert_int_eq(discard(m, 650, 50), 0);
	ck_assert_int_eq(looks_like(m, 599), _i == VIEW ? GUEST_MEM_AWAY : GUEST_MEM_HOLE);
	ck_assert_int_eq(looks_like(m, 600), GUEST_MEM_HERE);
	ck_assert_int_eq(looks_like(m, 649), GUEST_MEM_HERE);
	ck_assert_int_eq(looks_like(m, 650), GUEST_MEM_HOLE);
	ck_assert_uint_eq(held(m), 50);
	/* Of shared memory also what another mapping has written. */
	if (_i == SHARED) {
		ck_assert_int_eq(madvise(m->region[0].host, m->region[0].size_bytes, MADV_DONTNEED),
				 0);
		ck_assert_int_eq(looks_like(m, 600), GUEST_MEM_AWAY);
		ck_assert_int_eq(looks_like(m, 650), GUEST_MEM_HOLE);
	}
	ck_assert_int_eq((int)guest_mem_look_up(m, guest_mem_page(m, 0), -1), GUEST_MEM_HERE);
	guest_mem_free(m);
}
END_TEST

START_TEST(discards_whole_pages_of_ram_only)
{
	struct guest_mem *m = mem_of(_i);
	gpa_t end = PAGES * (gpa_t)GUEST_PAGE_BYTES;

	fill(m, 0, PAGES);
	ck_assert_int_eq(guest_mem_discard(m, 1, GUEST_PAGE_BYTES), -EINVAL);
	ck_assert_int_eq(guest_mem_discard(m, 0, GUEST_PAGE_BYTES - 1), -EINVAL);
	ck_assert_int_eq(guest_mem_discard(m, 0, 0), -EINVAL);
	ck_assert_int_eq(guest_mem_discard(m, end, GUEST_PAGE_BYTES), -EFAULT);
	ck_assert_int_eq(discard(m, PAGES - 1, 2), -EFAULT);
	ck_assert_int_eq(guest_mem_discard(m, 0, UINT64_MAX), -EFAULT);
	m->page_bytes = 2 * MIB;
	ck_assert_int_eq(discard(m, 0, 511), -EINVAL);
	ck_assert_int_eq(discard(m, 1, 512), -EINVAL);
	ck_assert_uint_eq(held(m), PAGES);
	guest_mem_free(m);
}
END_TEST

START_TEST(marks_what_it_discards)
{
	struct guest_mem *m = mem_of(_i);
	struct err e;

	ck_assert_int_eq(discard(m, 1, 1), 0);
	ck_assert_int_eq(guest_mem_log_start(m, &e), 0);
	ck_assert_int_eq(discard(m, 62, 4), 0);
	ck_assert_uint_eq(m->region[0].dirty_bits[0], BIT(62) | BIT(63));
	ck_assert_uint_eq(m->region[0].dirty_bits[1], 3);
	guest_mem_free(m);
}
END_TEST

static unsigned mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

/* Every other page: each is a piece, until there are too many for a process. */
START_TEST(a_view_is_not_divided_without_end)
{
	enum { MANY = 40000 };
	struct guest_mem_config c = { .size_bytes = MANY * (uint64_t)GUEST_PAGE_BYTES,
				      .from_file = true };
	unsigned before, given = 0;
	struct guest_mem *m;
	struct err e;

	c.file_fd = memfd_create("view", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(c.file_fd, (off_t)c.size_bytes), 0);
	ck_assert_int_eq(guest_mem_new(&m, &c, &e), 0);
	close(c.file_fd);
	before = mappings();
	for (unsigned i = 0; i < MANY; i += 2)
		given += !discard(m, i, 1);
	ck_assert_uint_eq(given, 8192);
	ck_assert_uint_le(mappings(), before + 2 * given);
	/* What was given back once can be again. */
	ck_assert_int_eq(discard(m, MANY - 2, 1), -ENOSPC);
	ck_assert_int_eq(discard(m, 0, 1), 0);
	guest_mem_free(m);
}
END_TEST

static Suite *guest_mem_suite(void)
{
	Suite *s = suite_create("guest_mem");
	TCase *t = tcase_create("guest_mem");

	tcase_add_test(t, blocks_of_a_view);
	tcase_add_test(t, splits_around_the_hole);
	tcase_add_test(t, refuses_what_wraps);
	tcase_add_test(t, more_than_a_tebibyte);
	tcase_add_test(t, marks_the_pages_it_writes);
	tcase_add_test(t, too_few_huge_pages_is_said);
	tcase_add_loop_test(t, gives_pages_back, 0, KINDS);
	tcase_add_loop_test(t, knows_what_is_here, 0, KINDS);
	tcase_add_loop_test(t, counts_only_what_is_asked_for, 0, KINDS);
	tcase_add_loop_test(t, finds_what_was_touched, 0, 2);
	tcase_add_loop_test(t, discards_whole_pages_of_ram_only, 0, KINDS);
	tcase_add_loop_test(t, marks_what_it_discards, 0, KINDS);
	tcase_add_test(t, a_view_is_not_divided_without_end);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(guest_mem_suite)

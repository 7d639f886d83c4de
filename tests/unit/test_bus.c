/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bits.h"
#include "bus.h"
#include "check_main.h"

struct probe {
	uint64_t offset, value;
	unsigned size, reads, writes;
};

static uint64_t probe_read(void *owner, uint64_t offset, unsigned size)
{
	struct probe *p = owner;

	p->offset = offset;
	p->size = size;
	p->reads++;
	return 0x1122334455667788;
}

static void probe_write(void *owner, uint64_t offset, unsigned size, uint64_t value)
{
	struct probe *p = owner;

	*p = (struct probe){ offset, value, size, p->reads, p->writes + 1 };
}

static const struct region_ops words = { .read = probe_read,
					 .write = probe_write,
					 .widths = 2 | 4 };

START_TEST(dispatches_offsets_and_masks)
{
	struct probe p = { 0 };
	struct region r;
	struct bus bus;
	struct err e;

	bus_init(&bus, "port", -1);
	region_init(&r, &bus, "probe", 8, &words, &p);
	ck_assert_int_eq(region_map(&r, 0x100, &e), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x104, 4), 0x55667788);
	ck_assert_uint_eq(p.offset, 4);
	bus_write(&bus, 0x106, 2, 0xabcdef);
	ck_assert_uint_eq(p.value, 0xcdef);
	ck_assert_uint_eq(p.offset, 6);
	bus_free(&bus);
}
END_TEST

START_TEST(misses_read_ones)
{
	static const struct {
		uint64_t address;
		unsigned size;
	} miss[] = { { 0xff, 2 },  { 0x108, 2 }, { 0x100, 1 }, { 0x100, 8 },
		     { 0x101, 2 }, { 0x106, 4 }, { 0x100, 3 }, { UINT64_MAX, 4 } };
	struct probe p = { 0 };
	struct region r;
	struct bus bus;
	struct err e;

	bus_init(&bus, "address", -1);
	region_init(&r, &bus, "probe", 8, &words, &p);
	ck_assert_int_eq(region_map(&r, 0x100, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(miss); i++) {
		ck_assert_uint_eq(bus_read(&bus, miss[i].address, miss[i].size),
				  ones(miss[i].size));
		bus_write(&bus, miss[i].address, miss[i].size, 0);
	}
	ck_assert_uint_eq(p.reads + p.writes, 0);
	bus_free(&bus);
}
END_TEST

START_TEST(overlap_names_both)
{
	struct region a, b;
	struct probe p;
	struct bus bus;
	struct err e;

	bus_init(&bus, "port", -1);
	region_init(&a, &bus, "uart", 8, &words, &p);
	region_init(&b, &bus, "cmos", 8, &words, &p);
	ck_assert_int_eq(region_map(&a, 0x100, &e), 0);
	for (uint64_t base = 0xf9; base <= 0x107; base++) {
		ck_assert_int_eq(region_map(&b, base, &e), -EBUSY);
		ck_assert_ptr_nonnull(strstr(e.text, "uart"));
		ck_assert_ptr_nonnull(strstr(e.text, "cmos"));
	}
	ck_assert_int_eq(region_map(&b, 0xf8, &e), 0);
	ck_assert_int_eq(region_map(&b, 0x108, &e), 0);
	ck_assert_uint_eq(bus.nregions, 2);
	ck_assert_int_eq(region_map(&b, UINT64_MAX - 3, &e), -EINVAL);
	region_unmap(&a);
	region_unmap(&a);
	ck_assert_uint_eq(bus.nregions, 0);
	bus_free(&bus);
}
END_TEST

/* Many regions mapped and unmapped in no order stay sorted and are all found. */
START_TEST(keeps_order)
{
	enum { N = 200 };
	static struct region r[N];
	static struct probe p[N];
	struct bus bus;
	struct err e;

	bus_init(&bus, "address", -1);
	for (unsigned i = 0; i < N; i++) {
		unsigned at = i * 77 % N;

		region_init(&r[at], &bus, "r", 16, &words, &p[at]);
		ck_assert_int_eq(region_map(&r[at], at * 32, &e), 0);
	}
	for (unsigned i = 0; i < N; i += 2)
		region_unmap(&r[i]);
	for (unsigned i = 0; i < N; i++)
		bus_write(&bus, i * 32 + 4, 4, i);
	for (unsigned i = 0; i < N; i++)
		ck_assert_uint_eq(p[i].writes, i % 2);
	bus_free(&bus);
}
END_TEST

START_TEST(store_signals_ioeventfd)
{
	struct ioeventfd kick = { .offset = 4, .fd = eventfd(0, EFD_NONBLOCK) };
	struct probe p = { 0 };
	struct region r;
	uint64_t count;
	struct bus bus;
	struct err e;

	bus_init(&bus, "address", -1);
	region_init(&r, &bus, "probe", 8, &words, &p);
	region_add_ioeventfd(&r, &kick);
	ck_assert_int_eq(region_map(&r, 0x100, &e), 0);
	bus_write(&bus, 0x104, 2, 1);
	bus_write(&bus, 0x100, 2, 1);
	ck_assert_int_eq(read(kick.fd, &count, 8), 8);
	ck_assert_uint_eq(count, 1);
	ck_assert_uint_eq(p.writes, 1);
	region_remove_ioeventfd(&r, &kick);
	bus_write(&bus, 0x104, 2, 1);
	ck_assert_uint_eq(p.writes, 2);
	close(kick.fd);
	bus_free(&bus);
}
END_TEST

static Suite *bus_suite(void)
{
	Suite *s = suite_create("bus");
	TCase *t = tcase_create("bus");

	tcase_add_test(t, dispatches_offsets_and_masks);
	tcase_add_test(t, misses_read_ones);
	tcase_add_test(t, overlap_names_both);
	tcase_add_test(t, keeps_order);
	tcase_add_test(t, store_signals_ioeventfd);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(bus_suite)

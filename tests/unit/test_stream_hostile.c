/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that are damaged, or made by somebody who wants to do harm. */
#include "../../src/migrate/section.h"
#include "check_main.h"
#include "toy_vm.h"

START_TEST(test_truncations)
{
	struct rig a;
	size_t len;
	int fd;

	rig_new(&a, false);
	page(&a, 1)[1] = 1;
	fd = saved(&a);
	len = size_of(fd);
	while (len-- > 0) {
		ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
		refused(&a, fd, "cut short");
	}
	close(fd);
	rig_free(&a);
}
END_TEST

START_TEST(test_bit_flips)
{
	struct rig a;
	uint8_t *map;
	size_t len;
	int fd;

	rig_new(&a, false);
	page(&a, 1)[1] = 1;
	fd = saved(&a);
	len = size_of(fd);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED);
	for (size_t bit = 0; bit<8 * len; bit += bit> 8 * 1024 && bit < 8 * 4096 ? 61 : 1) {
		map[bit / 8] ^= 1u << bit % 8;
		refused(&a, fd, "");
		map[bit / 8] ^= 1u << bit % 8;
	}
	munmap(map, len);
	close(fd);
	rig_free(&a);
}
END_TEST

/* Sections that a liar puts together, with checksums that are right. */
struct lie {
	int fd;
	struct state_buf b; /* the payload of the next section */
};

static void put_section(struct lie *l, unsigned type)
{
	struct iovec iov[2] = { [1] = { l->b.data, l->b.len } };
	struct channel ch = channel_of(l->fd);
	struct err e;

	ck_assert_int_eq(section_write(&ch, type, iov, 2, &e), 0);
	state_buf_free(&l->b);
}

static void put_u64s(struct lie *l, unsigned n, const uint64_t *v)
{
	for (unsigned i = 0; i < n; i++)
		state_buf_put_le(&l->b, 8, v[i]);
}

static void lie_begin(struct lie *l, bool memory)
{
	struct channel ch = channel_of(memory_file());
	struct err e;

	*l = (struct lie){ .fd = ch.fd };
	ck_assert_int_eq(section_write_magic(&ch, &e), 0);
	if (memory) {
		put_u64s(l, 2, (uint64_t[]){ 0, RAM_BYTES });
		put_section(l, SECTION_MEMORY);
	}
}

static void lie_end(struct lie *l, struct rig *rig, const char *sentence)
{
	refused(rig, l->fd, sentence);
	close(l->fd);
}

static void lie_about_pages(struct rig *rig, uint64_t nruns, uint64_t gpa, uint64_t len,
			    size_t payload, const char *sentence)
{
	struct lie l;

	lie_begin(&l, true);
	put_u64s(&l, 3, (uint64_t[]){ nruns, gpa, len });
	for (size_t i = 0; i < payload; i++)
		state_buf_put_le(&l.b, 1, 0x55);
	put_section(&l, SECTION_RAM);
	lie_end(&l, rig, sentence);
}

START_TEST(test_lies_about_memory)
{
	struct rig b;
	struct lie l;

	rig_new(&b, false);
	lie_about_pages(&b, SECTION_RUNS_MAX + 1, 0, 4096, 4096, "has no sense");
	lie_about_pages(&b, UINT64_MAX, 0, 4096, 4096, "has no sense");
	lie_about_pages(&b, 2, 0, 4096, 0, "too short");
	lie_about_pages(&b, 1, RAM_BYTES, 4096, 4096, "no pages of this VM are at 0x400000");
	lie_about_pages(&b, 1, RAM_BYTES - 4096, 8192, 8192, "no pages of this VM");
	lie_about_pages(&b, 1, 4096, UINT64_MAX - 4095, 4096, "no pages of this VM");
	lie_about_pages(&b, 1, 1, 4096, 4096, "no pages of this VM are at 0x1");
	lie_about_pages(&b, 1, 0, 100, 100, "no pages of this VM");
	lie_about_pages(&b, 1, 0, 0, 0, "no pages of this VM");
	lie_about_pages(&b, 1, 0, 4096, 4095, "has no sense");
	lie_about_pages(&b, 1, 0, 4096, 4097, "has no sense");
	lie_begin(&l, false);
	put_u64s(&l, 1, (uint64_t[]){ 0 });
	put_section(&l, SECTION_RAM);
	lie_end(&l, &b, "pages come too early");
	lie_begin(&l, true);
	put_u64s(&l, 2, (uint64_t[]){ 0, RAM_BYTES });
	put_section(&l, SECTION_MEMORY);
	lie_end(&l, &b, "memory twice");
	lie_begin(&l, false);
	put_section(&l, SECTION_MEMORY);
	lie_end(&l, &b, "another amount of memory");
	rig_free(&b);
}
END_TEST

static void put_device(struct lie *l, const char *kind, const char *id, const struct toy_state *s)
{
	struct err e;

	state_buf_put_name(&l->b, kind);
	state_buf_put_name(&l->b, id);
	if (s)
		ck_assert_int_eq(
			state_save(&toy_desc, s, &(struct state_target){ .device = id }, &l->b, &e),
			0);
	put_section(l, SECTION_DEVICE);
}

static void lie_about_devices(struct lie *l, uint64_t ndevices, struct rig *rig,
			      const char *sentence)
{
	put_u64s(l, 2, (uint64_t[]){ 1 + ndevices, 0 });
	put_section(l, SECTION_END);
	lie_end(l, rig, sentence);
}

START_TEST(test_lies_about_devices)
{
	static uint8_t big[SECTION_RECORD_MAX + 1];
	struct toy_state s = { .level = 50 };
	struct rig b;
	struct lie l;

	rig_new(&b, false);
	lie_begin(&l, true);
	put_device(&l, "toy", "toy0", &s);
	put_device(&l, "toy", "toy0", &s);
	lie_about_devices(&l, 2, &b, "toy0: comes twice");
	lie_begin(&l, true);
	put_device(&l, "toy", "t\033]0;x", &s);
	lie_about_devices(&l, 1, &b, "a device has no name");
	lie_begin(&l, true);
	put_device(&l, "mute", "mute0", &s);
	lie_about_devices(&l, 1, &b, "mute0: unexpected state");
	lie_begin(&l, true);
	put_device(&l, "toy", "toy0", NULL);
	lie_about_devices(&l, 1, &b, "toy0: its state is cut short");
	lie_begin(&l, true);
	state_buf_put(&l.b, big, sizeof(big));
	put_section(&l, SECTION_DEVICE);
	lie_end(&l, &b, "a device is too big");
	rig_free(&b);
}
END_TEST

START_TEST(test_lies_about_the_end)
{
	struct rig b;
	struct lie l;

	rig_new(&b, false);
	for (uint64_t sections = 0; sections < 3; sections++) {
		lie_begin(&l, true);
		put_u64s(&l, 2, (uint64_t[]){ sections, 0 });
		put_section(&l, SECTION_END);
		lie_end(&l, &b, sections == 1 ? "lacks the device \"toy0\"" : "are missing");
	}
	lie_begin(&l, true);
	put_u64s(&l, 2, (uint64_t[]){ 1, 4096 });
	put_section(&l, SECTION_END);
	lie_end(&l, &b, "are missing");
	lie_begin(&l, false);
	put_u64s(&l, 2, (uint64_t[]){ 0, 0 });
	put_section(&l, SECTION_END);
	lie_end(&l, &b, "are missing");
	lie_begin(&l, true);
	put_section(&l, 77);
	lie_end(&l, &b, "unknown type 77");
	rig_free(&b);
}
END_TEST

START_TEST(test_not_a_stream)
{
	struct rig b;
	int fd = memory_file();

	rig_new(&b, false);
	ck_assert_int_eq(write(fd, "#!/bin/sh\nexit 0\n", 17), 17);
	refused(&b, fd, "this is not a stream of godwit");
	ck_assert_int_eq(pwrite(fd, "godwitVM\2\0\0\0\0\0\0\0", 16, 0), 16);
	refused(&b, fd, "has format 2 and this godwit reads 1");
	close(fd);
	rig_free(&b);
}
END_TEST

static Suite *stream_hostile_suite(void)
{
	Suite *s = suite_create("stream hostile");
	TCase *t = tcase_create("stream hostile");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_truncations);
	tcase_add_test(t, test_bit_flips);
	tcase_add_test(t, test_lies_about_memory);
	tcase_add_test(t, test_lies_about_devices);
	tcase_add_test(t, test_lies_about_the_end);
	tcase_add_test(t, test_not_a_stream);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(stream_hostile_suite)

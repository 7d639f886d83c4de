/* SPDX-License-Identifier: Apache-2.0 */
/* Both engines with the same requests. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "disk_rig.h"
#include "forbid.h"
#include "in_child.h"

START_TEST(test_write_and_read_back)
{
	_Alignas(4096) static uint8_t out[3 * 4096], in[3 * 4096];
	struct job job = {};
	struct fixture f;

	open_fixture(&f, _i, image);
	fill(out, sizeof(out), 1);
	prepare_job(&f, &job, DISK_WRITE, 65536, sizeof(out));
	job_buffer(&job, out, 4096);
	job_buffer(&job, out + 4096, 4096);
	job_buffer(&job, out + 8192, 4096);
	submit(&job);
	run(&f);
	ck_assert_int_eq(job.result, 0);
	read_image(in, sizeof(in), 65536);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);

	memset(in, 0xee, sizeof(in));
	ck_assert_int_eq(run_one(&f, DISK_READ, 65536, in, sizeof(in)), 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
	ck_assert_int_eq(run_one(&f, DISK_FLUSH, 0, NULL, 0), 0);
	close_fixture(&f);
}
END_TEST

/* Buffers, offsets and lengths that O_DIRECT does not take. */
START_TEST(test_any_alignment)
{
	static uint8_t out[1536 + 1], in[1536 + 1];
	struct fixture f;

	open_fixture(&f, _i, image);
	fill(out, sizeof(out), 2);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, 512, out + 1, 1536), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 512, in + 1, 1536), 0);
	ck_assert_int_eq(memcmp(in + 1, out + 1, 1536), 0);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, 777, out, 5), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 777, in, 5), 0);
	ck_assert_int_eq(memcmp(in, out, 5), 0);
	close_fixture(&f);
}
END_TEST

/* What is written around the page cache is seen through it, and the other way round. */
START_TEST(test_direct_and_buffered_agree)
{
	_Alignas(4096) static uint8_t aligned[4096], odd[4097];
	struct fixture f;

	open_fixture(&f, _i, image);
	for (unsigned round = 0; round < 20; round++) {
		fill(aligned, sizeof(aligned), round);
		ck_assert_int_eq(run_one(&f, DISK_WRITE, 8192, aligned, 4096), 0);
		ck_assert_int_eq(run_one(&f, DISK_READ, 8192, odd + 1, 4096), 0);
		ck_assert_int_eq(memcmp(aligned, odd + 1, 4096), 0);
		fill(odd, sizeof(odd), round + 100);
		ck_assert_int_eq(run_one(&f, DISK_WRITE, 8192, odd + 1, 4096), 0);
		ck_assert_int_eq(run_one(&f, DISK_READ, 8192, aligned, 4096), 0);
		ck_assert_int_eq(memcmp(aligned, odd + 1, 4096), 0);
	}
	close_fixture(&f);
}
END_TEST

/* More requests than a ring has in flight, each followed by another from its done(). */
START_TEST(test_many_and_chained)
{
	enum { N = RING_HAS + 3 * ENTRIES / 2 };
	_Alignas(4096) static uint8_t out[N][512], in[N][512];
	static struct job writes[N], reads[N];
	struct fixture f;

	open_fixture(&f, _i, image);
	memset(writes, 0, sizeof(writes));
	memset(reads, 0, sizeof(reads));
	memset(in, 0, sizeof(in));
	for (unsigned i = 0; i < N; i++) {
		fill(out[i], 512, i * 3);
		prepare_job(&f, &writes[i], DISK_WRITE, i * 512, 512);
		job_buffer(&writes[i], out[i], 512);
		prepare_job(&f, &reads[i], DISK_READ, i * 512, 512);
		job_buffer(&reads[i], in[i], 512);
		writes[i].then = &reads[i];
		submit(&writes[i]);
	}
	run(&f);
	for (unsigned i = 0; i < N; i++)
		ck_assert_int_eq(writes[i].result | reads[i].result, 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
	ck_assert_uint_ge(f.batches, 1);
	ck_assert_uint_le(f.batches, 2 * N);
	close_fixture(&f);
}
END_TEST

START_TEST(test_cut_short_is_lost)
{
	_Alignas(4096) static uint8_t in[8192];
	struct fixture f;

	open_fixture(&f, _i, image);
	write_image("tail", 4, 4096);
	ck_assert_int_eq(truncate(image, 4096 + 4), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, in, sizeof(in)), -ENODATA);
	ck_assert_int_eq(run_one(&f, DISK_READ, MIB, in, sizeof(in)), -ENODATA);
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, in, 4096), 0);
	/* Long enough again: what was lost is not back, and the disk says what it has. */
	ck_assert_int_eq(truncate(image, IMAGE_BYTES), 0);
	memset(in, 0xee, sizeof(in));
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, in, sizeof(in)), 0);
	ck_assert_int_eq(memcmp(in + 4096, "tail\0\0\0", 8), 0);
	ck_assert(all_zeroes(in + 4100, sizeof(in) - 4100));
	close_fixture(&f);
}
END_TEST

static void check_zeroes(off_t offset, size_t len)
{
	uint8_t *p = malloc(len + 2);

	ck_assert_ptr_nonnull(p);
	read_image(p, len + 2, offset - 1);
	ck_assert_uint_eq(p[0], 0xaa);
	ck_assert_uint_eq(p[len + 1], 0xaa);
	ck_assert(all_zeroes(p + 1, len));
	free(p);
}

static void fill_image(void)
{
	static uint8_t aa[IMAGE_BYTES];

	memset(aa, 0xaa, sizeof(aa));
	write_image(aa, sizeof(aa), 0);
}

static void write_zeroes(struct fixture *f, uint64_t offset, uint64_t len, bool unmap)
{
	struct job job = {};

	fill_image();
	prepare_job(f, &job, DISK_WRITE_ZEROES, offset, len);
	job.req.unmap = unmap;
	submit(&job);
	run(f);
	ck_assert_int_eq(job.result, 0);
	check_zeroes((off_t)offset, len);
}

START_TEST(test_write_zeroes)
{
	struct fixture f;
	blkcnt_t before;

	open_fixture(&f, _i, image);
	fill_image();
	before = image_blocks();
	write_zeroes(&f, 4096, 3 * MIB, true);
	ck_assert_int_lt(image_blocks(), before);
	write_zeroes(&f, 512, 3 * MIB, false);
	ck_assert_int_ge(image_blocks(), before);
	atomic_store(&f.disk->lacking, BIT(STEP_PUNCH_HOLE) | BIT(STEP_ZERO_RANGE));
	write_zeroes(&f, 4096, 3 * MIB, true);
	ck_assert_int_ge(image_blocks(), before);
	write_zeroes(&f, 512, 3 * MIB + 512, true);
	close_fixture(&f);
}
END_TEST

START_TEST(test_discard)
{
	struct fixture f;
	blkcnt_t before;

	open_fixture(&f, _i, image);
	fill_image();
	before = image_blocks();
	ck_assert_int_eq(run_one(&f, DISK_DISCARD, MIB, NULL, MIB), 0);
	ck_assert_int_eq(image_blocks(), before - MIB / 512);
	ck_assert_uint_eq(disk_size_bytes(f.disk), IMAGE_BYTES);
	close_fixture(&f);
}
END_TEST

START_TEST(test_errors_are_reported)
{
	_Alignas(4096) static uint8_t out[4096];
	struct fixture f;

	open_fixture(&f, _i, image);
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, (void *)8192, 4096), -EFAULT);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, BIT(62), out, 4096), -EFBIG);
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, out, 4096), 0);
	close_fixture(&f);
}
END_TEST

static void check_without_io_uring(void)
{
	static uint8_t in[512];
	struct fixture f;

	forbid_syscall(SYS_io_uring_setup, EPERM);
	open_fixture(&f, 0, image);
	write_image("bytes", 5, 512);
	ck_assert_int_eq(run_one(&f, DISK_READ, 512, in, sizeof(in)), 0);
	ck_assert_str_eq((char *)in, "bytes");
	close_fixture(&f);
}

START_TEST(test_without_io_uring)
{
	in_child(check_without_io_uring);
}
END_TEST

/* Two queues of a disk that has one set of threads; each is told of its own requests. */
START_TEST(test_queues_share_threads)
{
	enum { QUEUES = 2, JOBS = 20 };
	static uint8_t in[QUEUES][JOBS][512];
	static struct job jobs[QUEUES][JOBS];
	struct fixture f[QUEUES];
	struct disk_queue common = { .batch_done = batch_done, .arg = &f[1] };
	struct err e;

	open_fixture(&f[0], ON_POOL, image);
	f[1] = (struct fixture){ .loop = common.loop = f[0].loop, .disk = f[0].disk };
	common.disk = f[0].disk;
	ck_assert_int_eq(disk_pool_new(&f[1].queue, &common, &e), 0);
	for (unsigned i = 0; i < QUEUES * JOBS; i++) {
		struct job *job = &jobs[i % QUEUES][i / QUEUES];

		prepare_job(&f[i % QUEUES], job, DISK_READ, i * 512, 512);
		job_buffer(job, in[i % QUEUES][i / QUEUES], 512);
		submit(job);
	}
	disk_commit(f[1].queue);
	while (f[0].outstanding || f[1].outstanding)
		run(&f[0]);
	for (unsigned i = 0; i < QUEUES; i++)
		ck_assert(f[i].batches >= 1 && f[i].batches <= JOBS && !f[i].done);
	disk_queue_free(f[1].queue);
	close_fixture(&f[0]);
}
END_TEST

static void check_without_threads(void)
{
	const struct disk_config c = { .path = image };
	struct disk_ring *ring;
	struct loop *loop;
	struct disk *disk;
	struct err e;

	forbid_syscall(SYS_io_uring_setup, EPERM);
	forbid_syscall(SYS_clone3, EAGAIN);
	forbid_syscall(SYS_clone, EAGAIN);
	ck_assert_int_eq(loop_new(&loop, &e), 0);
	ck_assert_int_eq(disk_open(&disk, &c, &e), 0);
	ring = disk_ring_new(loop);
	ck_assert_int_eq(disk_prepare(disk, ring, 1, &e), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(e.text, "cannot start a thread for disk I/O"));
	disk_close(disk);
	disk_ring_free(ring);
	loop_free(loop);
}

START_TEST(test_without_threads)
{
	in_child(check_without_threads);
}
END_TEST

START_TEST(test_block_device)
{
	_Alignas(4096) static uint8_t out[8192], in[8192];
	struct disk_config c = {};
	struct disk *second;
	struct fixture f;
	struct err e;
	int fd = -1;
	char *path = attach_loop_device(&fd);
	blkcnt_t before;

	if (!path)
		return;
	fill_image();
	open_fixture(&f, _i, path);
	ck_assert_uint_eq(disk_size_bytes(f.disk), IMAGE_BYTES);
	fill(out, sizeof(out), 9);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, 4096, out, sizeof(out)), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 4096, in, sizeof(in)), 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
	ck_assert_int_eq(run_one(&f, DISK_FLUSH, 0, NULL, 0), 0);
	before = image_blocks();
	ck_assert_int_eq(run_one(&f, DISK_DISCARD, MIB, NULL, MIB), 0);
	ck_assert_int_eq(image_blocks(), before - MIB / 512);
	ck_assert_int_eq(run_one(&f, DISK_WRITE_ZEROES, 4096, NULL, 4096), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 4096, in, sizeof(in)), 0);
	ck_assert_uint_eq(in[0] | in[4095], 0);
	ck_assert_int_eq(memcmp(in + 4096, out + 4096, 4096), 0);
	c.path = path;
	ck_assert_int_eq(disk_open(&second, &c, &e), -EBUSY);
	ck_assert_msg(strstr(e.text, "is in use by"), "%s", e.text);
	close_fixture(&f);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk_queue");
	TCase *queue_case = tcase_create("queue");

	tcase_add_checked_fixture(queue_case, image_setup, image_teardown);
	tcase_set_timeout(queue_case, 60);
	tcase_add_loop_test(queue_case, test_write_and_read_back, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_any_alignment, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_direct_and_buffered_agree, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_many_and_chained, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_cut_short_is_lost, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_write_zeroes, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_discard, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_errors_are_reported, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_block_device, 0, VARIANTS);
	tcase_add_test(queue_case, test_without_io_uring);
	tcase_add_test(queue_case, test_queues_share_threads);
	tcase_add_test(queue_case, test_without_threads);
	suite_add_tcase(s, queue_case);
	return s;
}

CHECK_MAIN(suite)

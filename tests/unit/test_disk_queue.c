/* SPDX-License-Identifier: Apache-2.0 */
/* Both engines with the same requests. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "disk_queue.h"
#include "forbid.h"
#include "image_file.h"
#include "in_child.h"

enum { DEPTH = 8 };

static bool all_zeroes(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

struct fixture {
	struct loop *loop;
	struct disk *disk;
	struct disk_queue *queue;
	struct timer watchdog;
	unsigned outstanding, batches;
};

struct job {
	struct disk_request req;
	struct fixture *f;
	struct iovec iov[4];
	int result;
	struct job *then; /* submitted when this one is done */
};

/* The loop test's number says what is used. */
enum { ON_POOL = 1, DIRECT = 2, VARIANTS = 4 };

static void late(void *arg)
{
	(void)arg;
	ck_abort_msg("requests did not complete");
}

static void batch_done(void *arg)
{
	struct fixture *f = arg;

	f->batches++;
	if (!f->outstanding)
		loop_quit(f->loop);
}

static void open_fixture(struct fixture *f, int variant, const char *path)
{
	struct disk_config c = { .path = path, .direct = variant & DIRECT };
	struct disk_queue common = { .depth = DEPTH, .batch_done = batch_done, .arg = f };
	struct err e;
	int r;

	*f = (struct fixture){ .watchdog = { .expired = late } };
	ck_assert_int_eq(loop_new(&f->loop, &e), 0);
	r = disk_open(&f->disk, &c, &e);
	ck_assert_msg(!r, "%s", e.text);
	common.disk = f->disk;
	common.loop = f->loop;
	if (variant & ON_POOL)
		r = disk_pool_new(&f->queue, &common, &e);
	else
		r = disk_queue_new(&f->queue, f->disk, f->loop, DEPTH, batch_done, f, &e);
	ck_assert_msg(!r, "%s", e.text);
}

static void close_fixture(struct fixture *f)
{
	disk_queue_free(f->queue);
	disk_close(f->disk);
	loop_timer_cancel(f->loop, &f->watchdog);
	loop_free(f->loop);
}

static void job_done(struct disk_request *req, int result)
{
	struct job *job = container_of(req, struct job, req);

	job->result = result;
	job->f->outstanding--;
	if (job->then) {
		job->f->outstanding++;
		disk_submit(job->f->queue, &job->then->req);
	}
}

static void prepare_job(struct fixture *f, struct job *job, enum disk_op op, uint64_t offset,
			uint64_t len)
{
	job->f = f;
	job->result = 1;
	job->req = (struct disk_request){
		.op = op, .iov = job->iov, .offset = offset, .len = len, .done = job_done
	};
}

static void job_buffer(struct job *job, void *buffer, size_t len)
{
	job->iov[job->req.niov++] = (struct iovec){ .iov_base = buffer, .iov_len = len };
}

static void submit(struct job *job)
{
	job->f->outstanding++;
	disk_submit(job->f->queue, &job->req);
}

static void run(struct fixture *f)
{
	loop_timer_set(f->loop, &f->watchdog, loop_now_ns() + UINT64_C(20000000000));
	disk_commit(f->queue);
	loop_run(f->loop);
}

static int run_one(struct fixture *f, enum disk_op op, uint64_t offset, void *buffer, size_t len)
{
	struct job job = {};

	prepare_job(f, &job, op, offset, len);
	if (buffer)
		job_buffer(&job, buffer, len);
	submit(&job);
	run(f);
	return job.result;
}

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

/* Far more requests than the depth, each followed by another from its done(). */
START_TEST(test_many_and_chained)
{
	enum { N = 40 * DEPTH };
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

/* The only ring of this process. */
static int ring_fd(void)
{
	char path[32], what[32] = "";

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(what, 0, sizeof(what));
		if (readlink(path, what, sizeof(what) - 1) > 0 &&
		    !strcmp(what, "anon_inode:[io_uring]"))
			return fd;
	}
	ck_abort_msg("there is no ring");
}

/* Its memory, as whoever owns the process would use it. */
static void steal_ring(struct io_uring *ring)
{
	struct io_uring_params p = { 0 };
	struct io_uring twin;
	int fd = ring_fd();

	ck_assert_int_eq(io_uring_queue_init_params(DEPTH, &twin, &p), 0);
	ck_assert_int_eq(io_uring_queue_mmap(fd, &p, ring), 0);
	io_uring_queue_exit(&twin);
}

static int result_of(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r;

	ck_assert_int_eq(io_uring_submit_and_wait(ring, 1), 1);
	ck_assert_int_eq(io_uring_peek_cqe(ring, &cqe), 0);
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

START_TEST(test_ring_does_nothing_else)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	static uint8_t in[4096];
	struct io_uring ring;
	struct fixture f;

	open_fixture(&f, 0, image);
	steal_ring(&ring);
	io_uring_prep_read(io_uring_get_sqe(&ring), 0, in, sizeof(in), 0);
	ck_assert_int_eq(result_of(&ring), -EACCES); /* of no registered file */
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	ck_assert_int_eq(result_of(&ring), -EACCES);
	io_uring_prep_connect(io_uring_get_sqe(&ring), 0, (void *)&to, sizeof(to));
	ck_assert_int_eq(result_of(&ring), -EACCES);
	ck_assert_int_eq(io_uring_register_files_update(&ring, 0, (int[]){ 0 }, 1), -EACCES);
	ck_assert_int_eq(io_uring_register_eventfd(&ring, 0), -EACCES);
	io_uring_prep_read(io_uring_get_sqe(&ring), 0, in, sizeof(in), 0);
	ring.sq.sqes[(ring.sq.sqe_tail - 1) & *ring.sq.kring_mask].flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of(&ring), sizeof(in));
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

/* The work is done, if slowly. */
static void check_without_threads(void)
{
	forbid_syscall(SYS_clone3, EAGAIN);
	forbid_syscall(SYS_clone, EAGAIN);
	check_without_io_uring();
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
	tcase_add_test(queue_case, test_ring_does_nothing_else);
	tcase_add_test(queue_case, test_without_io_uring);
	tcase_add_test(queue_case, test_without_threads);
	suite_add_tcase(s, queue_case);
	return s;
}

CHECK_MAIN(suite)

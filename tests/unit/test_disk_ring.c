/* SPDX-License-Identifier: Apache-2.0 */
/* The ring that the queues of a thread share, and what it lets be done. */
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "disk_rig.h"
#include "in_child.h"

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
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE, .cq_entries = RING_HAS };
	struct io_uring twin;
	int fd = ring_fd();

	ck_assert_int_eq(io_uring_queue_init_params(ENTRIES, &twin, &p), 0);
	ck_assert_int_eq(io_uring_queue_mmap(fd, &p, ring), 0);
	io_uring_queue_exit(&twin);
	ring->sq.sqe_head = ring->sq.sqe_tail = *ring->sq.ktail;
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

static struct io_uring_sqe *with_flags(struct io_uring *ring, unsigned flags)
{
	static uint8_t in[4096];
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_read(sqe, 0, in, sizeof(in), 0);
	sqe->flags = (uint8_t)flags;
	return sqe;
}

static void check_ring_does_nothing_else(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct io_uring ring;
	struct fixture f;

	open_fixture(&f, 0, image);
	steal_ring(&ring);
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	ck_assert_int_eq(result_of(&ring), -EACCES);
	io_uring_prep_connect(io_uring_get_sqe(&ring), 0, (void *)&to, sizeof(to));
	ck_assert_int_eq(result_of(&ring), -EACCES);
	ck_assert_int_eq(io_uring_register_files_update(&ring, 0, (int[]){ 0 }, 1), -EACCES);
	ck_assert_int_eq(io_uring_register_eventfd(&ring, 0), -EACCES);
	with_flags(&ring, IOSQE_FIXED_FILE | IOSQE_ASYNC);
	ck_assert_int_eq(result_of(&ring), -EACCES);
	with_flags(&ring, IOSQE_FIXED_FILE);
	ck_assert_int_eq(result_of(&ring), 4096);
	with_flags(&ring, IOSQE_FIXED_FILE)->fd = 2; /* of no disk */
	ck_assert_int_eq(result_of(&ring), -EBADF);
}

START_TEST(test_ring_does_nothing_else)
{
	in_child(check_ring_does_nothing_else);
}
END_TEST

/* Lines with that text in what the kernel tells of the only ring of this process. */
static unsigned told(const char *text)
{
	char path[48], line[256];
	unsigned n = 0;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring_fd());
	info = fopen(path, "re");
	ck_assert_ptr_nonnull(info);
	while (fgets(line, sizeof(line), info))
		n += strstr(line, text) != NULL;
	fclose(info);
	return n;
}

/* As the kernel finds no memory for it at times. */
static void done_in_time(struct disk_request *req, int result)
{
	ck_assert_uint_eq(told("  user_data="), 0); /* CqOverflowList */
	job_done(req, result);
}

START_TEST(test_no_completion_is_kept_aside)
{
	enum { N = RING_HAS + ENTRIES };
	static uint8_t in[512];
	static struct job reads[N];
	struct fixture f;

	write_image(in, sizeof(in), 0);
	open_fixture(&f, 0, image);
	for (unsigned i = 0; i < N; i++) {
		prepare_job(&f, &reads[i], DISK_READ, 0, sizeof(in));
		job_buffer(&reads[i], in, sizeof(in));
		submit(&reads[i]);
	}
	reads[0].req.done = done_in_time;
	run(&f);
	close_fixture(&f);
}
END_TEST

/* Two disks, and a second queue of the first; each is told of its own requests. */
START_TEST(test_queues_share_a_ring)
{
	enum { QUEUES = 3, JOBS = 5 };
	static uint8_t in[QUEUES][JOBS][512], out[4096];
	static struct job jobs[QUEUES][JOBS];
	struct fixture f[QUEUES];
	char other[128];
	struct err e;

	fill(out, sizeof(out), 4);
	write_image(out, sizeof(out), 0);
	snprintf(other, sizeof(other), "%s.other", image);
	ck_assert_int_eq(rename(image, other), 0);
	make_image(IMAGE_BYTES);
	open_fixture(&f[0], _i, image);
	f[1] = f[2] = (struct fixture){ .loop = f[0].loop, .ring = f[0].ring, .disk = f[0].disk };
	ck_assert_int_eq(disk_queue_new(&f[1].queue, f[0].disk, f[0].ring, batch_done, &f[1], &e),
			 0);
	open_disk(&f[2], _i, other);
	ck_assert_uint_eq(told("disk.img"), 2 * (_i & DIRECT ? 2 : 1));
	ck_assert_uint_eq(told("disk.img.other"), _i & DIRECT ? 2 : 1);
	memset(jobs, 0, sizeof(jobs));
	for (unsigned i = 0; i < QUEUES * JOBS; i++) {
		struct job *job = &jobs[i % QUEUES][i / QUEUES];

		prepare_job(&f[i % QUEUES], job, DISK_READ, i / QUEUES * 512, 512);
		job_buffer(job, in[i % QUEUES][i / QUEUES], 512);
		submit(job);
	}
	while (f[0].outstanding || f[1].outstanding || f[2].outstanding)
		run(&f[0]);
	for (unsigned i = 0; i < QUEUES; i++)
		ck_assert(f[i].batches >= 1 && f[i].batches <= JOBS && !f[i].done);
	ck_assert(all_zeroes(in[0][0], sizeof(in[0])) && all_zeroes(in[1][0], sizeof(in[1])));
	ck_assert_int_eq(memcmp(in[2], out, sizeof(in[2])), 0);

	/* Its files go with its last queue, and their place is another's. */
	disk_queue_free(f[1].queue);
	close_disk(&f[2]);
	ck_assert_uint_eq(told("disk.img"), _i & DIRECT ? 2 : 1);
	ck_assert_uint_eq(told("disk.img.other"), 0);
	open_disk(&f[2], _i, other);
	memset(in, 0, sizeof(in));
	ck_assert_int_eq(run_one(&f[2], DISK_READ, 0, in, 2560), 0);
	ck_assert_int_eq(memcmp(in, out, 2560), 0);
	close_disk(&f[2]);
	close_fixture(&f[0]);
	ck_assert_int_eq(unlink(other), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk_ring");
	TCase *tc = tcase_create("disk_ring");

	tcase_add_checked_fixture(tc, image_setup, image_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_queues_share_a_ring, 0, 1);
	tcase_add_loop_test(tc, test_queues_share_a_ring, DIRECT, DIRECT + 1);
	tcase_add_test(tc, test_no_completion_is_kept_aside);
	tcase_add_test(tc, test_ring_does_nothing_else);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

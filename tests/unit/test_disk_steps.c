/* SPDX-License-Identifier: Apache-2.0 */
/* The steps that a request is made of: what the host may answer and seldom does. */
#include <errno.h>

#include "check_main.h"
#include "disk_queue.h"

static struct disk plain = { .fd = 3, .direct_fd = -1, .block_bytes = 512 };

START_TEST(test_short_transfers_continue)
{
	struct iovec iov[] = { { (void *)0x1000, 100 },
			       { (void *)0x2000, 0 },
			       { (void *)0x3000, 50 } };
	struct disk_request req = {
		.op = DISK_WRITE, .iov = iov, .niov = 3, .offset = 1000, .len = 150
	};
	struct disk_step step;

	disk_step_next(&plain, &req, &step);
	ck_assert_int_eq(step.kind, STEP_WRITE);
	ck_assert_uint_eq(step.offset, 1000);
	ck_assert(!disk_step_done(&plain, &req, -EINTR));
	ck_assert(!disk_step_done(&plain, &req, 30));
	disk_step_next(&plain, &req, &step);
	ck_assert_uint_eq(step.offset, 1030);
	ck_assert_uint_eq(step.niov, 3);
	ck_assert_ptr_eq(step.iov->iov_base, (void *)0x101e);
	ck_assert_uint_eq(step.iov->iov_len, 70);
	ck_assert(!disk_step_done(&plain, &req, 80));
	ck_assert(!disk_step_done(&plain, &req, -EAGAIN));
	disk_step_next(&plain, &req, &step);
	ck_assert_uint_eq(step.offset, 1110);
	ck_assert_uint_eq(step.niov, 1);
	ck_assert_ptr_eq(step.iov->iov_base, (void *)0x300a);
	ck_assert(disk_step_done(&plain, &req, 40));
	ck_assert_int_eq(req.result, 0);
}
END_TEST

START_TEST(test_write_of_nothing_is_an_error)
{
	struct iovec iov = { (void *)0x1000, 512 };
	struct disk_request req = { .op = DISK_WRITE, .iov = &iov, .niov = 1, .len = 512 };
	struct disk_step step;

	disk_step_next(&plain, &req, &step);
	ck_assert(disk_step_done(&plain, &req, 0));
	ck_assert_int_eq(req.result, -EIO);
}
END_TEST

static enum disk_step_kind kind_after(struct disk *d, struct disk_request *req, int result)
{
	struct disk_step step;

	ck_assert(!disk_step_done(d, req, result));
	disk_step_next(d, req, &step);
	return step.kind;
}

static int flush_after(struct disk *d, enum disk_op written, int result)
{
	struct iovec iov = { (void *)0x1000, 512 };
	struct disk_request w = { .op = written, .iov = &iov, .niov = 1, .len = 512 };
	struct disk_request f = { .op = DISK_FLUSH };
	struct disk_step step;

	disk_step_next(d, &w, &step);
	disk_step_done(d, &w, 512);
	disk_step_next(d, &f, &step);
	ck_assert_int_eq(step.kind, STEP_FLUSH);
	ck_assert(disk_step_done(d, &f, result));
	return f.result;
}

/* The kernel tells once that it could not write a page out; it is not written at the next try. */
START_TEST(test_what_a_flush_lost_stays_lost)
{
	struct disk d = plain, direct = plain;

	d.config.path = direct.config.path = "d";
	direct.direct_fd = 4;
	ck_assert_int_eq(flush_after(&d, DISK_READ, -EIO), -EIO);
	ck_assert_int_eq(flush_after(&d, DISK_READ, 0), 0);
	ck_assert_int_eq(flush_after(&d, DISK_WRITE, 0), 0);
	ck_assert_int_eq(flush_after(&d, DISK_READ, -EIO), -EIO);
	ck_assert_int_eq(flush_after(&d, DISK_WRITE, 0), -ENOTRECOVERABLE);
	ck_assert_int_eq(flush_after(&d, DISK_READ, -EIO), -ENOTRECOVERABLE);

	ck_assert_int_eq(flush_after(&direct, DISK_WRITE, -EIO), -EIO);
	ck_assert_int_eq(flush_after(&direct, DISK_WRITE, 0), 0);
	direct.block_bytes = 4096; /* too large for it, which goes through the page cache */
	ck_assert_int_eq(flush_after(&direct, DISK_WRITE, -EIO), -EIO);
	ck_assert_int_eq(flush_after(&direct, DISK_WRITE, 0), -ENOTRECOVERABLE);
}
END_TEST

START_TEST(test_zeroing_falls_back)
{
	struct disk d = plain;
	struct disk_request req = { .op = DISK_WRITE_ZEROES, .len = 3 * MIB / 2, .unmap = true };
	struct disk_step step;

	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_PUNCH_HOLE);
	ck_assert_int_eq(kind_after(&d, &req, -EOPNOTSUPP), STEP_ZERO_RANGE);
	ck_assert_int_eq(kind_after(&d, &req, -EOPNOTSUPP), STEP_WRITE_ZEROES);
	ck_assert_int_eq(kind_after(&d, &req, MIB), STEP_WRITE_ZEROES);
	ck_assert(disk_step_done(&d, &req, MIB / 2));
	ck_assert_int_eq(req.result, 0);

	/* Remembered; a misaligned range is not. */
	req = (struct disk_request){ .op = DISK_WRITE_ZEROES, .len = 512, .unmap = true };
	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_WRITE_ZEROES);
	d.lacking = 0;
	req.step = STEP_UNDECIDED;
	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(kind_after(&d, &req, -EINVAL), STEP_WRITE_ZEROES);
	ck_assert_uint_eq(d.lacking, 0);
	ck_assert(disk_step_done(&d, &req, -ENOSPC));
	ck_assert_int_eq(req.result, -ENOSPC);
}
END_TEST

START_TEST(test_discard_is_a_hint)
{
	struct disk d = plain;
	struct disk_request req = { .op = DISK_DISCARD, .len = 512 };
	struct disk_step step;

	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_PUNCH_HOLE);
	ck_assert(disk_step_done(&d, &req, -EOPNOTSUPP));
	ck_assert_int_eq(req.result, 0);
	d.is_block_device = true;
	req.step = STEP_UNDECIDED;
	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_DISCARD);
	ck_assert(disk_step_done(&d, &req, -EIO));
	ck_assert_int_eq(req.result, -EIO);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk_steps");
	TCase *tc = tcase_create("disk_steps");

	tcase_add_test(tc, test_short_transfers_continue);
	tcase_add_test(tc, test_write_of_nothing_is_an_error);
	tcase_add_test(tc, test_what_a_flush_lost_stays_lost);
	tcase_add_test(tc, test_zeroing_falls_back);
	tcase_add_test(tc, test_discard_is_a_hint);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)

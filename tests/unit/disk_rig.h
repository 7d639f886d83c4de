/* SPDX-License-Identifier: Apache-2.0 */
/* A disk with a queue, and requests to it that are waited for. */
#ifndef DISK_RIG_H
#define DISK_RIG_H

#include <check.h>
#include <string.h>

#include "disk_queue.h"
#include "image_file.h"

enum {
	ENTRIES = 256, /* of the ring, for submissions */
	RING_HAS = 2048, /* in flight, no more */
};

static inline bool all_zeroes(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

struct fixture {
	struct loop *loop;
	struct disk_ring *ring;
	struct disk *disk;
	struct disk_queue *queue;
	struct timer watchdog;
	unsigned outstanding, batches;
	unsigned done; /* since the last batch */
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

static inline void late(void *arg)
{
	(void)arg;
	ck_abort_msg("requests did not complete");
}

static inline void batch_done(void *arg)
{
	struct fixture *f = arg;

	ck_assert_uint_gt(f->done, 0);
	f->done = 0;
	f->batches++;
	if (!f->outstanding)
		loop_quit(f->loop);
}

/* The disk, and a queue of it. */
static inline void open_disk(struct fixture *f, int variant, const char *path)
{
	struct disk_config c = { .path = path, .direct = variant & DIRECT };
	struct disk_queue common = { .batch_done = batch_done, .arg = f };
	struct err e;
	int r = disk_open(&f->disk, &c, &e);

	ck_assert_msg(!r, "%s", e.text);
	r = variant & ON_POOL ? disk_pool_start(f->disk, 4, &e)
			      : disk_prepare(f->disk, f->ring, 1, &e);
	ck_assert_msg(!r, "%s", e.text);
	common.disk = f->disk;
	common.loop = f->loop;
	if (variant & ON_POOL)
		r = disk_pool_new(&f->queue, &common, &e);
	else
		r = disk_queue_new(&f->queue, f->disk, f->ring, batch_done, f, &e);
	ck_assert_msg(!r, "%s", e.text);
}

static inline void open_fixture(struct fixture *f, int variant, const char *path)
{
	struct err e;

	*f = (struct fixture){ .watchdog = { .expired = late } };
	ck_assert_int_eq(loop_new(&f->loop, &e), 0);
	f->ring = disk_ring_new(f->loop);
	ck_assert_ptr_nonnull(f->ring);
	open_disk(f, variant, path);
}

static inline void close_disk(struct fixture *f)
{
	disk_queue_free(f->queue);
	disk_close(f->disk);
}

static inline void close_fixture(struct fixture *f)
{
	close_disk(f);
	disk_ring_free(f->ring);
	loop_timer_cancel(f->loop, &f->watchdog);
	loop_free(f->loop);
}

static inline void job_done(struct disk_request *req, int result)
{
	struct job *job = container_of(req, struct job, req);

	job->result = result;
	job->f->outstanding--;
	job->f->done++;
	if (job->then) {
		job->f->outstanding++;
		disk_submit(job->f->queue, &job->then->req);
	}
}

static inline void prepare_job(struct fixture *f, struct job *job, enum disk_op op, uint64_t offset,
			       uint64_t len)
{
	job->f = f;
	job->result = 1;
	job->req = (struct disk_request){
		.op = op, .iov = job->iov, .offset = offset, .len = len, .done = job_done
	};
}

static inline void job_buffer(struct job *job, void *buffer, size_t len)
{
	job->iov[job->req.niov++] = (struct iovec){ .iov_base = buffer, .iov_len = len };
}

static inline void submit(struct job *job)
{
	job->f->outstanding++;
	disk_submit(job->f->queue, &job->req);
}

static inline void run(struct fixture *f)
{
	loop_timer_set(f->loop, &f->watchdog, loop_now_ns() + UINT64_C(20000000000));
	disk_commit(f->queue);
	loop_run(f->loop);
}

static inline int run_one(struct fixture *f, enum disk_op op, uint64_t offset, void *buffer,
			  size_t len)
{
	struct job job = {};

	prepare_job(f, &job, op, offset, len);
	if (buffer)
		job_buffer(&job, buffer, len);
	submit(&job);
	run(f);
	return job.result;
}

#endif

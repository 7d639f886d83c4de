/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine: one ring per queue, made, fed and reaped by the queue's own thread.
 * The loop watches the ring's fd, which is readable while completions wait; they are taken
 * from shared memory, at once if they are there after a submit.  A system call is made only to
 * submit, once per batch.
 */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "disk_queue.h"

enum { REAP_BATCH = 64, RETRY_NS = 1000000 };
enum { FILE_BUFFERED, FILE_DIRECT }; /* registered files */

struct uring_queue {
	struct disk_queue common;
	struct io_uring ring;
	struct watch watch;
	struct timer retry; /* the host was short of memory at the last submit */
	unsigned in_flight; /* SQEs, submitted or not */
	struct disk_fifo waiting; /* for in_flight to fall below the depth */
	struct disk_queue *ioctls; /* what the ring cannot do; NULL: nothing */
};

static struct uring_queue *uring_of(struct disk_queue *q)
{
	return container_of(q, struct uring_queue, common);
}

static void uring_issue(struct uring_queue *u, struct disk_request *req)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	struct disk_step step;

	assert(sqe); /* the ring is as large as the depth */
	disk_step_next(u->common.disk, req, &step);
	switch (step.kind) {
	case STEP_READ:
		if (step.niov == 1)
			io_uring_prep_read(sqe, 0, step.iov->iov_base,
					   (unsigned)MIN(step.iov->iov_len, GIB), step.offset);
		else
			io_uring_prep_readv(sqe, 0, step.iov, step.niov, step.offset);
		break;
	case STEP_WRITE:
	case STEP_WRITE_ZEROES:
		if (step.niov == 1)
			io_uring_prep_write(sqe, 0, step.iov->iov_base,
					    (unsigned)MIN(step.iov->iov_len, GIB), step.offset);
		else
			io_uring_prep_writev(sqe, 0, step.iov, step.niov, step.offset);
		break;
	case STEP_PUNCH_HOLE:
	case STEP_ZERO_RANGE:
		io_uring_prep_fallocate(sqe, 0, disk_step_fallocate_mode(step.kind),
					(off_t)step.offset, (off_t)step.len);
		break;
	case STEP_FLUSH:
	case STEP_DISCARD: /* went to ioctls */
	case STEP_UNDECIDED:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	}
	sqe->fd = step.direct ? FILE_DIRECT : FILE_BUFFERED;
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, req);
}

static void uring_submit(struct disk_queue *q, struct disk_request *req)
{
	struct uring_queue *u = uring_of(q);

	if (u->ioctls && req->op == DISK_DISCARD) {
		disk_submit(u->ioctls, req);
	} else if (u->in_flight == q->depth) {
		disk_fifo_put(&u->waiting, req);
	} else {
		u->in_flight++;
		uring_issue(u, req);
	}
}

static void uring_push(struct uring_queue *u)
{
	while (io_uring_sq_ready(&u->ring)) {
		int n = io_uring_submit(&u->ring);

		if (n > 0 || n == -EINTR)
			continue;
		loop_timer_set(u->common.loop, &u->retry, loop_now_ns() + RETRY_NS);
		break;
	}
	if (u->ioctls)
		disk_commit(u->ioctls);
}

static void uring_completed(struct uring_queue *u, struct disk_request *req, int result)
{
	struct disk_request *waiting;

	if (!disk_step_done(u->common.disk, req, result)) {
		uring_issue(u, req);
		return;
	}
	waiting = disk_fifo_take(&u->waiting);
	if (waiting)
		uring_issue(u, waiting);
	else
		u->in_flight--;
	req->done(req, req->result);
}

/* Whether any was there. */
static bool uring_reap(struct uring_queue *u)
{
	struct io_uring_cqe *cqe[REAP_BATCH];
	bool any = false;
	unsigned n;

	while ((n = io_uring_peek_batch_cqe(&u->ring, cqe, REAP_BATCH))) {
		for (unsigned i = 0; i < n; i++)
			uring_completed(u, io_uring_cqe_get_data(cqe[i]), cqe[i]->res);
		io_uring_cq_advance(&u->ring, n);
		any = true;
	}
	return any;
}

/* Also of ioctls: what done() submitted may be for the ring. */
static void uring_batch_done(void *arg)
{
	struct uring_queue *u = arg;

	u->common.batch_done(u->common.arg);
	uring_push(u);
}

/* What the page cache has is complete when it is submitted: no need to be told by the loop. */
static void uring_commit(struct disk_queue *q)
{
	struct uring_queue *u = uring_of(q);

	uring_push(u);
	if (uring_reap(u))
		uring_batch_done(u);
}

static void uring_retry(void *arg)
{
	uring_commit(arg);
}

static void uring_ready(void *arg, uint32_t events)
{
	struct uring_queue *u = arg;

	(void)events;
	uring_reap(u);
	uring_batch_done(u);
}

static void uring_free(struct disk_queue *q)
{
	struct uring_queue *u = uring_of(q);

	assert(!u->in_flight);
	loop_timer_cancel(q->loop, &u->retry);
	if (u->watch.fd >= 0)
		loop_unwatch(q->loop, &u->watch);
	disk_queue_free(u->ioctls);
	io_uring_unregister_files(&u->ring); /* at once; the ring ends later */
	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct disk_engine uring_engine = {
	.free = uring_free,
	.submit = uring_submit,
	.commit = uring_commit,
};

/* The first that the kernel knows: no locks for other submitters (6.0), completions without an
 * interrupt to this thread (5.19).  IORING_SETUP_DEFER_TASKRUN would not wake the loop. */
static int uring_setup(struct io_uring *ring, unsigned entries)
{
	static const unsigned flags[] = { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
					  IORING_SETUP_COOP_TASKRUN, 0 };
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++)
		r = io_uring_queue_init(entries, ring, flags[i] | IORING_SETUP_R_DISABLED);
	return r;
}

/* liburing 2.3 declares functions for these, and does not have them. */
static long ring_register(const struct io_uring *ring, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, op, arg, n);
}

/*
 * Whoever writes into its memory gets nothing of the ring but what uring_issue() asks for, of the
 * registered files: seccomp filters do not see what a ring is told (io_uring_register(2),
 * IORING_REGISTER_RESTRICTIONS; Linux 5.10).  Of what would register more, nothing is left but to
 * let go of the files.
 */
static int uring_restrict(struct io_uring *ring)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_FILES },
	};

	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, only, ARRAY_SIZE(only)) ||
			       ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0)
		       ? -errno
		       : 0;
}

static int uring_connect(struct uring_queue *u)
{
	const struct disk *disk = u->common.disk;
	int files[] = { disk->fd, disk->direct_fd }; /* -1: an empty slot */
	int r = io_uring_register_files(&u->ring, files, ARRAY_SIZE(files));

	r = r < 0 ? r : uring_restrict(&u->ring);
	if (r < 0)
		return r;
	u->watch = (struct watch){ .fd = u->ring.ring_fd, .ready = uring_ready, .arg = u };
	r = loop_watch(u->common.loop, &u->watch, EPOLLIN);
	if (r < 0)
		u->watch.fd = -1;
	return r;
}

/* A block device is told of a discard by an ioctl, which blocks. */
static int uring_add_ioctls(struct uring_queue *u, struct err *e)
{
	struct disk_queue common = u->common;

	if (!common.disk->is_block_device)
		return 0;
	common.batch_done = uring_batch_done;
	common.arg = u;
	return disk_pool_new(&u->ioctls, &common, e);
}

int disk_uring_new(struct disk_queue **out, const struct disk_queue *common, struct err *e)
{
	struct uring_queue *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_set(e, -ENOMEM, "out of memory");
	u->common = *common;
	u->common.engine = &uring_engine;
	u->watch.fd = -1;
	u->retry = (struct timer){ .expired = uring_retry, .arg = u };
	r = uring_setup(&u->ring, common->depth);
	if (r < 0) {
		free(u);
		return err_set(e, r, "io_uring is not available here: %s", strerror(-r));
	}
	r = uring_connect(u);
	if (r < 0)
		err_set(e, r, "cannot use io_uring: %s", strerror(-r));
	else
		r = uring_add_ioctls(u, e);
	if (r < 0) {
		uring_free(&u->common);
		return r;
	}
	*out = &u->common;
	return 0;
}

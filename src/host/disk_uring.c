/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine: one ring per I/O thread, made by the thread before it enters its sandbox,
 * and fed and reaped by it for all queues that it has.  The loop watches the ring's fd, which is
 * readable while completions wait; they are taken from shared memory, at once if they are there
 * after a submit.  A system call is made only to submit, once per batch.
 *
 * Files are registered by a request to the ring itself.  No more requests are in flight than
 * completions have room, so that the kernel never has to keep one aside, for which it may lack
 * memory.
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

enum {
	SUBMISSIONS = 256, /* by one system call */
	COMPLETIONS = 2048,
	IN_FLIGHT_MAX = COMPLETIONS - 1, /* and one that registers files */
	REAP_BATCH = 64,
	RETRY_NS = 1000000,
};
enum { FILE_BUFFERED, FILE_DIRECT, FILES }; /* registered, of each disk */

struct disk_ring {
	struct loop *loop;
	int error; /* 0, or why this host has no ring */
	struct io_uring ring;
	struct watch watch;
	struct timer retry; /* the host was short of memory at the last submit */
	unsigned in_flight; /* SQEs, submitted or not */
	struct disk_fifo waiting; /* for a submit, or for in_flight to fall */
	struct uring_queue *completed; /* have requests that completed, and were not told yet */
	struct {
		const struct disk *disk; /* NULL: free */
		unsigned nqueues;
	} slot[DISK_RING_DISKS];
	int files[FILES]; /* that are being registered */
	bool registering;
	int registered; /* as many, or -errno */
};

struct uring_queue {
	struct disk_queue common;
	unsigned slot; /* of the disk's files */
	unsigned in_flight; /* the waiting ones too */
	bool is_completed; /* in ring->completed */
	struct uring_queue *next_completed;
	struct disk_queue *ioctls; /* what the ring cannot do; NULL: nothing */
};

static struct uring_queue *uring_of(struct disk_queue *q)
{
	return container_of(q, struct uring_queue, common);
}

static void prepare_step(struct io_uring_sqe *sqe, const struct disk_step *step, int file)
{
	switch (step->kind) {
	case STEP_READ:
		if (step->niov == 1)
			io_uring_prep_read(sqe, file, step->iov->iov_base,
					   (unsigned)MIN(step->iov->iov_len, GIB), step->offset);
		else
			io_uring_prep_readv(sqe, file, step->iov, step->niov, step->offset);
		break;
	case STEP_WRITE:
	case STEP_WRITE_ZEROES:
		if (step->niov == 1)
			io_uring_prep_write(sqe, file, step->iov->iov_base,
					    (unsigned)MIN(step->iov->iov_len, GIB), step->offset);
		else
			io_uring_prep_writev(sqe, file, step->iov, step->niov, step->offset);
		break;
	case STEP_PUNCH_HOLE:
	case STEP_ZERO_RANGE:
		io_uring_prep_fallocate(sqe, file, disk_step_fallocate_mode(step->kind),
					(off_t)step->offset, (off_t)step->len);
		break;
	case STEP_FLUSH:
	case STEP_DISCARD: /* went to ioctls */
	case STEP_UNDECIDED:
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

/* False: there is no room now. */
static bool ring_issue(struct disk_ring *r, struct disk_request *req)
{
	struct uring_queue *u = uring_of(req->queue);
	struct io_uring_sqe *sqe = NULL;
	struct disk_step step;

	if (r->in_flight < IN_FLIGHT_MAX)
		sqe = io_uring_get_sqe(&r->ring);
	if (!sqe)
		return false;
	disk_step_next(u->common.disk, req, &step);
	prepare_step(sqe, &step,
		     (int)u->slot * FILES + (step.direct ? FILE_DIRECT : FILE_BUFFERED));
	io_uring_sqe_set_data(sqe, req);
	r->in_flight++;
	return true;
}

static void ring_put(struct disk_ring *r, struct disk_request *req)
{
	if (r->waiting.first || !ring_issue(r, req))
		disk_fifo_put(&r->waiting, req);
}

static void ring_push(struct disk_ring *r)
{
	int n;

	do {
		while (r->waiting.first && ring_issue(r, r->waiting.first))
			disk_fifo_take(&r->waiting);
		if (!io_uring_sq_ready(&r->ring))
			return;
		n = io_uring_submit(&r->ring);
	} while (n > 0 || n == -EINTR);
	loop_timer_set(r->loop, &r->retry, loop_now_ns() + RETRY_NS);
}

static void ring_completed(struct disk_ring *r, struct disk_request *req, int result)
{
	struct uring_queue *u = uring_of(req->queue);

	r->in_flight--;
	if (!disk_step_done(u->common.disk, req, result)) {
		ring_put(r, req);
		return;
	}
	u->in_flight--;
	if (!u->is_completed) {
		u->is_completed = true;
		u->next_completed = r->completed;
		r->completed = u;
	}
	req->done(req, req->result);
}

static void ring_reap(struct disk_ring *r)
{
	struct io_uring_cqe *cqe[REAP_BATCH];
	unsigned n;

	while ((n = io_uring_peek_batch_cqe(&r->ring, cqe, REAP_BATCH))) {
		for (unsigned i = 0; i < n; i++) {
			struct disk_request *req = io_uring_cqe_get_data(cqe[i]);

			if (req) {
				ring_completed(r, req, cqe[i]->res);
			} else {
				r->registering = false;
				r->registered = cqe[i]->res;
			}
		}
		io_uring_cq_advance(&r->ring, n);
	}
}

/* What follows from it is in the ring, and not pushed. */
static void ring_complete(struct disk_ring *r)
{
	struct uring_queue *u;

	ring_reap(r);
	while ((u = r->completed)) {
		r->completed = u->next_completed;
		u->is_completed = false;
		u->common.batch_done(u->common.arg);
		if (u->ioctls)
			disk_commit(u->ioctls);
	}
}

static void ring_ready(void *arg, uint32_t events)
{
	struct disk_ring *r = arg;

	(void)events;
	ring_complete(r);
	ring_push(r);
}

/* What the page cache has is complete when it is submitted: no need to be told by the loop. */
static void ring_commit(struct disk_ring *r)
{
	ring_push(r);
	ring_complete(r);
	ring_push(r);
}

static void ring_retry(void *arg)
{
	ring_commit(arg);
}

/* The first that the kernel knows: no locks for other submitters (6.0), completions without an
 * interrupt to this thread (5.19).  IORING_SETUP_DEFER_TASKRUN would not wake the loop. */
static int ring_setup(struct io_uring *ring)
{
	static const unsigned flags[] = { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
					  IORING_SETUP_COOP_TASKRUN, 0 };
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = COMPLETIONS,
		};

		r = io_uring_queue_init_params(SUBMISSIONS, ring, &p);
	}
	return r;
}

/* liburing 2.3 declares functions for these, and does not have them. */
static long ring_register(const struct io_uring *ring, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, op, arg, n);
}

/*
 * Whoever writes into its memory gets nothing of the ring but what prepare_step() asks for, but of
 * any file that is open: seccomp filters do not see what a ring is told.  To have registered files
 * only, IOSQE_FIXED_FILE would have to be required of each request, and the kernel refuses to
 * register files by a request that has it.  The thread may read(), write() and fallocate() any file
 * anyway.  (io_uring_register(2), IORING_REGISTER_RESTRICTIONS; Linux 5.10)
 */
static int ring_restrict(struct io_uring *ring)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FILES_UPDATE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE },
	};

	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, only, ARRAY_SIZE(only)) ||
			       ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0)
		       ? -errno
		       : 0;
}

/* 0, or why there is no ring. */
static int ring_begin(struct disk_ring *r)
{
	int none[DISK_RING_DISKS * FILES];
	int code = ring_setup(&r->ring);

	if (code)
		return code;
	memset(none, -1, sizeof(none));
	code = io_uring_register_files(&r->ring, none, ARRAY_SIZE(none));
	if (!code)
		code = ring_restrict(&r->ring);
	r->watch = (struct watch){ .fd = r->ring.ring_fd, .ready = ring_ready, .arg = r };
	if (!code)
		code = loop_watch(r->loop, &r->watch, EPOLLIN);
	if (code)
		io_uring_queue_exit(&r->ring);
	return code;
}

struct disk_ring *disk_ring_new(struct loop *loop)
{
	struct disk_ring *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->loop = loop;
	r->retry = (struct timer){ .expired = ring_retry, .arg = r };
	r->error = ring_begin(r);
	return r;
}

void disk_ring_free(struct disk_ring *r)
{
	if (r && !r->error) {
		assert(!r->in_flight);
		loop_timer_cancel(r->loop, &r->retry);
		loop_unwatch(r->loop, &r->watch);
		io_uring_queue_exit(&r->ring);
	}
	free(r);
}

int disk_ring_error(const struct disk_ring *r)
{
	return r->error;
}

struct loop *disk_ring_loop(const struct disk_ring *r)
{
	return r->loop;
}

/* Waits for the answer, which needs no device, and takes whatever else comes meanwhile. */
static int ring_register_files(struct disk_ring *r, unsigned slot, int buffered, int direct)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&r->ring)))
		io_uring_submit(&r->ring);
	r->files[FILE_BUFFERED] = buffered;
	r->files[FILE_DIRECT] = direct;
	io_uring_prep_files_update(sqe, r->files, FILES, (int)slot * FILES);
	io_uring_sqe_set_data(sqe, NULL);
	r->registering = true;
	while (r->registering) {
		io_uring_submit_and_wait(&r->ring, 1);
		ring_complete(r);
	}
	ring_push(r);
	if (r->registered == FILES)
		return 0;
	return r->registered < 0 ? r->registered : -EIO;
}

/* A disk's files are registered once for all its queues.  -ENFILE: others have all places. */
static int ring_add(struct disk_ring *r, const struct disk *disk, unsigned *slot)
{
	unsigned at = DISK_RING_DISKS;
	int code = 0;

	for (unsigned i = DISK_RING_DISKS; i-- > 0;)
		if (r->slot[i].disk == disk ||
		    (!r->slot[i].disk && (at == DISK_RING_DISKS || !r->slot[at].disk)))
			at = i;
	if (at == DISK_RING_DISKS)
		return -ENFILE;
	if (!r->slot[at].disk)
		code = ring_register_files(r, at, disk->fd, disk->direct_fd); /* -1: none */
	if (code)
		return code;
	r->slot[at].disk = disk;
	r->slot[at].nqueues++;
	*slot = at;
	return 0;
}

static void ring_remove(struct disk_ring *r, unsigned slot)
{
	if (--r->slot[slot].nqueues)
		return;
	r->slot[slot].disk = NULL;
	ring_register_files(r, slot, -1, -1);
}

static void uring_submit(struct disk_queue *q, struct disk_request *req)
{
	struct uring_queue *u = uring_of(q);

	if (u->ioctls && req->op == DISK_DISCARD) {
		disk_submit(u->ioctls, req);
		return;
	}
	req->queue = q;
	u->in_flight++;
	ring_put(q->ring, req);
}

static void uring_commit(struct disk_queue *q)
{
	struct uring_queue *u = uring_of(q);

	ring_commit(q->ring);
	if (u->ioctls)
		disk_commit(u->ioctls);
}

/* What done() submitted may be for the ring. */
static void uring_ioctls_done(void *arg)
{
	struct uring_queue *u = arg;

	u->common.batch_done(u->common.arg);
	ring_push(u->common.ring);
}

static void uring_free(struct disk_queue *q)
{
	struct uring_queue *u = uring_of(q);

	assert(!u->in_flight);
	disk_queue_free(u->ioctls);
	ring_remove(q->ring, u->slot);
	free(u);
}

static const struct disk_engine uring_engine = {
	.free = uring_free,
	.submit = uring_submit,
	.commit = uring_commit,
};

/* A block device is told of a discard by an ioctl, which blocks. */
static int uring_add_ioctls(struct uring_queue *u, struct err *e)
{
	struct disk_queue common = u->common;

	if (!common.disk->is_block_device)
		return 0;
	common.batch_done = uring_ioctls_done;
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
	r = ring_add(common->ring, common->disk, &u->slot);
	if (r) {
		free(u);
		return err_set(e, r, "cannot use io_uring: %s", strerror(-r));
	}
	r = uring_add_ioctls(u, e);
	if (r) {
		uring_free(&u->common);
		return r;
	}
	*out = &u->common;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "bits.h"
#include "disk_queue.h"
#include "log.h"

int disk_prepare(struct disk *disk, const struct disk_ring *ring, unsigned nqueues, struct err *e)
{
	enum { THREADS_PER_QUEUE = 4 };
	int error = disk_ring_error(ring);

	if (disk->pool)
		return 0;
	if (error) {
		log_info("io_uring is not available here: %s; disk I/O uses threads",
			 strerror(-error));
		return disk_pool_start(disk, THREADS_PER_QUEUE * nqueues, e);
	}
	return disk->is_block_device ? disk_pool_start(disk, 1, e) : 0;
}

int disk_queue_new(struct disk_queue **out, struct disk *disk, struct disk_ring *ring,
		   void (*batch_done)(void *arg), void *arg, struct err *e)
{
	const struct disk_queue common = { .disk = disk,
					   .ring = ring,
					   .loop = disk_ring_loop(ring),
					   .batch_done = batch_done,
					   .arg = arg };
	int r = disk_ring_error(ring) ? disk_pool_new(out, &common, e)
				      : disk_uring_new(out, &common, e);

	if (!r)
		disk_flush_attach(*out);
	return r;
}

void disk_queue_free(struct disk_queue *q)
{
	if (q)
		q->engine->free(q);
}

void disk_submit(struct disk_queue *q, struct disk_request *req)
{
	req->done_bytes = 0;
	req->step = STEP_UNDECIDED;
	if (req->op == DISK_FLUSH)
		disk_flush_submit(q, req);
	else
		q->engine->submit(q, req);
}

void disk_commit(struct disk_queue *q)
{
	q->engine->commit(q);
}

/* Cheapest first; what the host refused before is not asked for again. */
static enum disk_step_kind zeroing_step(struct disk *disk, bool unmap)
{
	unsigned lacking = atomic_load_explicit(&disk->lacking, memory_order_relaxed);

	if (unmap && !(lacking & BIT(STEP_PUNCH_HOLE)))
		return STEP_PUNCH_HOLE;
	if (!(lacking & BIT(STEP_ZERO_RANGE)))
		return STEP_ZERO_RANGE;
	return STEP_WRITE_ZEROES;
}

static enum disk_step_kind first_step(struct disk *disk, const struct disk_request *req)
{
	switch (req->op) {
	case DISK_READ:
		return STEP_READ;
	case DISK_WRITE:
		return STEP_WRITE;
	case DISK_FLUSH:
		return STEP_FLUSH;
	case DISK_DISCARD:
		return disk->is_block_device ? STEP_DISCARD : STEP_PUNCH_HOLE;
	case DISK_WRITE_ZEROES:
		break;
	}
	return zeroing_step(disk, req->unmap);
}

/* What the device cannot take directly goes through the page cache, which the kernel keeps
 * coherent with direct I/O: so a guest may use any alignment. */
static bool is_aligned(const struct disk *disk, const struct disk_step *step)
{
	uint64_t bits = step->offset;

	for (unsigned i = 0; i < step->niov; i++)
		bits |= (uintptr_t)step->iov[i].iov_base | step->iov[i].iov_len;
	return !(bits & (disk->block_bytes - 1));
}

static void choose_step(struct disk *disk, struct disk_request *req, struct disk_step *step)
{
	if (req->step == STEP_UNDECIDED)
		req->step = first_step(disk, req);
	*step = (struct disk_step){ .kind = req->step,
				    .iov = req->iov,
				    .niov = req->niov,
				    .offset = req->offset + req->done_bytes,
				    .len = req->len - req->done_bytes };
	if (step->kind == STEP_WRITE_ZEROES) {
		step->zeroes = (struct iovec){ .iov_base = disk->zeroes,
					       .iov_len = MIN(step->len, DISK_ZEROES_BYTES) };
		step->iov = &step->zeroes;
		step->niov = 1;
	} else if (step->kind != STEP_READ && step->kind != STEP_WRITE) {
		return;
	}
	step->direct = disk->direct_fd >= 0 && is_aligned(disk, step);
}

void disk_step_next(struct disk *disk, struct disk_request *req, struct disk_step *step)
{
	choose_step(disk, req, step);
	if (step->kind != STEP_READ && step->kind != STEP_FLUSH && !step->direct &&
	    !atomic_load_explicit(&disk->cached, memory_order_relaxed))
		atomic_store(&disk->cached, true);
}

int disk_step_fallocate_mode(enum disk_step_kind kind)
{
	return FALLOC_FL_KEEP_SIZE |
	       (kind == STEP_PUNCH_HOLE ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static bool finish(struct disk_request *req, int result)
{
	req->result = result;
	return true;
}

static void advance(struct disk_request *req, size_t bytes)
{
	req->done_bytes += bytes;
	while (req->niov && bytes >= req->iov->iov_len) {
		bytes -= req->iov->iov_len;
		req->iov++;
		req->niov--;
	}
	if (bytes) {
		req->iov->iov_base = (char *)req->iov->iov_base + bytes;
		req->iov->iov_len -= bytes;
	}
}

static bool transferred(struct disk_request *req, int result)
{
	if (result > 0) {
		if (req->step == STEP_WRITE_ZEROES)
			req->done_bytes += (unsigned)result;
		else
			advance(req, (size_t)result);
		return req->done_bytes < req->len ? false : finish(req, 0);
	}
	/* The file was cut short: what is not there is lost, and not zeroes. */
	if (!result)
		result = req->step == STEP_READ ? -ENODATA : -EIO;
	return finish(req, result);
}

/* A kernel that fails to write a page out tells it once and may drop the page: later flushes would
 * succeed, and promise what is not there. */
static int flush_result(struct disk *disk, int result)
{
	if (atomic_load(&disk->lost))
		return -ENOTRECOVERABLE;
	if (result && atomic_load(&disk->cached))
		disk_lose(disk, -result);
	return result;
}

/* EOPNOTSUPP: the host never does it.  EINVAL: not at this alignment. */
static bool range_done(struct disk *disk, struct disk_request *req, int result)
{
	if (result != -EOPNOTSUPP && result != -EINVAL)
		return finish(req, result);
	if (req->op == DISK_DISCARD) /* virtio 1.2, 5.2.6.2: a hint */
		return finish(req, 0);
	if (result == -EINVAL) {
		req->step = STEP_WRITE_ZEROES;
		return false;
	}
	atomic_fetch_or_explicit(&disk->lacking, (unsigned)BIT(req->step), memory_order_relaxed);
	req->step = STEP_UNDECIDED;
	return false;
}

bool disk_step_done(struct disk *disk, struct disk_request *req, int result)
{
	if (result == -EAGAIN || result == -EINTR)
		return false;
	switch ((enum disk_step_kind)req->step) {
	case STEP_READ:
	case STEP_WRITE:
	case STEP_WRITE_ZEROES:
		return transferred(req, result);
	case STEP_PUNCH_HOLE:
	case STEP_ZERO_RANGE:
	case STEP_DISCARD:
		return range_done(disk, req, result);
	case STEP_FLUSH:
	case STEP_UNDECIDED:
		break;
	}
	return finish(req, flush_result(disk, result));
}

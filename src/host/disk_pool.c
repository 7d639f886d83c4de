/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine for hosts that forbid io_uring, and for what a ring cannot do: threads of a disk that
 * make blocking calls for all its queues.  Requests reach them under one mutex, a batch at a time,
 * and come back as work for the queue's loop.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "disk_queue.h"
#include "thread.h"

enum { THREADS_MAX = 16 };

struct disk_pool {
	struct disk *disk;
	unsigned nthreads;
	pthread_t thread[THREADS_MAX];
	pthread_mutex_t lock; /* of all below, and of queues' done */
	pthread_cond_t work;
	struct disk_fifo pending;
	bool quit;
};

struct pool_queue {
	struct disk_queue common;
	struct disk_fifo fresh; /* not committed; the queue's thread only */
	unsigned nfresh;
	struct work completed; /* posted: done is not empty */
	struct disk_fifo done;
};

static struct pool_queue *pool_of(struct disk_queue *q)
{
	return container_of(q, struct pool_queue, common);
}

static int run_step(const struct disk *disk, const struct disk_step *step)
{
	int fd = step->direct ? disk->direct_fd : disk->fd;
	uint64_t range[2] = { step->offset, step->len };
	ssize_t n = 0;

	switch (step->kind) {
	case STEP_READ:
		n = preadv(fd, step->iov, (int)step->niov, (off_t)step->offset);
		break;
	case STEP_WRITE:
	case STEP_WRITE_ZEROES:
		n = pwritev(fd, step->iov, (int)step->niov, (off_t)step->offset);
		break;
	case STEP_PUNCH_HOLE:
	case STEP_ZERO_RANGE:
		n = fallocate(fd, disk_step_fallocate_mode(step->kind), (off_t)step->offset,
			      (off_t)step->len);
		break;
	case STEP_DISCARD:
		n = ioctl(fd, BLKDISCARD, range);
		break;
	case STEP_FLUSH:
	case STEP_UNDECIDED:
		n = fdatasync(fd);
		break;
	}
	return n < 0 ? -errno : (int)n;
}

static void run_request(struct disk *disk, struct disk_request *req)
{
	struct disk_step step;

	do
		disk_step_next(disk, req, &step);
	while (!disk_step_done(disk, req, run_step(disk, &step)));
}

/* Under the lock. */
static void give_back(struct disk_request *req)
{
	struct pool_queue *q = pool_of(req->queue);
	bool first = !q->done.first;

	disk_fifo_put(&q->done, req);
	if (first)
		loop_post(q->common.loop, &q->completed);
}

static void *pool_main(void *arg)
{
	struct disk_pool *p = arg;
	struct disk_request *req;

	pthread_mutex_lock(&p->lock);
	while (!p->quit) {
		req = disk_fifo_take(&p->pending);
		if (!req) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		run_request(p->disk, req);
		pthread_mutex_lock(&p->lock);
		give_back(req);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int disk_pool_start(struct disk *disk, unsigned nthreads, struct err *e)
{
	struct disk_pool *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->disk = disk;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	while (!r && p->nthreads < MIN(nthreads, THREADS_MAX)) {
		r = thread_new(&p->thread[p->nthreads], "_disk", SANDBOX_DISK, 0, pool_main, p);
		p->nthreads += !r;
	}
	if (!p->nthreads) {
		disk_pool_end(p);
		return err_set(e, r, "cannot start a thread for disk I/O: %s", strerror(-r));
	}
	disk->pool = p;
	return 0;
}

void disk_pool_end(struct disk_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	assert(!p->pending.first);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static void pool_submit(struct disk_queue *q, struct disk_request *req)
{
	struct pool_queue *p = pool_of(q);

	req->queue = q;
	disk_fifo_put(&p->fresh, req);
	p->nfresh++;
}

static void pool_commit(struct disk_queue *q)
{
	struct disk_pool *pool = q->disk->pool;
	struct pool_queue *p = pool_of(q);
	struct disk_request *req;

	if (!p->nfresh)
		return;
	pthread_mutex_lock(&pool->lock);
	while ((req = disk_fifo_take(&p->fresh)))
		disk_fifo_put(&pool->pending, req);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < MIN(p->nfresh, pool->nthreads); i++)
		pthread_cond_signal(&pool->work);
	p->nfresh = 0;
}

static void pool_completed(void *arg)
{
	struct pool_queue *p = arg;
	struct disk_fifo done;
	struct disk_request *req;

	pthread_mutex_lock(&p->common.disk->pool->lock);
	done = p->done;
	p->done.first = NULL;
	pthread_mutex_unlock(&p->common.disk->pool->lock);
	while ((req = disk_fifo_take(&done)))
		req->done(req, req->result);
	p->common.batch_done(p->common.arg);
	pool_commit(&p->common);
}

/* Idle: what was posted has run, as it took all that was done. */
static void pool_free(struct disk_queue *q)
{
	struct pool_queue *p = pool_of(q);

	assert(!p->nfresh && !p->done.first);
	free(p);
}

static const struct disk_engine pool_engine = {
	.free = pool_free,
	.submit = pool_submit,
	.commit = pool_commit,
};

int disk_pool_new(struct disk_queue **out, const struct disk_queue *common, struct err *e)
{
	struct pool_queue *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	assert(common->disk->pool);
	p->common = *common;
	p->common.engine = &pool_engine;
	p->completed = (struct work){ .run = pool_completed, .arg = p };
	*out = &p->common;
	return 0;
}

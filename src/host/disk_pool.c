/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine for hosts that forbid io_uring: a few threads that make blocking calls.  They
 * start when there is work for them.  Requests reach them under one mutex, a batch at a time,
 * and come back through an eventfd that the queue's loop watches.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "disk_queue.h"
#include "thread.h"

enum { POOL_THREADS = 4 };

struct pool_queue {
	struct disk_queue common;
	struct watch watch; /* eventfd: done is not empty */
	struct disk_fifo fresh; /* not committed; the queue's thread only */
	unsigned nfresh, nthreads;
	pthread_t thread[POOL_THREADS];

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t work;
	struct disk_fifo pending, done;
	unsigned npending, idle;
	bool quit;
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
static void give_back(struct pool_queue *p, struct disk_request *req)
{
	uint64_t one = 1;

	if (!p->done.first && write(p->watch.fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	disk_fifo_put(&p->done, req);
}

/* Under the lock, which is let go of during the work.  False: there is none. */
static bool serve_one(struct pool_queue *p)
{
	struct disk_request *req = disk_fifo_take(&p->pending);

	if (!req)
		return false;
	p->npending--;
	pthread_mutex_unlock(&p->lock);
	run_request(p->common.disk, req);
	pthread_mutex_lock(&p->lock);
	give_back(p, req);
	return true;
}

static void *pool_main(void *arg)
{
	struct pool_queue *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->quit) {
		if (serve_one(p))
			continue;
		p->idle++;
		pthread_cond_wait(&p->work, &p->lock);
		p->idle--;
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* As many as there is work for. */
static void start_threads(struct pool_queue *p, unsigned wanted)
{
	while (p->nthreads < MIN(wanted, POOL_THREADS) &&
	       !thread_new(&p->thread[p->nthreads], "_disk", SANDBOX_IO, 0, pool_main, p))
		p->nthreads++;
}

static void pool_submit(struct disk_queue *q, struct disk_request *req)
{
	struct pool_queue *p = pool_of(q);

	disk_fifo_put(&p->fresh, req);
	p->nfresh++;
}

static void pool_commit(struct disk_queue *q)
{
	struct pool_queue *p = pool_of(q);
	struct disk_request *req;
	unsigned wanted;

	if (!p->nfresh)
		return;
	pthread_mutex_lock(&p->lock);
	while ((req = disk_fifo_take(&p->fresh)))
		disk_fifo_put(&p->pending, req);
	p->npending += p->nfresh;
	p->nfresh = 0;
	wanted = p->nthreads - p->idle + p->npending;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	start_threads(p, wanted);
	if (p->nthreads)
		return;
	/* The host has no thread left: slow is better than never. */
	pthread_mutex_lock(&p->lock);
	while (serve_one(p))
		;
	pthread_mutex_unlock(&p->lock);
}

static void pool_ready(void *arg, uint32_t events)
{
	struct pool_queue *p = arg;
	struct disk_fifo done;
	struct disk_request *req;
	uint64_t count;

	(void)events;
	pthread_mutex_lock(&p->lock);
	if (read(p->watch.fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	done = p->done;
	p->done.first = NULL;
	pthread_mutex_unlock(&p->lock);
	while ((req = disk_fifo_take(&done)))
		req->done(req, req->result);
	p->common.batch_done(p->common.arg);
	pool_commit(&p->common);
}

static void pool_free(struct disk_queue *q)
{
	struct pool_queue *p = pool_of(q);

	pthread_mutex_lock(&p->lock);
	assert(!p->pending.first && !p->done.first);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->thread[i], NULL);
	loop_unwatch(q->loop, &p->watch);
	close(p->watch.fd);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
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
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->common = *common;
	p->common.engine = &pool_engine;
	p->watch = (struct watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				   .ready = pool_ready,
				   .arg = p };
	r = p->watch.fd < 0 ? -errno : loop_watch(common->loop, &p->watch, EPOLLIN);
	if (r < 0) {
		if (p->watch.fd >= 0)
			close(p->watch.fd);
		free(p);
		return err_set(e, r, "cannot make an eventfd for disk I/O: %s", strerror(-r));
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	*out = &p->common;
	return 0;
}

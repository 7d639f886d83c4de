/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One flush of a disk at a time.  That a page could not be written out the kernel tells once, to
 * one of those who ask at the same time, and the others would promise what is not there.  Whoever
 * asks meanwhile waits, and the next flush, made by the queue of the first of them, serves all.
 */
#include "disk_queue.h"

/* On its thread, which is the one that may flush now: for all that wait. */
static void flush(struct disk_queue *q)
{
	struct disk_flusher *f = &q->disk->flusher;

	pthread_mutex_lock(&f->lock);
	f->served = f->waiting;
	f->waiting.first = NULL;
	pthread_mutex_unlock(&f->lock);
	q->engine->submit(q, &f->request);
}

/* Under the lock.  What is posted runs before the queue can be idle: it has a request for it. */
static void hand_over(struct disk_queue *q, struct disk_request *served)
{
	bool posted = q->flushed.first || q->flushes_next;

	if (served)
		disk_fifo_put(&q->flushed, served);
	else
		q->flushes_next = true;
	if (!posted)
		loop_post(q->loop, &q->flush_work);
}

static void tell(struct disk_fifo *served)
{
	struct disk_request *req;

	while ((req = disk_fifo_take(served)))
		req->done(req, req->result);
}

static void flushed(struct disk_request *request, int result)
{
	struct disk_queue *q = request->queue, *next = NULL;
	struct disk_flusher *f = container_of(request, struct disk_flusher, request);
	struct disk_fifo own = { .first = NULL };
	struct disk_request *req;

	pthread_mutex_lock(&f->lock);
	while ((req = disk_fifo_take(&f->served))) {
		req->result = result;
		if (req->queue == q)
			disk_fifo_put(&own, req);
		else
			hand_over(req->queue, req);
	}
	if (f->waiting.first)
		next = f->waiting.first->queue;
	f->busy = next;
	if (next && next != q)
		hand_over(next, NULL);
	pthread_mutex_unlock(&f->lock);
	if (next == q)
		flush(q);
	tell(&own);
}

static void flush_on(void *arg)
{
	struct disk_queue *q = arg;
	struct disk_flusher *f = &q->disk->flusher;
	struct disk_fifo served;
	bool is_next;

	pthread_mutex_lock(&f->lock);
	served = q->flushed;
	q->flushed.first = NULL;
	is_next = q->flushes_next;
	q->flushes_next = false;
	pthread_mutex_unlock(&f->lock);
	if (is_next)
		flush(q);
	tell(&served);
	q->batch_done(q->arg);
	q->engine->commit(q);
}

void disk_flush_init(struct disk *disk)
{
	pthread_mutex_init(&disk->flusher.lock, NULL);
	disk->flusher.request = (struct disk_request){ .op = DISK_FLUSH, .done = flushed };
}

void disk_flush_attach(struct disk_queue *q)
{
	q->flush_work = (struct work){ .run = flush_on, .arg = q };
}

void disk_flush_submit(struct disk_queue *q, struct disk_request *req)
{
	struct disk_flusher *f = &q->disk->flusher;
	bool busy;

	req->queue = q;
	pthread_mutex_lock(&f->lock);
	disk_fifo_put(&f->waiting, req);
	busy = f->busy;
	f->busy = true;
	pthread_mutex_unlock(&f->lock);
	if (!busy)
		flush(q);
}

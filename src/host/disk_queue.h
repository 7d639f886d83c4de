/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Behind disk.h: what an open disk is, and how a queue serves a request.  A request is served
 * by one or more steps, each one host operation: a short read or write, an interrupted call
 * and an operation that the file system lacks lead to a further step.  disk_step_next() says
 * what to do, disk_step_done() what its result means; both engines only carry steps out.
 */
#ifndef DISK_QUEUE_H
#define DISK_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>

#include "bits.h"
#include "disk.h"

enum {
	DISK_ZEROES_BYTES = 1 << 20,
	DISK_RING_DISKS = 32, /* as many as a PCI bus has places */
};

/* First in, first out. */
struct disk_fifo {
	struct disk_request *first, **end; /* end: only when first is set */
};

static inline void disk_fifo_put(struct disk_fifo *f, struct disk_request *req)
{
	req->next = NULL;
	*(f->first ? f->end : &f->first) = req;
	f->end = &req->next;
}

static inline struct disk_request *disk_fifo_take(struct disk_fifo *f)
{
	struct disk_request *req = f->first;

	if (req)
		f->first = req->next;
	return req;
}

struct disk_flusher {
	struct disk_request request; /* what the host is asked for */
	pthread_mutex_t lock; /* of all below, and of queues' flushed and flushes_next */
	bool busy;
	struct disk_fifo served, waiting; /* by the flush under way, and for the next */
};

struct disk {
	struct disk_config config;
	int fd; /* holds the lock; all but aligned I/O of direct=on */
	int direct_fd; /* -1: direct=off */
	bool is_block_device;
	bool locked;
	uint32_t block_bytes;
	uint64_t size_bytes;
	void *zeroes; /* DISK_ZEROES_BYTES of them */
	/* Bit of an enum disk_step_kind: the host refused it once.  Any queue's thread. */
	atomic_uint lacking;
	/* Something was written by way of the page cache; and the kernel failed to write such
	 * out: nobody knows what is on the disk.  Any queue's thread. */
	atomic_bool cached, lost;
	struct disk_flusher flusher;
	struct disk_pool *pool; /* NULL: its queues need none */
};

enum disk_step_kind {
	STEP_UNDECIDED,
	STEP_READ,
	STEP_WRITE,
	STEP_FLUSH,
	STEP_PUNCH_HOLE,
	STEP_ZERO_RANGE,
	STEP_WRITE_ZEROES,
	STEP_DISCARD, /* of a block device: an ioctl */
};

struct disk_step {
	enum disk_step_kind kind;
	bool direct; /* on direct_fd */
	struct iovec *iov, zeroes; /* READ, WRITE, WRITE_ZEROES */
	unsigned niov;
	uint64_t offset, len;
};

void disk_step_next(struct disk *, struct disk_request *, struct disk_step *);
/* result: bytes or 0, or -errno.  True: the request is done, see its result; false: next. */
bool disk_step_done(struct disk *, struct disk_request *, int result);
int disk_step_fallocate_mode(enum disk_step_kind);

void disk_lose(struct disk *, int error); /* it is lost: a positive errno */

struct disk_engine {
	void (*free)(struct disk_queue *);
	void (*submit)(struct disk_queue *, struct disk_request *);
	void (*commit)(struct disk_queue *);
};

/* The beginning of an engine's queue. */
struct disk_queue {
	const struct disk_engine *engine;
	struct disk *disk;
	struct disk_ring *ring;
	struct loop *loop; /* the ring's */
	void (*batch_done)(void *arg);
	void *arg;
	struct work flush_work; /* posted: there is one of these */
	struct disk_fifo flushed; /* to be told on this queue's thread */
	bool flushes_next;
};

void disk_flush_init(struct disk *); /* before there are queues */
void disk_flush_attach(struct disk_queue *);
/* A FLUSH, on the queue's thread; that of another queue may be what serves it. */
void disk_flush_submit(struct disk_queue *, struct disk_request *);

struct loop *disk_ring_loop(const struct disk_ring *);

int disk_ring_error(const struct disk_ring *); /* 0, or why this host has none */

/* The threads behind disk_pool_new(), which make the calls of all queues of the disk. */
int disk_pool_start(struct disk *, unsigned nthreads, struct err *);
void disk_pool_end(struct disk_pool *); /* without queues; NULL is fine */

/* common: all but the engine, copied. */
int disk_uring_new(struct disk_queue **, const struct disk_queue *common, struct err *);
int disk_pool_new(struct disk_queue **, const struct disk_queue *common, struct err *);

#endif

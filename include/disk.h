/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk image on the host: a raw file or a block device, opened and locked once by the
 * monitor, and read and written through queues.  Each queue belongs to one I/O thread and
 * uses that thread's ring (io_uring), or a pool of threads where io_uring is forbidden.
 *
 * The lock is an open-file-description lock on the whole image: exclusive, or shared when
 * read-only, so that two VMs cannot write one disk.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "err.h"
#include "loop.h"

extern const struct broker_service disk_lock_holder, disk_lock_shared; /* broker.h */

struct disk;
struct disk_queue;
struct disk_ring;

struct disk_config {
	const char *path; /* lives as long as the disk */
	bool readonly;
	bool direct; /* O_DIRECT for requests that the device can take so */
	bool raw; /* raw whatever it looks like; else images of other formats are refused */
	bool sparse; /* what a file grows by is allocated when it is written */
	/* Opened while another VM still writes it: it has no lock, and nothing is read from it
	 * until disk_take().  Of block devices only with direct. */
	bool later;
};

/* -EAGAIN: locked by another; the sentence names the VM if it can be found. */
int disk_open(struct disk **, const struct disk_config *, struct err *);
void disk_close(struct disk *); /* after its queues; NULL is fine */
const char *disk_path(const struct disk *); /* as it was given */
uint64_t disk_size_bytes(const struct disk *);
uint32_t disk_block_bytes(const struct disk *); /* alignment of direct I/O, at least 512 */
/*
 * A file gets this size, whole sectors and not 0; of a block device, which others resize, its
 * present one is made known here.  While nothing is in flight.  -EROFS: the disk is read-only.
 */
int disk_resize(struct disk *, uint64_t bytes, struct err *);

/*
 * The lock changes hands.  None of these while a request is in flight.
 * disk_take() takes it, drops what this host has cached of the disk, then looks at its size, which
 * must be the same still, and its format; nothing if it is held already.  It never waits.
 * -EAGAIN: locked by another.
 */
int disk_take(struct disk *, struct err *);
void disk_let_go(struct disk *);
/* Not held here.  1: it is refused, as another has it; 0: it was free, and is free again. */
int disk_prove_lock(struct disk *, struct err *);
int disk_sync(struct disk *, struct err *); /* what was written is on the disk when it returns */

/* DISCARD: a hint that the host may ignore. */
enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES };

/* One request; embedded in the caller's, untouched by it until done. */
struct disk_request {
	enum disk_op op;
	struct iovec *iov; /* READ, WRITE; may be changed while in flight */
	unsigned niov;
	uint64_t offset, len; /* bytes; len: sum of iov, or the range */
	bool unmap; /* WRITE_ZEROES: may deallocate */
	/* On the queue's thread; 0 or -errno.  A short read or write is completed before.
	 * READ: -ENODATA, the file has become shorter.  FLUSH: -ENOTRECOVERABLE, an earlier one
	 * failed after writes by way of the page cache. */
	void (*done)(struct disk_request *, int result);
	struct disk_queue *queue; /* the queue's, as is all below */
	struct disk_request *next;
	uint64_t done_bytes;
	unsigned step;
	int result;
};

/*
 * What a thread with a loop needs for queues: made on that thread, before it enters a sandbox that
 * has no calls for it.  There is one, too, where io_uring is forbidden.  NULL: out of memory.
 */
struct disk_ring *disk_ring_new(struct loop *);
void disk_ring_free(struct disk_ring *); /* without queues; any thread; NULL is fine */

/*
 * Before there are queues of that ring, so many of them: starts the threads that make blocking
 * calls in its stead, of which a block device has one in any case, for discards.  On main.
 */
int disk_prepare(struct disk *, const struct disk_ring *, unsigned nqueues, struct err *);

/*
 * Everything of a queue happens on its ring's thread, the making too, during which others of the
 * ring may complete.  What is more than a ring can have in flight waits inside.  batch_done(arg)
 * follows the done() calls of requests that completed together; both may submit.  Also during
 * disk_commit(), be it of another queue of the ring.
 */
int disk_queue_new(struct disk_queue **, struct disk *, struct disk_ring *,
		   void (*batch_done)(void *arg), void *arg, struct err *);
void disk_queue_free(struct disk_queue *); /* idle; NULL is fine */
void disk_submit(struct disk_queue *, struct disk_request *);
/* Hand what was submitted to the host: once per batch. */
void disk_commit(struct disk_queue *);

#endif

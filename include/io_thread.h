/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that runs one loop without any lock, and has one ring for the disks.  It owns the
 * virtqueues handed to it and the back ends behind them.  Threads are named "_ioN".
 *
 * Where it shares a processor with a vCPU, a thread that wakes at a kick takes the processor from
 * the guest, which is right for a guest that waits for one request, and dear for one that is about
 * to make more.  So a thread that finds several requests at once becomes patient: it then waits
 * until the guest's vCPU has had its turn (SCHED_BATCH, sched(7)).  Elsewhere this changes nothing.
 */
#ifndef IO_THREAD_H
#define IO_THREAD_H

#include "loop.h"

struct disk_ring;
struct io_thread;

int io_thread_new(struct io_thread **, unsigned index, struct err *);
void io_thread_free(struct io_thread *); /* ends and joins; NULL is fine */
struct loop *io_thread_loop(struct io_thread *);
struct disk_ring *io_thread_ring(struct io_thread *);

/* On the thread itself: a kick found so many requests. */
void io_thread_found(struct io_thread *, unsigned requests);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that runs one loop without any lock.  It owns the virtqueues handed to it and the
 * back ends behind them.  Threads are named "_ioN".
 */
#ifndef IO_THREAD_H
#define IO_THREAD_H

#include "loop.h"

struct io_thread;

int io_thread_new(struct io_thread **, unsigned index, struct err *);
void io_thread_free(struct io_thread *); /* ends and joins; NULL is fine */
struct loop *io_thread_loop(struct io_thread *);

#endif

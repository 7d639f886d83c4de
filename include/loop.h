/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop over epoll: watched fds, timers and work posted by other threads.  One loop per
 * thread: main and every I/O thread.  Any thread may call loop_post() and loop_quit().
 * Watches and timers belong to the thread that runs the loop, to the one that sets it up before
 * it runs, and, if the loop has a lock, to whoever holds it.  Callbacks run one at a time.
 * Watches, timers and work are embedded in their owners: nothing is allocated after loop_new().
 */
#ifndef LOOP_H
#define LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "err.h"
#include "list.h"

struct loop;

struct watch {
	int fd;
	void (*ready)(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
	void *arg;
	bool active; /* the loop's */
};

struct timer {
	void (*expired)(void *arg);
	void *arg;
	uint64_t deadline_ns;
	struct list node;
};

struct work {
	void (*run)(void *arg);
	void *arg;
	struct work *next;
	atomic_bool queued;
};

int loop_new(struct loop **, struct err *);
void loop_free(struct loop *); /* NULL is fine; nothing may be watched any more */

/* The lock is held around each callback, never while waiting (main: the machine lock). */
void loop_set_lock(struct loop *, pthread_mutex_t *);

/* Runs callbacks until loop_quit(). */
void loop_run(struct loop *);
void loop_quit(struct loop *); /* any thread */

/* Watch w->fd for events; level triggered unless EPOLLET is among them.  Returns -errno
 * (EPERM: a regular file). */
int loop_watch(struct loop *, struct watch *, uint32_t events);
void loop_watch_change(struct loop *, struct watch *, uint32_t events);
/* Not called again, not even if ready.  Only the loop's own thread may free it then. */
void loop_unwatch(struct loop *, struct watch *);

/* One shot at deadline_ns of CLOCK_MONOTONIC; setting an active timer moves it. */
void loop_timer_set(struct loop *, struct timer *, uint64_t deadline_ns);
void loop_timer_cancel(struct loop *, struct timer *);

/*
 * Run w->run(w->arg) once on the loop's thread, in order of posting; work that is posted
 * again before it ran runs once.  Any thread.
 */
void loop_post(struct loop *, struct work *);
/* What was posted and has not run will not.  On the loop's thread, once nobody posts it. */
void loop_unpost(struct loop *, struct work *);

uint64_t loop_now_ns(void); /* CLOCK_MONOTONIC */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "bits.h"
#include "loop.h"

enum { EVENTS_PER_WAIT = 32 };

struct loop {
	int epoll_fd;
	pthread_mutex_t *lock; /* NULL: none */
	atomic_bool quit;
	bool waiting; /* under the lock: it sleeps until the first timer as it knew it */
	struct watch wake; /* eventfd: work was posted, or quit */
	struct list timers; /* by deadline */
	_Atomic(struct work *) posted; /* newest first */
	struct work *batch; /* taken from there, oldest first */
	struct epoll_event *ready; /* the batch under way, for loop_unwatch() */
	int nready;
};

uint64_t loop_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void loop_enter(struct loop *l)
{
	if (l->lock)
		pthread_mutex_lock(l->lock);
}

static void loop_leave(struct loop *l)
{
	if (l->lock)
		pthread_mutex_unlock(l->lock);
}

static void loop_wake(struct loop *l)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so the loop wakes anyway. */
	if (write(l->wake.fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

/* What was posted goes behind the batch, in order. */
static void take_posted(struct loop *l)
{
	struct work *w, *next, *oldest = NULL, **end = &l->batch;

	for (w = atomic_exchange(&l->posted, NULL); w; w = next) {
		next = w->next;
		w->next = oldest;
		oldest = w;
	}
	while (*end)
		end = &(*end)->next;
	*end = oldest;
}

static void run_posted(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct work *w;
	uint64_t count;

	(void)events;
	if (read(l->wake.fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	take_posted(l);
	while ((w = l->batch)) {
		l->batch = w->next;
		/* From here on it may be posted again, also by itself. */
		atomic_store(&w->queued, false);
		w->run(w->arg);
	}
}

int loop_new(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	list_init(&l->timers);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake = (struct watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				  .ready = run_posted,
				  .arg = l };
	if (l->epoll_fd < 0 || l->wake.fd < 0 || loop_watch(l, &l->wake, EPOLLIN)) {
		r = err_set(e, -errno, "cannot make an event loop: %s", strerror(errno));
		loop_free(l);
		return r;
	}
	*out = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->wake.fd >= 0)
		close(l->wake.fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l);
}

void loop_set_lock(struct loop *l, pthread_mutex_t *lock)
{
	l->lock = lock;
}

int loop_watch(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return -errno;
	w->active = true;
	return 0;
}

void loop_watch_change(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int r = epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);

	assert(!r);
	(void)r;
}

void loop_unwatch(struct loop *l, struct watch *w)
{
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	/* The loop may have been told of it and wait for the lock ... */
	w->active = false;
	/* ... or be in the middle of a batch, and w about to be freed. */
	for (int i = 0; i < l->nready; i++)
		if (l->ready[i].data.ptr == w)
			l->ready[i].data.ptr = NULL;
}

void loop_timer_set(struct loop *l, struct timer *t, uint64_t deadline_ns)
{
	struct timer *i;

	loop_timer_cancel(l, t);
	t->deadline_ns = deadline_ns;
	list_for_each (i, &l->timers, node)
		if (i->deadline_ns > deadline_ns)
			break;
	list_append(&i->node, &t->node);
	/* Another thread, under the lock, while the loop sleeps: it must look at its timers. */
	if (l->waiting && l->timers.next == &t->node)
		loop_wake(l);
}

void loop_timer_cancel(struct loop *l, struct timer *t)
{
	(void)l;
	if (t->node.next)
		list_remove(&t->node);
}

static void run_timers(struct loop *l)
{
	uint64_t now = loop_now_ns();

	while (!list_empty(&l->timers)) {
		struct timer *t = list_item(l->timers.next, struct timer, node);

		if (t->deadline_ns > now)
			break;
		list_remove(&t->node);
		t->expired(t->arg);
	}
}

static int wait_ms(struct loop *l)
{
	uint64_t now, deadline;

	if (list_empty(&l->timers))
		return -1;
	deadline = list_item(l->timers.next, struct timer, node)->deadline_ns;
	now = loop_now_ns();
	if (deadline <= now)
		return 0;
	return (int)MIN((deadline - now + 999999) / 1000000, UINT64_C(1000000));
}

void loop_run(struct loop *l)
{
	struct epoll_event ready[EVENTS_PER_WAIT];

	loop_enter(l);
	while (!atomic_exchange(&l->quit, false)) {
		int timeout_ms = wait_ms(l);

		l->waiting = true;
		loop_leave(l);
		int n = epoll_wait(l->epoll_fd, ready, EVENTS_PER_WAIT, timeout_ms);

		loop_enter(l);
		l->waiting = false;
		l->ready = ready;
		l->nready = MAX(n, 0);
		for (int i = 0; i < l->nready; i++) {
			struct watch *w = ready[i].data.ptr;

			if (w && w->active)
				w->ready(w->arg, ready[i].events);
		}
		l->nready = 0;
		run_timers(l);
	}
	loop_leave(l);
}

void loop_quit(struct loop *l)
{
	atomic_store(&l->quit, true);
	loop_wake(l);
}

void loop_post(struct loop *l, struct work *w)
{
	if (atomic_exchange(&w->queued, true))
		return;
	w->next = atomic_load(&l->posted);
	while (!atomic_compare_exchange_weak(&l->posted, &w->next, w))
		;
	loop_wake(l);
}

void loop_unpost(struct loop *l, struct work *w)
{
	struct work **i;

	if (!atomic_load(&w->queued))
		return;
	take_posted(l);
	for (i = &l->batch; *i && *i != w; i = &(*i)->next)
		;
	if (*i)
		*i = w->next;
	atomic_store(&w->queued, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "loop.h"
#include "page_sample.h"
#include "thread.h"
#include "vm.h"

enum { LOWEST_PRIORITY = 19 };

/* Of 2048 pages two looks take some 7 ms. */
#define PAUSE_NS UINT64_C(8000000000)
#define FRESH_NS UINT64_C(10000000000)

struct memory_watch {
	struct vm *vm;
	struct memory_writes writes;
	uint64_t began_ns, known_ns; /* 0: never */
	bool looks; /* the thread is there, and has all below but asks */
	pthread_t thread;
	int cancel_fd;
	struct page_sample *sample; /* NULL: none yet */
	struct memory_writes next;
	bool is_whole; /* next is */
	struct work done; /* posted to main */
	struct list asks;
};

static bool is_cancelled(const struct memory_watch *w, int ms)
{
	struct pollfd p = { .fd = w->cancel_fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

static void look_twice(struct memory_watch *w)
{
	if (w->sample && page_sample_is_stale(w->sample)) {
		page_sample_free(w->sample);
		w->sample = NULL;
	}
	if (!w->sample)
		w->sample = page_sample_new(w->vm->mem);
	if (!w->sample)
		return;
	page_sample_look(w->sample, PAGE_WINDOW_LONG);
	if (is_cancelled(w, (int)page_sample_short_ms(w->sample)))
		return;
	page_sample_look(w->sample, PAGE_WINDOW_SHORT);
	page_sample_find(w->sample, &w->next);
	w->is_whole = true;
}

static int lower_priority(void *arg)
{
	(void)arg;
	setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
	return 0;
}

static void *watch_main(void *arg)
{
	struct memory_watch *w = arg;

	look_twice(w);
	loop_post(w->vm->loop, &w->done);
	return NULL;
}

static void answer_all(struct memory_watch *w)
{
	while (!list_empty(&w->asks)) {
		struct memory_watch_ask *ask = list_item(w->asks.next, struct memory_watch_ask,
							 node);

		list_remove(&ask->node);
		ask->done(ask->arg);
	}
}

static void on_done(void *arg)
{
	struct memory_watch *w = arg;

	pthread_join(w->thread, NULL);
	w->looks = false;
	if (w->is_whole) {
		w->next.samples = w->writes.samples + 1;
		w->writes = w->next;
		w->known_ns = loop_now_ns();
	}
	answer_all(w);
}

static void begin(struct memory_watch *w)
{
	if (w->looks)
		return;
	w->began_ns = loop_now_ns();
	w->is_whole = false;
	w->looks = !thread_new_prepared(&w->thread, "_sample", SANDBOX_MAIN, 0, lower_priority,
					watch_main, w);
}

void memory_watch_want(struct memory_watch *w)
{
	if (!w->began_ns || loop_now_ns() - w->began_ns >= PAUSE_NS)
		begin(w);
}

void memory_watch_ask(struct memory_watch *w, struct memory_watch_ask *ask)
{
	const bool is_fresh = w->known_ns && loop_now_ns() - w->known_ns < FRESH_NS;

	if (!is_fresh)
		begin(w);
	if (w->looks && !is_fresh)
		list_append(&w->asks, &ask->node);
	else
		ask->done(ask->arg);
}

bool memory_watch_read(const struct memory_watch *w, struct memory_writes *out)
{
	*out = w->writes;
	return w->known_ns;
}

int memory_watch_new(struct memory_watch **out, struct vm *vm, struct err *e)
{
	struct memory_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	w->vm = vm;
	w->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->cancel_fd < 0) {
		free(w);
		return err_set(e, -errno, "out of open files");
	}
	w->done = (struct work){ .run = on_done, .arg = w };
	list_init(&w->asks);
	*out = w;
	return 0;
}

void memory_watch_free(struct memory_watch *w)
{
	if (!w)
		return;
	if (w->looks) {
		eventfd_write(w->cancel_fd, 1);
		pthread_join(w->thread, NULL);
		loop_unpost(w->vm->loop, &w->done);
	}
	answer_all(w);
	close(w->cancel_fd);
	page_sample_free(w->sample);
	free(w);
}

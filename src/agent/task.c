/* SPDX-License-Identifier: Apache-2.0 */
#include "task.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "thread.h"

struct task {
	struct agent *agent;
	void (*run)(void *arg);
	void *arg;
};

static void *task_run(void *arg)
{
	struct task task = *(struct task *)arg;

	free(arg);
	task.run(task.arg);
	pthread_mutex_lock(&task.agent->lock);
	task.agent->tasks.n--;
	pthread_cond_signal(&task.agent->tasks.over);
	pthread_mutex_unlock(&task.agent->lock);
	return NULL;
}

int task_start(struct agent *a, const char *name, void (*run)(void *arg), void *arg, struct err *e)
{
	struct task *task = calloc(1, sizeof(*task));
	pthread_t thread;
	int r = task ? 0 : -ENOMEM;

	if (!r) {
		*task = (struct task){ .agent = a, .run = run, .arg = arg };
		r = thread_new(&thread, name, SANDBOX_MAIN, 0, task_run, task);
	}
	if (r) {
		free(task);
		return err_set(e, r, "a thread cannot be started: %s", strerror(-r));
	}
	pthread_detach(thread);
	a->tasks.n++;
	return 0;
}

bool tasks_end_soon(const struct agent *a)
{
	struct pollfd fd = { .fd = a->tasks.end_fd, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

void tasks_sleep(const struct agent *a, unsigned ms)
{
	struct pollfd fd = { .fd = a->tasks.end_fd, .events = POLLIN };

	poll(&fd, 1, (int)ms);
}

void tasks_stop(struct agent *a)
{
	eventfd_write(a->tasks.end_fd, 1);
}

void tasks_end(struct agent *a)
{
	pthread_mutex_lock(&a->lock);
	while (a->tasks.n)
		pthread_cond_wait(&a->tasks.over, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

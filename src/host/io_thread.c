/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "io_thread.h"
#include "thread.h"

enum {
	SINGLES_MAX = 4, /* in a row: patience brings no batches */
	PROBE_SINGLES = 64, /* who is never patient sees no batches */
};

/* The rest is the thread's own. */
struct io_thread {
	pthread_t thread;
	struct loop *loop;
	struct disk_ring *ring;
	char name[16];
	bool patient;
	unsigned singles; /* in a row */
};

static int io_thread_begin(void *arg)
{
	struct io_thread *t = arg;
	struct err ignored;
	int r = loop_new(&t->loop, &ignored);

	if (r)
		return r;
	t->ring = disk_ring_new(t->loop);
	return t->ring ? 0 : -ENOMEM;
}

static void *io_thread_main(void *arg)
{
	struct io_thread *t = arg;

	loop_run(t->loop);
	return NULL;
}

/* Whoever gave the process another policy than the usual one means that. */
static void set_patient(struct io_thread *t, bool patient)
{
	const struct sched_param param = { 0 };

	t->patient = patient;
	t->singles = 0;
	if (sched_getscheduler(0) == (patient ? SCHED_OTHER : SCHED_BATCH))
		sched_setscheduler(0, patient ? SCHED_BATCH : SCHED_OTHER, &param);
}

void io_thread_found(struct io_thread *t, unsigned requests)
{
	if (!requests)
		return;
	t->singles = requests > 1 ? 0 : t->singles + 1;
	if (t->patient ? t->singles == SINGLES_MAX : requests > 1 || t->singles == PROBE_SINGLES)
		set_patient(t, !t->patient);
}

int io_thread_new(struct io_thread **out, unsigned index, struct err *e)
{
	struct io_thread *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	snprintf(t->name, sizeof(t->name), "_io%u", index);
	r = thread_new_prepared(&t->thread, t->name, SANDBOX_IO, 0, io_thread_begin, io_thread_main,
				t);
	if (r) {
		err_set(e, r, "cannot start an I/O thread: %s", strerror(-r));
		disk_ring_free(t->ring);
		loop_free(t->loop);
		free(t);
		return r;
	}
	*out = t;
	return 0;
}

void io_thread_free(struct io_thread *t)
{
	if (!t)
		return;
	loop_quit(t->loop);
	pthread_join(t->thread, NULL);
	disk_ring_free(t->ring);
	loop_free(t->loop);
	free(t);
}

struct loop *io_thread_loop(struct io_thread *t)
{
	return t->loop;
}

struct disk_ring *io_thread_ring(struct io_thread *t)
{
	return t->ring;
}

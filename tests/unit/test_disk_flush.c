/* SPDX-License-Identifier: Apache-2.0 */
/* Flushes of two queues, with threads of their own as it were, of a host that answers when told. */
#include <errno.h>

#include "check_main.h"
#include "disk_queue.h"

enum { QUEUES = 2 };

static struct disk disk;
static struct loop *loop[QUEUES];
static struct disk_queue queue[QUEUES];
static struct disk_request *at_host;
static unsigned submitted, batches;

static void fake_submit(struct disk_queue *q, struct disk_request *req)
{
	ck_assert_ptr_null(at_host);
	req->queue = q;
	at_host = req;
	submitted++;
}

static void fake_commit(struct disk_queue *q)
{
	(void)q;
}

static void batch_done(void *arg)
{
	(void)arg;
	batches++;
}

static const struct disk_engine fake = { .submit = fake_submit, .commit = fake_commit };

static void setup(void)
{
	struct err e;

	disk = (struct disk){ .config.path = "d", .direct_fd = -1, .block_bytes = 512 };
	disk_flush_init(&disk);
	atomic_store(&disk.cached, true);
	for (unsigned i = 0; i < QUEUES; i++) {
		ck_assert_int_eq(loop_new(&loop[i], &e), 0);
		queue[i] = (struct disk_queue){
			.engine = &fake, .disk = &disk, .loop = loop[i], .batch_done = batch_done
		};
		disk_flush_attach(&queue[i]);
	}
	submitted = batches = 0;
	at_host = NULL;
}

static void teardown(void)
{
	ck_assert_ptr_null(at_host);
	for (unsigned i = 0; i < QUEUES; i++)
		loop_free(loop[i]);
}

/* As both engines do. */
static void host_answers(int result)
{
	struct disk_request *req = at_host;
	struct disk_step step;

	disk_step_next(&disk, req, &step);
	ck_assert_int_eq(step.kind, STEP_FLUSH);
	ck_assert(disk_step_done(&disk, req, result));
	at_host = NULL;
	req->done(req, req->result);
}

static void quit(void *arg)
{
	loop_quit(arg);
}

static void run(unsigned i)
{
	struct work last = { .run = quit, .arg = loop[i] };

	loop_post(loop[i], &last);
	loop_run(loop[i]);
}

struct asked {
	struct disk_request request;
	int told; /* 1: not yet */
	struct asked *then; /* is asked for by its done() */
};

static void ask(unsigned i, struct asked *a);

static void done(struct disk_request *req, int result)
{
	struct asked *a = container_of(req, struct asked, request);

	ck_assert_int_eq(a->told, 1);
	a->told = result;
	if (a->then)
		ask((unsigned)(req->queue - queue), a->then);
}

static void ask(unsigned i, struct asked *a)
{
	a->request = (struct disk_request){ .op = DISK_FLUSH, .done = done };
	a->told = 1;
	disk_submit(&queue[i], &a->request);
}

/* Who asks while one is under way shares the next, each told on a thread of its own. */
START_TEST(one_for_all_that_wait)
{
	struct asked first, second, third, fourth;

	first.then = second.then = third.then = fourth.then = NULL;
	ask(0, &first);
	ask(0, &second);
	ask(1, &third);
	ask(1, &fourth);
	ck_assert_uint_eq(submitted, 1);
	host_answers(0);
	ck_assert_int_eq(first.told, 0);
	ck_assert_int_eq(second.told, 1);
	ck_assert_uint_eq(submitted, 2);
	ck_assert_ptr_eq(at_host->queue, &queue[0]);
	host_answers(0);
	ck_assert_int_eq(second.told, 0);
	ck_assert_int_eq(third.told, 1);
	run(1);
	ck_assert_int_eq(third.told | fourth.told, 0);
	ck_assert_uint_eq(batches, 1);
	ck_assert_uint_eq(submitted, 2);
}
END_TEST

/* It is made by the queue of the first that waits, also when that is another. */
START_TEST(the_turn_goes_to_another_queue)
{
	struct asked first, second, third;

	second.then = third.then = NULL;
	first.then = &third;
	ask(0, &first);
	ask(1, &second);
	host_answers(0);
	ck_assert_int_eq(first.told, 0);
	ck_assert_uint_eq(submitted, 1);
	run(1);
	ck_assert_uint_eq(submitted, 2);
	ck_assert_ptr_eq(at_host->queue, &queue[1]);
	host_answers(0);
	ck_assert_int_eq(second.told, 0);
	/* Asked for before the turn was taken, it was served with it. */
	run(0);
	ck_assert_int_eq(third.told, 0);
	ck_assert_uint_eq(submitted, 2);
	ask(0, &first);
	ck_assert_uint_eq(submitted, 3);
	first.then = NULL;
	host_answers(0);
}
END_TEST

/* Nobody is promised anything by a flush beside one that fails. */
START_TEST(none_succeeds_after_one_that_failed)
{
	struct asked first, second, third, fourth;

	first.then = second.then = third.then = fourth.then = NULL;
	ask(0, &first);
	ask(1, &second);
	ask(0, &third);
	host_answers(-EIO);
	ck_assert_int_eq(first.told, -EIO);
	run(1);
	host_answers(0);
	ck_assert_int_eq(second.told, -ENOTRECOVERABLE);
	run(0);
	ck_assert_int_eq(third.told, -ENOTRECOVERABLE);
	ask(0, &fourth);
	host_answers(0);
	ck_assert_int_eq(fourth.told, -ENOTRECOVERABLE);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk_flush");
	TCase *t = tcase_create("disk_flush");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one_for_all_that_wait);
	tcase_add_test(t, the_turn_goes_to_another_queue);
	tcase_add_test(t, none_succeeds_after_one_that_failed);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)

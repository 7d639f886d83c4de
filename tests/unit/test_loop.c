/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "io_thread.h"
#include "loop.h"

struct log {
	struct loop *loop;
	char text[16];
	unsigned n;
};

struct entry {
	struct log *log;
	char c;
};

static void note(void *arg)
{
	struct entry *x = arg;

	x->log->text[x->log->n++] = x->c;
	if (x->c == 'q')
		loop_quit(x->log->loop);
}

static void note_ready(void *arg, uint32_t events)
{
	(void)events;
	note(arg);
}

START_TEST(work_runs_in_order_and_once)
{
	struct log log = { 0 };
	struct entry a = { &log, 'a' }, b = { &log, 'b' }, q = { &log, 'q' };
	struct work wa = { .run = note, .arg = &a }, wb = { .run = note, .arg = &b },
		    wq = { .run = note, .arg = &q };
	struct err e;

	ck_assert_int_eq(loop_new(&log.loop, &e), 0);
	loop_post(log.loop, &wb);
	loop_post(log.loop, &wa);
	loop_post(log.loop, &wb);
	loop_post(log.loop, &wq);
	loop_run(log.loop);
	ck_assert_str_eq(log.text, "baq");
	loop_post(log.loop, &wa);
	loop_post(log.loop, &wq);
	loop_run(log.loop);
	ck_assert_str_eq(log.text, "baqaq");
	loop_free(log.loop);
}
END_TEST

struct retraction {
	struct log *log;
	struct work *earlier, *later;
};

static void retract(void *arg)
{
	struct retraction *r = arg;

	loop_unpost(r->log->loop, r->earlier);
	loop_unpost(r->log->loop, r->later);
}

START_TEST(work_is_taken_back)
{
	struct log log = { 0 };
	struct entry a = { &log, 'a' }, b = { &log, 'b' }, c = { &log, 'c' }, q = { &log, 'q' };
	struct work wa = { .run = note, .arg = &a }, wb = { .run = note, .arg = &b },
		    wc = { .run = note, .arg = &c }, wq = { .run = note, .arg = &q };
	struct retraction r = { &log, &wa, &wc };
	struct work wr = { .run = retract, .arg = &r };
	struct err e;

	ck_assert_int_eq(loop_new(&log.loop, &e), 0);
	loop_post(log.loop, &wa);
	loop_post(log.loop, &wb);
	loop_unpost(log.loop, &wa); /* before the loop runs */
	loop_post(log.loop, &wr);
	loop_post(log.loop, &wc); /* in the batch that the retraction is in */
	loop_post(log.loop, &wa);
	loop_unpost(log.loop, &wa);
	loop_unpost(log.loop, &wa);
	loop_post(log.loop, &wq);
	loop_run(log.loop);
	ck_assert_str_eq(log.text, "bq");
	loop_post(log.loop, &wc);
	loop_post(log.loop, &wa);
	loop_post(log.loop, &wq);
	loop_run(log.loop);
	ck_assert_str_eq(log.text, "bqcaq");
	loop_free(log.loop);
}
END_TEST

START_TEST(timers_expire_by_deadline)
{
	struct log log = { 0 };
	struct entry a = { &log, 'a' }, b = { &log, 'b' }, c = { &log, 'c' }, q = { &log, 'q' };
	struct timer ta = { .expired = note, .arg = &a }, tb = { .expired = note, .arg = &b },
		     tc = { .expired = note, .arg = &c }, tq = { .expired = note, .arg = &q };
	struct err e;

	ck_assert_int_eq(loop_new(&log.loop, &e), 0);
	loop_timer_set(log.loop, &tq, loop_now_ns() + 3000000);
	loop_timer_set(log.loop, &tb, loop_now_ns() + 2000000);
	loop_timer_set(log.loop, &ta, loop_now_ns() + 60000000000);
	loop_timer_set(log.loop, &tc, 1);
	loop_timer_set(log.loop, &ta, loop_now_ns() + 1000000);
	loop_timer_cancel(log.loop, &tc);
	loop_timer_cancel(log.loop, &tc);
	loop_run(log.loop);
	ck_assert_str_eq(log.text, "abq");
	loop_free(log.loop);
}
END_TEST

struct pair {
	struct loop *loop;
	struct watch watch[2];
	unsigned calls;
};

/* Both are ready in one batch; whichever comes first takes the other away. */
static void unwatch_other(void *arg, uint32_t events)
{
	struct pair *p = arg;

	(void)events;
	p->calls++;
	loop_unwatch(p->loop, &p->watch[0]);
	loop_unwatch(p->loop, &p->watch[1]);
	loop_quit(p->loop);
}

START_TEST(unwatched_is_not_called)
{
	struct pair p = { 0 };
	int fd[2][2];
	struct err e;

	ck_assert_int_eq(loop_new(&p.loop, &e), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pipe(fd[i]), 0);
		ck_assert_int_eq(write(fd[i][1], "x", 1), 1);
		p.watch[i] = (struct watch){ .fd = fd[i][0], .ready = unwatch_other, .arg = &p };
		ck_assert_int_eq(loop_watch(p.loop, &p.watch[i], EPOLLIN), 0);
	}
	loop_run(p.loop);
	ck_assert_uint_eq(p.calls, 1);
	loop_free(p.loop);
}
END_TEST

START_TEST(watch_under_the_lock)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct log log = { 0 };
	struct entry q = { &log, 'q' };
	struct watch w = { .ready = note_ready, .arg = &q };
	struct err e;
	int fd[2];

	ck_assert_int_eq(loop_new(&log.loop, &e), 0);
	loop_set_lock(log.loop, &lock);
	ck_assert_int_eq(pipe(fd), 0);
	w.fd = fd[0];
	ck_assert_int_eq(loop_watch(log.loop, &w, EPOLLIN), 0);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	loop_run(log.loop);
	ck_assert_str_eq(log.text, "q");
	ck_assert_int_eq(pthread_mutex_trylock(&lock), 0);
	pthread_mutex_unlock(&lock);
	loop_unwatch(log.loop, &w);
	loop_free(log.loop);
}
END_TEST

struct late {
	struct log log;
	pthread_mutex_t lock;
	struct timer far, near;
	struct entry a, q;
};

static void *set_near(void *arg)
{
	struct late *x = arg;

	pthread_mutex_lock(&x->lock);
	loop_timer_set(x->log.loop, &x->near, 1);
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

static void start_setter(void *arg)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, set_near, arg), 0);
	pthread_detach(t);
}

/* A vCPU sets a timer while main sleeps; the far one is for a failure only. */
START_TEST(timer_set_by_another_thread_wakes)
{
	struct late x = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct work start = { .run = start_setter, .arg = &x };
	struct err e;

	x.a = (struct entry){ &x.log, 'a' };
	x.q = (struct entry){ &x.log, 'q' };
	x.far = (struct timer){ .expired = note, .arg = &x.a };
	x.near = (struct timer){ .expired = note, .arg = &x.q };
	ck_assert_int_eq(loop_new(&x.log.loop, &e), 0);
	loop_set_lock(x.log.loop, &x.lock);
	loop_timer_set(x.log.loop, &x.far, loop_now_ns() + 60000000000);
	loop_post(x.log.loop, &start);
	loop_run(x.log.loop);
	ck_assert_str_eq(x.log.text, "q");
	loop_timer_cancel(x.log.loop, &x.far);
	loop_free(x.log.loop);
}
END_TEST

struct ping {
	struct loop *main, *io;
	struct work to_io, to_main;
	unsigned rounds;
};

static void ping_io(void *arg)
{
	struct ping *p = arg;

	loop_post(p->main, &p->to_main);
}

static void ping_main(void *arg)
{
	struct ping *p = arg;

	if (++p->rounds == 1000)
		loop_quit(p->main);
	else
		loop_post(p->io, &p->to_io);
}

START_TEST(posts_between_threads)
{
	struct ping p = { .to_io = { .run = ping_io, .arg = &p },
			  .to_main = { .run = ping_main, .arg = &p } };
	struct io_thread *t;
	struct err e;

	ck_assert_int_eq(loop_new(&p.main, &e), 0);
	ck_assert_int_eq(io_thread_new(&t, 0, &e), 0);
	p.io = io_thread_loop(t);
	loop_post(p.io, &p.to_io);
	loop_run(p.main);
	ck_assert_uint_eq(p.rounds, 1000);
	io_thread_free(t);
	loop_free(p.main);
}
END_TEST

static Suite *loop_suite(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_add_test(t, work_runs_in_order_and_once);
	tcase_add_test(t, work_is_taken_back);
	tcase_add_test(t, timers_expire_by_deadline);
	tcase_add_test(t, unwatched_is_not_called);
	tcase_add_test(t, watch_under_the_lock);
	tcase_add_test(t, posts_between_threads);
	tcase_add_test(t, timer_set_by_another_thread_wakes);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(loop_suite)

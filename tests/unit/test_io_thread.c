/* SPDX-License-Identifier: Apache-2.0 */
/* When an I/O thread is patient: seen by its scheduling policy. */
#include <check.h>
#include <sched.h>
#include <semaphore.h>

#include "check_main.h"
#include "io_thread.h"

enum { SINGLES_END = 4, SINGLES_PROBE = 64 }; /* in a row */

static struct io_thread *thread;

/* Runs on the thread: so many kicks, each of which found so many requests. */
struct kicks {
	struct work work;
	sem_t done;
	unsigned n, requests;
	int policy; /* afterwards */
};

static void run_kicks(void *arg)
{
	struct kicks *k = arg;

	for (unsigned i = 0; i < k->n; i++)
		io_thread_found(thread, k->requests);
	k->policy = sched_getscheduler(0);
	sem_post(&k->done);
}

static int policy_after(unsigned n, unsigned requests)
{
	struct kicks k = { .work = { .run = run_kicks, .arg = &k }, .n = n, .requests = requests };

	sem_init(&k.done, 0, 0);
	loop_post(io_thread_loop(thread), &k.work);
	sem_wait(&k.done);
	sem_destroy(&k.done);
	return k.policy;
}

static void run_idle_policy(void *arg)
{
	const struct sched_param param = { 0 };
	struct kicks *k = arg;

	k->policy = sched_setscheduler(0, SCHED_IDLE, &param);
	sem_post(&k->done);
}

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(io_thread_new(&thread, 0, &e), 0);
	ck_assert_int_eq(policy_after(0, 0), SCHED_OTHER);
}

static void teardown(void)
{
	io_thread_free(thread);
}

START_TEST(test_batches_make_it_patient)
{
	ck_assert_int_eq(policy_after(1, 1), SCHED_OTHER);
	ck_assert_int_eq(policy_after(1, 2), SCHED_BATCH);
	ck_assert_int_eq(policy_after(100, 3), SCHED_BATCH);
}
END_TEST

START_TEST(test_singles_end_that)
{
	policy_after(1, 2);
	ck_assert_int_eq(policy_after(SINGLES_END - 1, 1), SCHED_BATCH);
	ck_assert_int_eq(policy_after(1, 2), SCHED_BATCH);
	ck_assert_int_eq(policy_after(SINGLES_END - 1, 1), SCHED_BATCH);
	ck_assert_int_eq(policy_after(1, 1), SCHED_OTHER);
}
END_TEST

START_TEST(test_it_tries_again)
{
	ck_assert_int_eq(policy_after(SINGLES_PROBE - 1, 1), SCHED_OTHER);
	ck_assert_int_eq(policy_after(1, 1), SCHED_BATCH);
	ck_assert_int_eq(policy_after(SINGLES_END, 1), SCHED_OTHER);
	ck_assert_int_eq(policy_after(SINGLES_PROBE - 1, 1), SCHED_OTHER);
	ck_assert_int_eq(policy_after(1, 1), SCHED_BATCH);
}
END_TEST

START_TEST(test_kicks_without_requests_do_not_count)
{
	ck_assert_int_eq(policy_after(10 * SINGLES_PROBE, 0), SCHED_OTHER);
	policy_after(1, 2);
	ck_assert_int_eq(policy_after(10 * SINGLES_PROBE, 0), SCHED_BATCH);
}
END_TEST

START_TEST(test_another_policy_stays)
{
	struct kicks k = { .work = { .run = run_idle_policy, .arg = &k } };

	sem_init(&k.done, 0, 0);
	loop_post(io_thread_loop(thread), &k.work);
	sem_wait(&k.done);
	ck_assert_int_eq(k.policy, 0);
	ck_assert_int_eq(policy_after(1, 2), SCHED_IDLE);
	ck_assert_int_eq(policy_after(SINGLES_END, 1), SCHED_IDLE);
}
END_TEST

static Suite *io_thread_suite(void)
{
	Suite *s = suite_create("io_thread");
	TCase *t = tcase_create("patience");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_batches_make_it_patient);
	tcase_add_test(t, test_singles_end_that);
	tcase_add_test(t, test_it_tries_again);
	tcase_add_test(t, test_kicks_without_requests_do_not_count);
	tcase_add_test(t, test_another_policy_stays);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(io_thread_suite)

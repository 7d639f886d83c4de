/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu_throttle.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "log.h"
#include "loop.h"

/* glibc 2.36 has no name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define NS_PER_S UINT64_C(1000000000)
/* With what wakes late a guest's heartbeat stays below 5 ms. */
#define SLEEP_MAX_NS UINT64_C(3000000)
#define SLICE_MAX_NS UINT64_C(2000000)
/* A signal that comes just before KVM_RUN is lost: the next one is not far. */
#define AGAIN_NS UINT64_C(1000000)

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* 0 ns: off. */
static void arm(struct vcpu_throttle *t, uint64_t ns)
{
	struct itimerspec when = { .it_value = timespec_of(ns),
				   .it_interval = timespec_of(ns ? AGAIN_NS : 0) };

	timer_settime(t->timer, 0, &when, NULL);
}

static void begin(struct vcpu_throttle *t, int signal)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal };

	event.sigev_notify_thread_id = gettid();
	if (!t->has_timer && timer_create(CLOCK_MONOTONIC, &event, &t->timer)) {
		/* It sleeps then only when the guest leaves by itself. */
		if (!t->active)
			log_warn("no timer to slow a vCPU down: %s", strerror(errno));
	} else {
		t->has_timer = true;
	}
	t->active = true;
	t->slice_began_ns = thread_ns();
}

/* The signal is blocked but while it sleeps: none is lost between the look at stop and that. */
static uint64_t doze(const struct vcpu_throttle *t, uint64_t ns, int signal,
		     const atomic_bool *stop)
{
	uint64_t began_ns = loop_now_ns(), until_ns = began_ns + ns, now_ns = began_ns;
	sigset_t blocked, usual;

	sigemptyset(&blocked);
	sigaddset(&blocked, signal);
	pthread_sigmask(SIG_BLOCK, &blocked, &usual);
	while (now_ns < until_ns && !atomic_load(stop) && atomic_load(&t->percent)) {
		struct timespec left = timespec_of(until_ns - now_ns);

		ppoll(NULL, 0, &left, &usual);
		now_ns = loop_now_ns();
	}
	pthread_sigmask(SIG_SETMASK, &usual, NULL);
	return now_ns - began_ns;
}

uint64_t vcpu_throttle_rest(struct vcpu_throttle *t, int signal, const atomic_bool *stop)
{
	uint64_t percent = atomic_load(&t->percent), slice_ns, ran_ns, slept_ns = 0;

	if (!percent) {
		if (t->has_timer)
			arm(t, 0);
		t->active = false;
		return 0;
	}
	if (!t->active)
		begin(t, signal);
	slice_ns = MIN(SLICE_MAX_NS, SLEEP_MAX_NS * (100 - percent) / percent);
	ran_ns = thread_ns() - t->slice_began_ns;
	if (ran_ns >= slice_ns) {
		slept_ns = doze(t, MIN(SLEEP_MAX_NS, ran_ns * percent / (100 - percent)), signal,
				stop);
		t->slice_began_ns = thread_ns();
		ran_ns = 0;
	}
	if (t->has_timer)
		arm(t, slice_ns - ran_ns);
	return slept_ns;
}

void vcpu_throttle_end(struct vcpu_throttle *t)
{
	if (t->has_timer)
		timer_delete(t->timer);
}

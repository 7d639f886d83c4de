/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu_time.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "loop.h"

/* glibc 2.36 has no name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define NS_PER_S UINT64_C(1000000000)

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

uint64_t vcpu_time_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int vcpu_timer_new(timer_t *timer, clockid_t clock, int signal)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal };

	event.sigev_notify_thread_id = gettid();
	return timer_create(clock, &event, timer) ? -errno : 0;
}

void vcpu_timer_set(timer_t timer, uint64_t first_ns, uint64_t again_ns)
{
	struct itimerspec when = { .it_value = timespec_of(first_ns),
				   .it_interval = timespec_of(again_ns) };

	timer_settime(timer, 0, &when, NULL);
}

/* The signal is blocked but while it sleeps: none is lost between the look at stop and that. */
uint64_t vcpu_doze(uint64_t ns, int signal, const atomic_bool *stop, const atomic_uint *watched,
		   unsigned seen)
{
	uint64_t began_ns = loop_now_ns(), until_ns = began_ns + ns, now_ns = began_ns;
	sigset_t blocked, usual;

	sigemptyset(&blocked);
	sigaddset(&blocked, signal);
	pthread_sigmask(SIG_BLOCK, &blocked, &usual);
	while (now_ns < until_ns && !atomic_load(stop) && atomic_load(watched) == seen) {
		struct timespec left = timespec_of(until_ns - now_ns);

		ppoll(NULL, 0, &left, &usual);
		now_ns = loop_now_ns();
	}
	pthread_sigmask(SIG_SETMASK, &usual, NULL);
	return now_ns - began_ns;
}

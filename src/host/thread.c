/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>

#include "bits.h"
#include "thread.h"

/* On the stack of who makes the thread, until it has begun. */
struct beginning {
	const char *name;
	enum sandbox_role role;
	void *(*run)(void *arg);
	void *arg;
	int result;
	sem_t begun;
};

static void *begin(void *arg)
{
	struct beginning *b = arg;
	void *(*run)(void *) = b->run;
	void *run_arg = b->arg;
	int r;

	prctl(PR_SET_NAME, b->name);
	r = b->result = sandbox_enter(b->role);
	sem_post(&b->begun); /* and b is gone */
	return r ? NULL : run(run_arg);
}

int thread_new(pthread_t *thread, const char *name, enum sandbox_role role, int own_signal,
	       void *(*run)(void *arg), void *arg)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	struct beginning b = { .name = name, .role = role, .run = run, .arg = arg };
	sigset_t blocked, old;
	int r;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&blocked, faults[i]);
	if (own_signal)
		sigdelset(&blocked, own_signal);
	sem_init(&b.begun, 0, 0);
	/* A thread inherits the mask. */
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	r = -pthread_create(thread, NULL, begin, &b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	while (!r && sem_wait(&b.begun))
		; /* a signal came */
	if (!r && b.result) {
		pthread_join(*thread, NULL);
		r = b.result;
	}
	sem_destroy(&b.begun);
	return r;
}

/* More than a set holds is enough for everything. */
unsigned thread_processors(void)
{
	cpu_set_t allowed;

	return sched_getaffinity(0, sizeof(allowed), &allowed) ? CPU_SETSIZE
							       : (unsigned)CPU_COUNT(&allowed);
}

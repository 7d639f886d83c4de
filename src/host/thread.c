/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <signal.h>

#include "bits.h"
#include "thread.h"

int thread_new(pthread_t *thread, const char *name, int own_signal, void *(*run)(void *arg),
	       void *arg)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	sigset_t blocked, old;
	int r;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&blocked, faults[i]);
	if (own_signal)
		sigdelset(&blocked, own_signal);
	/* A thread inherits the mask. */
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	r = -pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!r)
		pthread_setname_np(*thread, name);
	return r;
}

/* More than a set holds is enough for everything. */
unsigned thread_processors(void)
{
	cpu_set_t allowed;

	return sched_getaffinity(0, sizeof(allowed), &allowed) ? CPU_SETSIZE
							       : (unsigned)CPU_COUNT(&allowed);
}

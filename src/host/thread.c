/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bits.h"
#include "broker.h"
#include "thread.h"

/* On the stack of who makes the thread, until it has begun. */
struct beginning {
	pthread_t *thread;
	const char *name;
	enum sandbox_role role;
	int own_signal;
	int (*prepare)(void *arg); /* NULL: nothing */
	void *(*run)(void *arg);
	void *arg;
	int result;
	sem_t begun;
	struct beginning *next;
};

/* Makes the threads of a process in a sandbox, as what a thread may do its children may, too, and
 * no more: it keeps to no role's list, and does nothing else. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct beginning *first;
	bool works; /* written while there is one thread */
} spawner = { .lock = PTHREAD_MUTEX_INITIALIZER, .wanted = PTHREAD_COND_INITIALIZER };

static void *begin(void *arg)
{
	struct beginning *b = arg;
	void *(*run)(void *) = b->run;
	void *run_arg = b->arg;
	int r;

	prctl(PR_SET_NAME, b->name);
	r = b->prepare ? b->prepare(run_arg) : 0;
	b->result = r = r ? r : sandbox_enter(b->role);
	if (r)
		pthread_detach(pthread_self()); /* nobody knows of it */
	sem_post(&b->begun); /* and b is gone */
	return r ? NULL : run(run_arg);
}

static int make(struct beginning *b)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	sigset_t blocked, old;
	int r;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&blocked, faults[i]);
	if (b->own_signal)
		sigdelset(&blocked, b->own_signal);
	/* A thread inherits the mask. */
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	r = -pthread_create(b->thread, NULL, begin, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

static void *spawn(void *arg)
{
	pthread_mutex_lock(&spawner.lock);
	while (!arg) {
		struct beginning *b = spawner.first;
		int r;

		if (!b) {
			pthread_cond_wait(&spawner.wanted, &spawner.lock);
			continue;
		}
		spawner.first = b->next;
		r = make(b); /* and if it has begun, b is gone */
		if (r) {
			b->result = r;
			sem_post(&b->begun);
		}
	}
	return arg; /* never: it gets none */
}

static void ask_spawner(struct beginning *b)
{
	pthread_mutex_lock(&spawner.lock);
	b->next = spawner.first;
	spawner.first = b;
	pthread_cond_signal(&spawner.wanted);
	pthread_mutex_unlock(&spawner.lock);
}

int thread_new_prepared(pthread_t *thread, const char *name, enum sandbox_role role, int own_signal,
			int (*prepare)(void *arg), void *(*run)(void *arg), void *arg)
{
	struct beginning b = { .thread = thread,
			       .name = name,
			       .role = role,
			       .own_signal = own_signal,
			       .prepare = prepare,
			       .run = run,
			       .arg = arg };
	int r = 0;

	sem_init(&b.begun, 0, 0);
	if (spawner.works)
		ask_spawner(&b);
	else
		r = make(&b);
	while (!r && sem_wait(&b.begun))
		; /* a signal came */
	sem_destroy(&b.begun);
	return r ? r : b.result;
}

int thread_spawner_new(void)
{
	pthread_t thread;
	int r = thread_new(&thread, "spawner", SANDBOX_SPAWNER, 0, spawn, NULL);

	if (!r)
		pthread_detach(thread);
	spawner.works = !r;
	return r;
}

int thread_new(pthread_t *thread, const char *name, enum sandbox_role role, int own_signal,
	       void *(*run)(void *arg), void *arg)
{
	return thread_new_prepared(thread, name, role, own_signal, NULL, run, arg);
}

/* {"pid": 1}: {"processors": 2}.  More than a set holds is enough for everything. */
static int serve_processors(const json_t *ask, const int *fd, unsigned nfds,
			    struct broker_answer *out, struct err *e)
{
	pid_t pid = (pid_t)json_integer_value(json_object_get(ask, "pid"));
	cpu_set_t allowed;

	(void)fd;
	(void)nfds;
	(void)e;
	out->json = json_pack("{s:i}", "processors",
			      sched_getaffinity(pid, sizeof(allowed), &allowed)
				      ? CPU_SETSIZE
				      : CPU_COUNT(&allowed));
	return 0;
}

const struct broker_service thread_service = { "thread", false, serve_processors };

unsigned thread_processors(void)
{
	struct broker_answer a;
	struct err ignored;
	unsigned n;

	if (broker_ask(&thread_service, json_pack("{s:i}", "pid", (int)getpid()), NULL, 0, &a,
		       &ignored))
		return 1;
	n = (unsigned)json_integer_value(json_object_get(a.json, "processors"));
	broker_answer_free(&a);
	return n;
}

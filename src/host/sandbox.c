/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "gnutls_library.h"
#include "sandbox_internal.h"
#include "thread.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
enum { SANITIZED = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) };
#else
enum { SANITIZED = 0 };
#endif

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

/* Of the process; written while main is its only thread but the loader. */
static struct {
	enum sandbox_mode mode;
	bool is_begun; /* and not finished */
	pthread_t loader;
} own = { .mode = SANDBOX_OFF };

/* Code is loaded by a thread that may still make memory executable, as that takes as long as all
 * the rest. */
static void *load_libraries(void *arg)
{
	struct err ignored; /* who needs TLS says so */

	gnutls_load(&ignored);
	return arg;
}

/* What the C library asks once it asks now. */
static void prepare_library(void)
{
	/* With several, malloc() opens files of the kernel's at times: how many processors there
	 * are, and whether memory may be promised twice. */
	mallopt(M_ARENA_MAX, 1);
	tzset(); /* gmtime_r() does, and then never again */
	json_object_seed(0); /* the first json_object() does */
}

static int confine_in(const struct sandbox_config *c, bool namespaces, struct err *e)
{
	if (c->mode == SANDBOX_ON)
		return confine(namespaces, &c->user, e);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) /* for the filters */
		return err_set(e, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	return 0;
}

/* The thread that loads has the files still, while this one gives them away. */
static int confine_and_load(const struct sandbox_config *c, struct err *e)
{
	bool namespaces = false;
	int r = c->mode == SANDBOX_ON ? confine_user(&namespaces, e) : 0;

	if (r)
		return r;
	r = thread_new(&own.loader, "loader", SANDBOX_SPAWNER, 0, load_libraries, NULL);
	if (r)
		return err_set(e, r, "libraries cannot be loaded: %s", strerror(-r));
	return confine_in(c, namespaces, e);
}

/* Which calls of the process are made, shown to the broker, or trapped, whichever thread makes
 * them: all lists together.  All that is possible from here on is in sandbox_calls.c. */
static int hold_process(struct err *e)
{
	struct sock_fprog base = { 0 };
	const unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	int listener, r = sandbox_filter_new(&base, SANDBOX_SPAWNER, own.mode == SANDBOX_LOG);

	if (r)
		return err_set(e, r, "no memory for a filter of system calls");
	/* A call that the broker is at is not begun again for a signal. */
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &base);
	if (listener < 0 && errno == EINVAL)
		listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &base);
	r = listener < 0 ? -errno : 0;
	sandbox_filter_free(&base);
	if (r)
		return err_set(e, r,
			       "system calls cannot be filtered: %s; --sandbox off runs "
			       "the VM without",
			       strerror(-r));
	r = broker_attach(listener, e);
	close(listener);
	return r;
}

int sandbox_begin(const struct sandbox_config *c, struct err *e)
{
	const struct broker_config broker = { .services = c->services,
					      .named = c->named,
					      .named_later = c->named_later,
					      .log = c->mode == SANDBOX_LOG,
					      .home = c->home,
					      .user = c->user };
	int r;

	if (c->mode == SANDBOX_OFF || SANITIZED)
		return 0;
	prepare_library();
	r = broker_start(&broker, e);
	r = r ? r : confine_and_load(c, e);
	r = r ? r : sandbox_report_begin(c->mode, c->last_words, e);
	own.mode = c->mode;
	r = r ? r : hold_process(e);
	own.is_begun = !r;
	return r;
}

/* Each thread to its role's list, which what takes the others over cannot leave. */
int sandbox_finish(struct err *e)
{
	int r;

	if (!own.is_begun)
		return 0;
	own.is_begun = false;
	pthread_join(own.loader, NULL);
	r = thread_spawner_new();
	r = r ? r : sandbox_enter(SANDBOX_MAIN);
	return r ? err_set(e, r, "threads cannot be kept to their calls: %s", strerror(-r)) : 0;
}

int sandbox_enter(enum sandbox_role role)
{
	struct sock_fprog filter;
	int r;

	if (own.mode == SANDBOX_OFF)
		return 0;
	sandbox_report_role(role);
	if (role == SANDBOX_SPAWNER)
		return 0;
	r = sandbox_filter_new(&filter, role, own.mode == SANDBOX_LOG);
	if (r)
		return r;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) ? -errno : 0;
	sandbox_filter_free(&filter);
	return r;
}

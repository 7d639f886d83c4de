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

/* Of each role, for as long as the process lives; written before there are threads. */
static struct sock_fprog filter[SANDBOX_ROLES];

/* All that needs code which is not there yet, or looks around: libraries are loaded while memory
 * may be made executable, and what the C library asks once it asks now. */
static void prepare_libraries(void)
{
	struct err ignored; /* who needs TLS says so */

	/* With several, malloc() opens files of the kernel's at times: how many processors there
	 * are, and whether memory may be promised twice. */
	mallopt(M_ARENA_MAX, 1);
	tzset(); /* gmtime_r() does, and then never again */
	json_object_seed(0); /* the first json_object() does */
	gnutls_load(&ignored);
}

/* Which calls of the process are made, shown to the broker, or trapped, whichever thread makes
 * them: all lists together.  All that is possible from here on is in sandbox_calls.c. */
static int hold_process(bool log, struct err *e)
{
	struct sock_fprog base = { 0 };
	const unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	int listener, r = sandbox_filter_new(&base, SANDBOX_ALL, log, e);

	if (r)
		return r;
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

/* Each thread to its role's list, which what takes the others over cannot leave. */
static int hold_threads(bool log, struct err *e)
{
	int r = 0;

	for (unsigned role = 0; role < SANDBOX_SPAWNER && !r; role++)
		r = sandbox_filter_new(&filter[role], BIT(role), log, e);
	if (r)
		return r;
	r = thread_spawner_new();
	r = r ? r : sandbox_enter(SANDBOX_MAIN);
	return r ? err_set(e, r, "threads cannot be kept to their calls: %s", strerror(-r)) : 0;
}

int sandbox_begin(const struct sandbox_config *c, struct err *e)
{
	const struct broker_config broker = { .services = c->services,
					      .named = c->named,
					      .named_later = c->named_later,
					      .log = c->mode == SANDBOX_LOG };
	int r;

	if (c->mode == SANDBOX_OFF || SANITIZED)
		return 0;
	prepare_libraries();
	r = broker_start(&broker, e);
	if (c->mode == SANDBOX_ON)
		r = r ? r : confine(e);
	else if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) /* for the filters */
		r = err_set(e, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	r = r ? r : sandbox_report_begin(c->mode, c->last_words, e);
	r = r ? r : hold_process(c->mode == SANDBOX_LOG, e);
	return r ? r : hold_threads(c->mode == SANDBOX_LOG, e);
}

int sandbox_enter(enum sandbox_role role)
{
	if (!filter[role].len)
		return 0;
	sandbox_report_role(role);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter[role]) ? -errno : 0;
}

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

#include "sandbox_internal.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
enum { SANITIZED = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) };
#else
enum { SANITIZED = 0 };
#endif

/* Of each role, for as long as the process lives; written before there are threads. */
static struct sock_fprog filter[SANDBOX_ROLES];

int sandbox_begin(enum sandbox_mode mode, void (*last_words)(void), struct err *e)
{
	int r = 0;

	if (mode == SANDBOX_OFF || SANITIZED)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	/* With several, malloc() opens files of the kernel's at times: how many processors there
	 * are, and whether memory may be promised twice. */
	mallopt(M_ARENA_MAX, 1);
	tzset(); /* gmtime_r() does, and then never again */
	r = sandbox_report_begin(mode, last_words, e);
	for (unsigned role = SANDBOX_NONE + 1; role < SANDBOX_ROLES && !r; role++)
		r = sandbox_filter_new(&filter[role], role, mode == SANDBOX_LOG, e);
	return r;
}

int sandbox_enter(enum sandbox_role role)
{
	if (!filter[role].len)
		return 0;
	sandbox_report_role(role);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter[role]) ? -errno : 0;
}

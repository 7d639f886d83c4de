/* SPDX-License-Identifier: Apache-2.0 */
/* What a test does to its process that cannot be undone is done in a child. */
#ifndef IN_CHILD_H
#define IN_CHILD_H

#include <check.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void in_child(void (*body)(void))
{
	pid_t pid = fork();
	int code;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert_int_eq(code, 0);
}

/* As a user whose permissions count. */
static inline void become_nobody(void)
{
	enum { NOBODY = 65534 };

	if (geteuid())
		return;
	ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
	ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
	/* Else /proc/PID/fd is root's. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
}

#endif

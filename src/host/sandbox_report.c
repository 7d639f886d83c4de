/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a call that a filter has trapped: the kernel did not make it, and sends SIGSYS
 * with its number and arguments.  The handler says so, and makes it after all or ends the process.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "log.h"
#include "sandbox_internal.h"

/* A signal handler has no other way to know. */
static struct {
	enum sandbox_mode mode;
	void (*last_words)(void);
	atomic_uint said[SANDBOX_ROLES][SANDBOX_CALL_MAX / 32];
} report;

static _Thread_local enum sandbox_role own_role;
static _Thread_local char own_name[16];

const char *sandbox_call_name(long number)
{
	const char *name = number >= 0 && number < SANDBOX_CALL_MAX ? syscall_names[number] : NULL;

	return name ? name : "?";
}

/* One that is said for the first time by its role. */
static bool is_new(long number)
{
	unsigned bit = (unsigned)number % SANDBOX_CALL_MAX;

	return !(atomic_fetch_or(&report.said[own_role][bit / 32], 1U << bit % 32) &
		 1U << bit % 32);
}

static char *put_text(char *at, const char *text)
{
	return stpcpy(at, text);
}

static char *put_hex(char *at, uint64_t value)
{
	int shift = 60;

	at = put_text(at, "0x");
	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[value >> shift & 15];
	*at = '\0';
	return at;
}

/* With what a handler may use; printf() is not of that. */
static void say(long number, const long arg[6], const char *end)
{
	char line[256], *at = line;
	ssize_t unused;

	at = put_text(at, log_program);
	at = put_text(at, ": the sandbox has no ");
	at = put_text(at, sandbox_call_name(number));
	for (int i = 0; i < 6; i++)
		at = put_hex(put_text(at, i ? ", " : "("), (uint64_t)arg[i]);
	at = put_text(put_text(at, ") for the thread "), own_name);
	/* A terminal may be raw. */
	at = put_text(put_text(at, end), isatty(STDERR_FILENO) ? "\r\n" : "\n");
	unused = write(STDERR_FILENO, line, (size_t)(at - line));
	(void)unused;
}

/* A new thread would begin in the middle of the handler. */
static bool can_be_made_here(long number)
{
	return number != SYS_clone && number != SYS_clone3 && number != SYS_vfork &&
	       number != SYS_fork && number != SYS_rt_sigreturn;
}

static void on_trapped(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	const long arg[6] = { (long)r[REG_RDI], (long)r[REG_RSI], (long)r[REG_RDX],
			      (long)r[REG_R10], (long)r[REG_R8],  (long)r[REG_R9] };
	int saved = errno;

	(void)sig;
	if (report.mode == SANDBOX_LOG && can_be_made_here(info->si_syscall)) {
		if (is_new(info->si_syscall))
			say(info->si_syscall, arg, "");
		r[REG_RAX] = sandbox_gate(info->si_syscall, arg);
		errno = saved;
		return;
	}
	say(info->si_syscall, arg, ": the process ends");
	if (report.last_words)
		report.last_words();
	/* SA_RESETHAND: now it does, by a call that is in no list. */
	syscall(SYS_reboot, 0, 0, 0, NULL);
}

int sandbox_report_begin(enum sandbox_mode mode, void (*last_words)(void), struct err *e)
{
	struct sigaction on = { .sa_sigaction = on_trapped, .sa_flags = SA_SIGINFO };

	report.mode = mode;
	report.last_words = last_words;
	if (mode == SANDBOX_ON)
		on.sa_flags |= (int)SA_RESETHAND;
	if (sigaction(SIGSYS, &on, NULL))
		return err_set(e, -errno, "SIGSYS cannot be handled: %s", strerror(errno));
	return 0;
}

void sandbox_report_role(enum sandbox_role role)
{
	own_role = role;
	prctl(PR_GET_NAME, own_name);
}

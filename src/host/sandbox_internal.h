/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the sandbox share. */
#ifndef SANDBOX_INTERNAL_H
#define SANDBOX_INTERNAL_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "bits.h"
#include "sandbox.h"

enum { SANDBOX_CALL_MAX = 512 }; /* numbers of system calls are below */

/* A condition on one argument, of which the lower 32 bits count: (value & mask) == is. */
struct sandbox_argument {
	unsigned index;
	uint32_t mask, is;
};

enum { SANDBOX_SELF = 0x7f5e1f00 }; /* stands for the process's number, which is lower */

#define ROLE(r) BIT(SANDBOX_##r)

/* One line of a list: a call, for these roles, if the condition holds; mask 0: whatever it is. */
struct sandbox_call {
	int number;
	uint64_t roles;
	struct sandbox_argument if_;
};

extern const struct sandbox_call sandbox_calls[];
extern const unsigned nsandbox_calls;

/* Calls that end in an error where they are not allowed: whoever makes them does without. */
struct sandbox_failing {
	int number, error;
};

extern const struct sandbox_failing sandbox_failing[];
extern const unsigned nsandbox_failing;

/* Numbers of those that SANDBOX_MAIN has the broker make. */
extern const int sandbox_asked[];
extern const unsigned nsandbox_asked;

/* Made of the kernel's headers. */
extern const char *const syscall_names[SANDBOX_CALL_MAX];
const char *sandbox_call_name(long number); /* "?": there is none of that number */

#define SANDBOX_ALL (BIT(SANDBOX_ROLES) - 1)

/* Of each role the program for the kernel, which traps what is not in its list; of SANDBOX_SPAWNER
 * that of the whole process.  The build makes them (sandbox_compile.c). */
extern const struct sock_fprog sandbox_programs[SANDBOX_ROLES];

/* For this process; calls from the gate (sandbox_gate.S) pass in any case if log.  0 or -ENOMEM. */
int sandbox_filter_new(struct sock_fprog *, enum sandbox_role, bool log);
void sandbox_filter_free(struct sock_fprog *);

/* confine.c: gives away what a process can; the user first, while there is one thread. */
int confine_user(bool *namespaces, struct err *); /* whether it may have them */
int confine(bool namespaces, const struct user *, struct err *);

/* Handles what filters trap. */
int sandbox_report_begin(enum sandbox_mode, void (*last_words)(void), struct err *);
/* Tells the report which thread has which role. */
void sandbox_report_role(enum sandbox_role);

/* A system call that filters of SANDBOX_LOG let pass; as the kernel returns it. */
long sandbox_gate(long number, const long arg[6]);
extern const char sandbox_gate_end[]; /* behind its instruction */

#endif

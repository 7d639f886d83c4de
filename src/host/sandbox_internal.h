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
	bool is_self; /* is: this process's number, instead */
};

#define ROLE(r) BIT(SANDBOX_##r)

/* One line of a list: a call, for these roles, if the condition holds; mask 0: whatever it is. */
struct sandbox_call {
	int number;
	uint64_t roles;
	struct sandbox_argument if_;
};

extern const struct sandbox_call sandbox_calls[];
extern const unsigned nsandbox_calls;

/* Numbers of those that SANDBOX_MAIN has the broker make. */
extern const int sandbox_asked[];
extern const unsigned nsandbox_asked;

/* Made of the kernel's headers. */
extern const char *const syscall_names[SANDBOX_CALL_MAX];
const char *sandbox_call_name(long number); /* "?": there is none of that number */

#define SANDBOX_ALL (BIT(SANDBOX_ROLES) - 1)

/* The lists of these roles as a program for the kernel, which traps what is in none of them; calls
 * from the gate (sandbox_gate.S) pass in any case if log. */
int sandbox_filter_new(struct sock_fprog *, uint64_t roles, bool log, struct err *);
void sandbox_filter_free(struct sock_fprog *);

/* Gives away what a process can (confine.c). */
int confine(struct err *);

/* Handles what filters trap. */
int sandbox_report_begin(enum sandbox_mode, void (*last_words)(void), struct err *);
/* Tells the report which thread has which role. */
void sandbox_report_role(enum sandbox_role);

/* A system call that filters of SANDBOX_LOG let pass; as the kernel returns it. */
long sandbox_gate(long number, const long arg[6]);
extern const char sandbox_gate_end[]; /* behind its instruction */

#endif

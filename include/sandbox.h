/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the threads of a monitor may ask of the kernel, in case the guest or the network takes one
 * over: each role has a list of system calls (src/host/sandbox_calls.c), to which the kernel holds
 * it by seccomp.  A call that is not in it ends the process, and the log says which thread made
 * which call.  All threads share their memory, so who owns one of them can have the calls of all.
 *
 * A sanitizer's runtime makes calls of its own whenever it likes: built with one, nothing is
 * confined.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "err.h"

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_LOG, /* calls that would be refused are made, and said once for each role */
	SANDBOX_OFF
};

enum sandbox_role {
	SANDBOX_NONE, /* opens files and connections for the others, and is not confined */
	SANDBOX_VCPU,
	SANDBOX_IO,
	SANDBOX_API,
	SANDBOX_MIGRATION, /* connections that carry memory, and those that are not known yet */
	SANDBOX_ROLES
};

/*
 * Once, before there are threads.  From here on, whatever the mode but SANDBOX_OFF, no program that
 * is executed gets more rights than this one (no_new_privs), and last_words, NULL or
 * async-signal-safe, is called before the process ends by a call that was refused.
 * -EOPNOTSUPP: the host's kernel cannot filter.
 */
int sandbox_begin(enum sandbox_mode, void (*last_words)(void), struct err *);
/* The calling thread keeps to the role's list from now on, for good; 0 or -errno. */
int sandbox_enter(enum sandbox_role);

#endif

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

#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "user.h"

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_LOG, /* calls that would be refused are made, and said once for each role */
	SANDBOX_OFF
};

enum sandbox_role {
	SANDBOX_MAIN, /* and the threads that do its work */
	SANDBOX_VCPU,
	SANDBOX_IO,
	SANDBOX_DISK, /* blocking calls for the queues of one disk */
	SANDBOX_API,
	SANDBOX_MIGRATION, /* connections that carry memory, and those that are not known yet */
	SANDBOX_SPAWNER, /* makes the others, and so is held to no less than all their lists */
	SANDBOX_ROLES
};

struct sandbox_config {
	enum sandbox_mode mode;
	const struct broker_service *const *services; /* up to NULL (broker.h), or NULL */
	const json_t *named; /* strings anywhere in it are paths that may be opened */
	bool named_later; /* and more by a VM that comes from elsewhere */
	const struct cgroup_home *home; /* or NULL: the broker leaves it in the end */
	struct user user; /* whom a process of root's becomes, if given */
	void (*last_words)(
		void); /* before a refused call ends the process; async-signal-safe, or NULL */
};

/*
 * Once, before there are threads: makes the broker (broker.h) and gives away what a monitor does
 * not need, stage by stage.  From then on the process is kept to what is in any list; but code is
 * still loaded, by a thread of its own.
 */
int sandbox_begin(const struct sandbox_config *, struct err *);
/* The rest, before anything is read that a guest, a client or another host may have written, and
 * before there are further threads: the code is loaded, and the calling thread keeps to the list of
 * SANDBOX_MAIN.  Again it does nothing. */
int sandbox_finish(struct err *);
/* The calling thread keeps to the role's list from now on, for good; 0 or -errno. */
int sandbox_enter(enum sandbox_role);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: a process beside the monitor that stays outside of its sandbox (sandbox.h), and does
 * there what the monitor, which has no files, no networks and no rights, has a need of.
 *
 * What names a path or an address is asked for without knowing it: the kernel holds such a system
 * call of the monitor back and shows it to the broker, which makes it, if it is one that the
 * monitor may have made, and hands over what came of it (seccomp_unotify(2)).  What needs more than
 * one call, or an answer in memory, is a service, asked for by name.
 *
 * Without a broker a service is served by who asks.
 */
#ifndef BROKER_H
#define BROKER_H

#include <jansson.h>
#include <stdbool.h>

#include "cgroup_home.h"
#include "err.h"
#include "user.h"

enum { BROKER_FDS = 32 };

struct broker_answer {
	json_t *json; /* or NULL */
	int fd[BROKER_FDS];
	unsigned nfds;
};

/* ask, fd: as the monitor gave them, which may be anybody's by now; fds stay who gave them's. */
struct broker_service {
	const char *name;
	bool is_slow; /* asks other hosts or programs: those that are not do not wait for it */
	int (*serve)(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *,
		     struct err *);
};

/* As serve() returns; ask is taken.  -EPIPE: the broker has ended.  Any thread. */
int broker_ask(const struct broker_service *, json_t *ask, const int *fd, unsigned nfds,
	       struct broker_answer *, struct err *);
/* What is left of it: what was taken is NULL or -1. */
void broker_answer_free(struct broker_answer *);

/* Text that need not be UTF-8, as a path: each byte a character, NULL: out of memory; and back, cut
 * to size. */
json_t *broker_bytes(const char *);
void broker_take_bytes(const json_t *, char *text, size_t size);

/* Of a service that changes something of the host: the configuration has that word, or a client may
 * have named it; also where there is no broker. */
bool broker_knows(const char *word);

struct broker_config {
	const struct broker_service *const *services; /* up to NULL */
	const json_t *named; /* strings anywhere in it are paths that may be opened */
	bool named_later; /* by a VM that comes from elsewhere: as if a client had connected */
	bool log; /* what is refused is said, and done */
	const struct cgroup_home *home; /* left when the monitor is over; or NULL */
	struct user user; /* if given: with whose rights what a client names is done */
};

/* Of a service, when it has seen a client that may: from now on paths may be others than those of
 * the configuration. */
void broker_let_name(void);

/* Once, before there are threads and a sandbox. */
int broker_start(const struct broker_config *, struct err *);
/* listener: of the filter that shows calls to the broker. */
int broker_attach(int listener, struct err *);
void broker_end(void); /* with the process */

/* Who started this process, whichever user it has become.  Any thread. */
uid_t broker_owner(void);

#endif

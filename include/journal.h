/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host promised about a VM that comes or goes, and must still know after a crash: one
 * file per uuid and role, UUID-source.json and UUID-destination.json, in the state directory
 * (docs/handover.md).  Both roles may be on one host.  A migration's thread has the journal open;
 * others may read it meanwhile.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdint.h>

#include "err.h"

enum journal_role { JOURNAL_SOURCE, JOURNAL_DESTINATION };

enum journal_state {
	/* of a source */
	JOURNAL_RUNNING,
	JOURNAL_OFFERED,
	JOURNAL_ANSWERED,
	JOURNAL_GIVEN,
	/* of a destination */
	JOURNAL_EXPECTS,
	JOURNAL_PROVEN,
	JOURNAL_ACCEPTED,
	JOURNAL_REFUSED,
};

/* Who decides where the VM runs if neither side hears from the other. */
enum arbiter { ARBITER_NONE, ARBITER_LOCK, ARBITER_LEASE };

struct journal_entry {
	enum journal_state state;
	char session[37]; /* uuid of the migration; "": none */
	uint64_t generation; /* of the VM, as in its owner records; 0: it has none */
	char peer[256]; /* the other side, for people */
	enum arbiter arbiter;
};

struct journal;

/* -EBUSY: another migration of this VM is under way here.  -EBADMSG: the file is damaged. */
int journal_open(struct journal **, const char *uuid, enum journal_role, struct err *);
void journal_close(struct journal *); /* NULL is fine */
/* It is only looked at from now on, as it is now: another may open it and write. */
void journal_unlock(struct journal *);
/* Durable when it returns.  On failure the old entry is there, or the new one: journal_last(). */
int journal_write(struct journal *, const struct journal_entry *, struct err *);
int journal_last(const struct journal *, struct journal_entry *); /* -ENOENT: there is none */
/* The last entry, or one of the last 64 that this destination accepted.  -ENOENT: neither. */
int journal_find(const struct journal *, const char *session, struct journal_entry *);

/* The last entry, without opening anything or making what is not there; -ENOENT, -EBADMSG. */
int journal_read(const char *uuid, enum journal_role, struct journal_entry *, struct err *);

const char *journal_state_name(enum journal_state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the audit log goes, a line of JSON each: a file, or the systemd journal by its native
 * protocol (systemd's JOURNAL_NATIVE_PROTOCOL.md).  What cannot be written is counted and said
 * once; nobody waits for it.
 *
 * Lines are written by one thread at a time; the rest is for any thread.
 */
#ifndef AUDIT_H
#define AUDIT_H

#include <jansson.h>
#include <stdint.h>

#include "broker.h"
#include "err.h"

struct audit;

/* where: "journal", or the path of a file that is appended to.  journal: a socket that is connected
 * to it, or -errno. */
int audit_new(struct audit **, const char *where, int (*journal)(struct err *), struct err *);
int audit_journal(struct err *); /* systemd's */
extern const struct broker_service audit_journal_service;
void audit_free(struct audit *); /* NULL is fine */

/* The VM that lines are about from now on. */
void audit_name(struct audit *, const char *vm);
/* Takes the object over and puts the time, the monitor's process and the VM before it. */
void audit_write(struct audit *, json_t *line);

struct audit_count {
	uint64_t written, failed;
};

struct audit_count audit_count(const struct audit *);

#endif

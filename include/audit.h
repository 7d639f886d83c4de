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

#include "err.h"

#define AUDIT_JOURNAL "/run/systemd/journal/socket"

struct audit;

/* where: "journal", which listens at that socket, or the path of a file that is appended to. */
int audit_new(struct audit **, const char *where, const char *journal, struct err *);
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

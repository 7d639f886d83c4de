/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked over the control socket, for the audit log: a line for each request that changes
 * something.  What only looks, or is refused, can come again and again: of those that are equal
 * (user, group, method, path, status) the first has a line at once, and those of the next minute
 * are counted in the line of the last one, "count".
 *
 * Bodies are not written, nor are queries.  On the API's thread.
 */
#ifndef AUDIT_LOG_H
#define AUDIT_LOG_H

#include "audit.h"
#include "counters.h"
#include "loop.h"
#include "server.h"

struct audit_log {
	struct audit *audit; /* NULL: nobody wants to know, and nothing below happens */
	struct loop *loop;
	uint64_t window_ns;
	struct timer due; /* the oldest of those that are counted */
	struct list counted; /* oldest first */
	unsigned ncounted;
};

void audit_log_begin(struct audit_log *, struct loop *, struct audit *);
void audit_log_end(struct audit_log *); /* writes what was counted */

/* route: its name, NULL: there is no such path.  request.path NULL: it was not even read.
 * error: the sentence of the answer, or NULL. */
void audit_log_request(struct audit_log *, const struct request *, const char *route, int status,
		       uint64_t since_ns, const char *error);

int audit_log_count(const struct audit_log *, struct counter_readings *); /* -ENOMEM */
extern const struct counter_table audit_counter_table;

#endif
